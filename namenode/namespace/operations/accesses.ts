import { isSameTime } from "../../../common/clock.js";
import type { Accessed, NoteAccessesReplyInit, NoteAccessesRequest } from "../../../proto/gen/types.js";
import { checkTime, id } from "../checks.js";
import { readInode } from "../records.js";
import type { Context } from "./context.js";

/**
 * Notes that inodes were read. An access time that is not the one which the reader knew was set since, and stays: so this may be done
 * twice, and late. Makes no edit when nothing is to be noted.
 */
export function noteAccesses({ kv, editor }: Context, request: NoteAccessesRequest): NoteAccessesReplyInit {
  const { session, accesses } = request;
  id(session, "session");
  const accessed: Accessed[] = [];
  const passed: number[] = [];
  for (const { ino, atime, before } of accesses) {
    id(ino, "inode");
    checkTime(atime, "atime");
    const inode = readInode(kv, ino);
    if (inode !== undefined && isSameTime(inode.atime, before)) accessed.push({ ino, atime });
    else passed.push(ino);
  }
  if (accessed.length > 0) editor.apply({ access: { session, accessed } });
  return { passed };
}
