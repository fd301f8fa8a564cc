import { CairnError } from "../../../common/errors.js";
import { MAX_LINKS, MAX_TARGET } from "../../../common/limits.js";
import type {
  CreateReplyInit,
  CreateRequest,
  Inode,
  InodeReplyInit,
  LinkRequest,
  Policy,
  UnlinkReplyInit,
  UnlinkRequest,
} from "../../../proto/gen/types.js";
import { checkName, checkPolicy, isDots, valid } from "../checks.js";
import { checkQuotas } from "../quotas.js";
import { readCluster, readDentry } from "../records.js";
import { isSnapshotted } from "../snapshots/records.js";
import {
  isDirectory,
  isRegular,
  PERMISSIONS,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
} from "../types.js";
import { type Context, callOf, known, livingDirectory, named, nameError } from "./context.js";
import { heldBy } from "./held.js";
import { checkNewNumber, checkNoList, checkNotReserved } from "./snapshots.js";

const TYPES: ReadonlySet<number> = new Set([S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK]);

/** Makes a file, directory, symlink or special file. */
export function create(ctx: Context, request: CreateRequest): CreateReplyInit {
  const { dir, name, mode } = request;
  const parent = livingDirectory(ctx.kv, dir);
  checkName(name);
  checkNewInode(request);
  if (isDots(name)) throw nameError("EEXIST", "create", dir, name, "it exists");
  const dentry = readDentry(ctx.kv, dir, name);
  if (dentry !== undefined) {
    const inode = named(ctx.kv, dentry);
    if (!request.openExisting || !isRegular(request) || !isRegular(inode)) {
      throw nameError("EEXIST", "create", dir, name, "it exists");
    }
    return { inode, existed: true };
  }
  checkNotReserved("create", dir, name);
  const ino = readCluster(ctx.kv).nextIno;
  checkNewNumber(ino);
  checkQuotas(ctx.kv, dir, { names: 1, bytes: 0 });
  const time = ctx.clock.timestamp();
  // A directory with the setgid bit hands its group down, and the bit to directories.
  const inherits = (parent.mode & S_ISGID) !== 0;
  const { index, effects } = ctx.editor.apply({
    time,
    call: callOf(request.call),
    create: {
      dir,
      name,
      inode: {
        ino,
        mode: inherits && isDirectory(request) ? mode | S_ISGID : mode,
        uid: request.uid,
        gid: inherits ? parent.gid : request.gid,
        nlink: isDirectory(request) ? 2 : 1,
        size: request.target.length,
        rdev: request.rdev,
        atime: time,
        mtime: time,
        ctime: time,
        parent: dir,
        target: request.target,
        policy: newPolicy(ctx, parent, request),
      },
    },
  });
  return { inode: effects.inode!, index, existed: false, parent: effects.parent! };
}

function checkNewInode({ mode, rdev, target, policy, uid, gid }: CreateRequest): void {
  const type = mode & S_IFMT;
  valid(TYPES.has(type) && (mode & ~(S_IFMT | PERMISSIONS)) === 0, () => `mode 0${mode.toString(8)} is none`);
  valid(uid !== 0xffffffff && gid !== 0xffffffff, "an owner of -1 is none");
  valid(rdev === 0 || type === S_IFCHR || type === S_IFBLK, "only device nodes have a device number");
  if (type === S_IFLNK) {
    if (target.length === 0) throw new CairnError("ENOENT", "a symbolic link to nothing");
    if (target.length > MAX_TARGET) {
      throw new CairnError("ENAMETOOLONG", `a symbolic link of ${target.length} bytes; at most ${MAX_TARGET}`);
    }
    valid(!target.includes(0), "the target of a symbolic link holds a NUL");
  } else valid(target.length === 0, "only symbolic links have a target");
  if (policy !== null) checkPolicy(policy);
}

/** A file's policy is decided when it is made; a directory keeps only what it or those above it were told. */
function newPolicy({ defaults }: Context, parent: Inode, request: CreateRequest): Policy {
  const asked = request.policy;
  const inherited = {
    replicas: asked?.replicas || parent.policy.replicas,
    blockSize: asked?.blockSize || parent.policy.blockSize,
    compression: asked?.compression || parent.policy.compression,
  };
  if (isDirectory(request)) return inherited;
  if (!isRegular(request)) return { replicas: 0, blockSize: 0, compression: 0 };
  return {
    replicas: inherited.replicas || defaults.replicas,
    blockSize: inherited.blockSize || defaults.blockSize,
    compression: inherited.compression || defaults.compression,
  };
}

/** A further name for a file. */
export function link(ctx: Context, request: LinkRequest): InodeReplyInit {
  const { ino, dir, name } = request;
  const inode = known(ctx.kv, ino);
  livingDirectory(ctx.kv, dir);
  checkName(name);
  if (isDots(name) || readDentry(ctx.kv, dir, name) !== undefined) {
    throw nameError("EEXIST", "link", dir, name, "it exists");
  }
  checkNotReserved("link", dir, name);
  if (isDirectory(inode)) throw nameError("EPERM", "link", dir, name, `inode ${ino} is a directory`);
  if (inode.nlink === 0) throw nameError("ENOENT", "link", dir, name, `inode ${ino} was removed`);
  if (inode.nlink >= MAX_LINKS) throw nameError("EMLINK", "link", dir, name, `inode ${ino} has too many names`);
  checkQuotas(ctx.kv, dir, { names: 1, bytes: inode.parent === 0 ? inode.allocated : 0 });
  const { index, effects } = ctx.editor.apply({ call: callOf(request.call), link: { ino, dir, name } });
  return { inode: effects.inode!, index };
}

/** Removes a name: of an empty directory, or of anything else, as the request says. */
export function unlink(ctx: Context, request: UnlinkRequest): UnlinkReplyInit {
  const { dir, name, directory, call } = request;
  livingDirectory(ctx.kv, dir);
  checkName(name);
  if (isDots(name)) {
    const code = !directory ? "EISDIR" : name.length === 1 ? "EINVAL" : "ENOTEMPTY";
    throw nameError(code, "remove", dir, name, "it is a directory's own name");
  }
  const dentry = readDentry(ctx.kv, dir, name);
  if (dentry === undefined) {
    checkNoList(ctx.kv, "remove", dir, name);
    throw nameError("ENOENT", "remove", dir, name, "no such name");
  }
  const isDir = dentry.type === S_IFDIR;
  if (isDir && !directory) throw nameError("EISDIR", "remove", dir, name, "it is a directory");
  if (!isDir && directory) throw nameError("ENOTDIR", "remove", dir, name, "it is no directory");
  if (isDir && named(ctx.kv, dentry).size > 0) throw nameError("ENOTEMPTY", "remove", dir, name, "it is not empty");
  if (isDir && isSnapshotted(ctx.kv, dentry.ino)) throw nameError("ENOTEMPTY", "remove", dir, name, "it has snapshots");
  const hold = request.hold ? call.session : 0;
  const holders = ctx.mayHaveOpen(dentry.ino, call.session);
  const { effects } = ctx.editor.apply({ call: callOf(call), unlink: { dir, name, hold, holders } });
  return { held: heldBy(ctx.kv, hold, effects.inode!.ino), parent: effects.parent! };
}
