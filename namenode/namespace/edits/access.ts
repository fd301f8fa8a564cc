import type { AccessEdit } from "../../../proto/gen/types.js";
import type { Change } from "./change.js";

/** Sets access times, and nothing else: neither ctime nor version. */
export function access(change: Change, { accessed }: AccessEdit): void {
  for (const { ino, atime } of accessed) {
    const inode = change.inode(ino);
    inode.atime = atime;
    change.accessed(inode);
  }
}
