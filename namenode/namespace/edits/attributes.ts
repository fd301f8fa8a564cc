import type { RemoveXattrEdit, SetAttributesEdit, SetXattrEdit } from "../../../proto/gen/types.js";
import { xattrKey } from "../keys.js";
import { isRegular, PERMISSIONS, S_IFMT } from "../types.js";
import type { Change } from "./change.js";
import { resize, rewant } from "./content.js";

/** Changes the attributes that are present. A new size is a modification; times given beside it win. */
export function setAttributes(change: Change, edit: SetAttributesEdit): void {
  const inode = change.inode(edit.ino);
  if (edit.mode !== null) inode.mode = (inode.mode & S_IFMT) | (edit.mode & PERMISSIONS);
  if (edit.uid !== null) inode.uid = edit.uid;
  if (edit.gid !== null) inode.gid = edit.gid;
  if (edit.size !== null) {
    resize(change, inode, edit.size);
    inode.mtime = change.time;
  }
  if (edit.atime !== null) inode.atime = edit.atime;
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
  change.kv.put(xattrKey(edit.ino, edit.name), Buffer.from(edit.value));
  touchOf(change, edit.ino);
}

/** Removes an extended attribute. */
export function removeXattr(change: Change, edit: RemoveXattrEdit): void {
  change.kv.delete(xattrKey(edit.ino, edit.name));
  touchOf(change, edit.ino);
}

function touchOf(change: Change, ino: number): void {
  const inode = change.inode(ino);
  change.touch(inode);
  change.effects.inode = inode;
}
