import { invariant } from "../../../common/errors.js";
import type { RemoveXattrEdit, SetAttributesEdit, SetXattrEdit } from "../../../proto/gen/types.js";
import { xattrKey } from "../keys.js";
import { isRegular } from "../types.js";
import type { Change } from "./change.js";
import { resize, rewant } from "./content.js";
import { applyAttributes } from "./permissions.js";

/** Changes the attributes that are present. A new size is a modification; times given beside it win. */
export function setAttributes(change: Change, edit: SetAttributesEdit): void {
  const inode = change.inode(edit.ino);
  applyAttributes(inode, edit);
  if (edit.size !== null) {
    resize(change, inode, edit.size);
    inode.mtime = change.time;
  }
  if (edit.mtime !== null) inode.mtime = edit.mtime;
  if (edit.policy !== null) {
    if (isRegular(inode) && edit.policy.replicas !== inode.policy.replicas) rewant(change, inode, edit.policy);
    inode.policy = edit.policy;
  }
  change.touch(inode);
  change.effects.inode = inode;
}

/** Sets an extended attribute. */
export function setXattr(change: Change, edit: SetXattrEdit): void {
  const key = xattrKey(edit.ino, edit.name);
  const added = change.kv.get(key) === undefined ? 1 : 0;
  change.kv.put(key, Buffer.from(edit.value));
  touchOf(change, edit.ino, added);
}

/** Removes an extended attribute. */
export function removeXattr(change: Change, edit: RemoveXattrEdit): void {
  change.kv.delete(xattrKey(edit.ino, edit.name));
  touchOf(change, edit.ino, -1);
}

/** @param more how many attributes the inode has more than before */
function touchOf(change: Change, ino: number, more: number): void {
  const inode = change.inode(ino);
  inode.xattrs += more;
  invariant(inode.xattrs >= 0, () => `inode ${ino} has a sound number of extended attributes`);
  change.touch(inode);
  change.effects.inode = inode;
}
