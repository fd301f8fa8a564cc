// Which snapshots may refer to an inode. Never too few; some more where it costs less to keep a version than to know better.
import { ROOT_INO } from "../../../common/limits.js";
import { type Inode, VersionRecord } from "../../../proto/gen/types.js";
import type { KeyValue } from "../../store/kv.js";
import { inodeKey, versionsFrom } from "../keys.js";
import { readInode } from "../records.js";
import { isDirectory } from "../types.js";
import { ANY, latestOf } from "./records.js";

/** Whose snapshots may refer to an inode. */
export interface Covered {
  /** Directories with such snapshots; ANY alone: any. */
  readonly roots: number[];
  /** Id of the youngest of them; 0: there is none. */
  readonly latest: number;
}

/** Where an inode is in no snapshot. */
export const UNCOVERED: Covered = { roots: [], latest: 0 };

/**
 * Whose snapshots may refer to an inode as it is in the store: those of the directories above it, and those that it, or a directory above
 * it, was under at an earlier change. Of a file it is known where it is only while it has one name.
 */
export function coverageOf(kv: KeyValue, ino: number): Covered {
  const inode = readInode(kv, ino);
  if (inode === undefined) return coverageOfGone(kv, ino);
  const roots = new Set(inode.coverage?.roots);
  if (inode.nlink > 0) {
    if (!isDirectory(inode) && (inode.nlink > 1 || inode.parent === 0)) roots.add(ANY);
    else addAbove(kv, inode, roots);
  }
  return among(kv, ino, roots);
}

/** A directory that has snapshots is among its own. */
function addAbove(kv: KeyValue, inode: Inode, roots: Set<number>): void {
  for (let at: Inode | undefined = inode; at !== undefined; at = readInode(kv, at.parent)) {
    for (const root of at.coverage?.roots ?? []) roots.add(root);
    if (at.ino === ROOT_INO) return;
  }
}

/** Of a removed inode whose record is gone, while its content is still being reclaimed. */
function coverageOfGone(kv: KeyValue, ino: number): Covered {
  for (const [, value] of kv.range({ ...versionsFrom(inodeKey(ino), 0), reverse: true }))
    return among(kv, ino, new Set(VersionRecord.decode(value).roots));
  return UNCOVERED;
}

/** Of some directories, those with a snapshot that is younger than an inode. */
function among(kv: KeyValue, ino: number, roots: ReadonlySet<number>): Covered {
  const found: number[] = [];
  let latest = 0;
  for (const root of roots.has(ANY) ? [ANY] : roots) {
    const snapshot = latestOf(kv, root);
    if (snapshot === undefined || snapshot.nextIno <= ino) continue;
    found.push(root);
    latest = Math.max(latest, snapshot.id);
  }
  return { roots: found, latest };
}
