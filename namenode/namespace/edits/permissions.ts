import type { Inode, Time } from "../../../proto/gen/types.js";
import { PERMISSIONS, S_IFMT } from "../types.js";

/** What an edit says of mode, owner and access time; null: nothing. */
export interface AttributesOf {
  readonly mode: number | null;
  readonly uid: number | null;
  readonly gid: number | null;
  readonly atime: Time | null;
}

/** Gives an inode the attributes that an edit has. The caller stores it. */
export function applyAttributes(inode: Inode, { mode, uid, gid, atime }: AttributesOf): void {
  if (mode !== null) inode.mode = (inode.mode & S_IFMT) | (mode & PERMISSIONS);
  if (uid !== null) inode.uid = uid;
  if (gid !== null) inode.gid = gid;
  if (atime !== null) inode.atime = atime;
}
