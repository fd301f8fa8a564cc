import { CairnError } from "../../../common/errors.js";
import { MAX_XATTR_LIST } from "../../../common/limits.js";
import type {
  InodeReplyInit,
  RemoveXattrRequest,
  SetAttributesRequest,
  SetXattrRequest,
} from "../../../proto/gen/types.js";
import type { KeyValue } from "../../store/kv.js";
import {
  checkOwnership,
  checkPolicy,
  checkSize,
  checkTime,
  checkXattrName,
  checkXattrValue,
  quote,
  valid,
} from "../checks.js";
import { nameOfXattr, xattrKey, xattrsOf } from "../keys.js";
import { isDirectory, isRegular } from "../types.js";
import { type Context, callOf, known } from "./context.js";

/** Changes the attributes that are present. */
export function setAttributes(ctx: Context, request: SetAttributesRequest): InodeReplyInit {
  const { ino, mode, uid, gid, size, policy } = request;
  const inode = known(ctx.kv, ino);
  checkOwnership(request);
  checkTime(request.atime, "atime");
  checkTime(request.mtime, "mtime");
  if (size !== null) {
    if (isDirectory(inode)) throw new CairnError("EISDIR", `cannot set the size of directory ${ino}`);
    valid(isRegular(inode), () => `inode ${ino} is no regular file and has no size to set`);
    checkSize(size);
  }
  if (policy !== null) {
    checkPolicy(policy);
    valid(isRegular(inode) || isDirectory(inode), () => `inode ${ino} keeps no blocks and has no policy`);
  }
  const time = ctx.clock.timestamp();
  const { index, effects } = ctx.editor.apply({
    time,
    call: callOf(request.call),
    setAttributes: {
      ino,
      mode,
      uid,
      gid,
      size,
      atime: request.atimeNow ? time : request.atime,
      mtime: request.mtimeNow ? time : request.mtime,
      policy: policy && {
        replicas: policy.replicas || inode.policy.replicas,
        blockSize: policy.blockSize || inode.policy.blockSize,
        compression: policy.compression || inode.policy.compression,
      },
    },
  });
  return { inode: effects.inode!, index };
}

/** Sets an extended attribute. EEXIST or ENODATA where the request says so; ENOSPC when the inode has too many. */
export function setXattr(ctx: Context, request: SetXattrRequest): InodeReplyInit {
  const { ino, name, value, create, replace } = request;
  known(ctx.kv, ino);
  checkXattrName(name);
  checkXattrValue(value);
  valid(!(create && replace), "an extended attribute cannot both be new and be replaced");
  const exists = ctx.kv.get(xattrKey(ino, name)) !== undefined;
  if (exists && create) throw new CairnError("EEXIST", `inode ${ino} has an extended attribute ${quote(name)}`);
  if (!exists && replace) throw new CairnError("ENODATA", `inode ${ino} has no extended attribute ${quote(name)}`);
  if (!exists && listLength(ctx.kv, ino) + name.length + 1 > MAX_XATTR_LIST) {
    throw new CairnError("ENOSPC", `inode ${ino} has no room for the name of another extended attribute`);
  }
  const { index, effects } = ctx.editor.apply({ call: callOf(request.call), setXattr: { ino, name, value } });
  return { inode: effects.inode!, index };
}

/** Bytes of the list of an inode's extended attributes, as listxattr(2) counts them. */
function listLength(kv: KeyValue, ino: number): number {
  let length = 0;
  for (const [key] of kv.range(xattrsOf(ino))) length += nameOfXattr(key).length + 1;
  return length;
}

/** Removes an extended attribute. ENODATA when there is none. */
export function removeXattr(ctx: Context, request: RemoveXattrRequest): InodeReplyInit {
  const { ino, name } = request;
  known(ctx.kv, ino);
  checkXattrName(name);
  if (ctx.kv.get(xattrKey(ino, name)) === undefined) {
    throw new CairnError("ENODATA", `inode ${ino} has no extended attribute ${quote(name)}`);
  }
  const { index, effects } = ctx.editor.apply({ call: callOf(request.call), removeXattr: { ino, name } });
  return { inode: effects.inode!, index };
}
