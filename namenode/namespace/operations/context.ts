import type { Clock } from "../../../common/clock.js";
import { CairnError, invariant } from "../../../common/errors.js";
import { isOfSnapshot } from "../../../common/snapshots.js";
import type { CallId, Inode, Policy } from "../../../proto/gen/types.js";
import type { Editor } from "../../contract.js";
import type { KeyValue } from "../../store/kv.js";
import { id, quote, valid } from "../checks.js";
import { readInode } from "../records.js";
import { isDirectory, isRegular } from "../types.js";

/** What every operation works on. */
export interface Context {
  readonly kv: KeyValue;
  readonly editor: Editor;
  readonly clock: Clock;
  /** The sessions, but for one, that may have an inode open. */
  readonly mayHaveOpen: (ino: number, except: number) => number[];
  /** New inodes have numbers from here on at least. */
  readonly inosFrom: number;
  /** What a policy leaves open. */
  readonly defaults: Policy;
}

/** The fields of a CallId, for the edit: what was received shares memory with the message. */
export const callOf = ({ session, sequence, doneBelow }: CallId): CallId => ({ session, sequence, doneBelow });

/** An inode a client knows of, and may change: one of today. ESTALE when it is gone; EROFS when it is in a snapshot. */
export function known(kv: KeyValue, ino: number): Inode {
  id(ino, "inode");
  if (isOfSnapshot(ino)) throw new CairnError("EROFS", `inode ${ino} is in a snapshot, which nobody can change`);
  const inode = readInode(kv, ino);
  if (inode === undefined) throw new CairnError("ESTALE", `inode ${ino} is gone`);
  return inode;
}

/** A regular file a client knows of. ESTALE, EISDIR, EINVAL. */
export function knownFile(kv: KeyValue, ino: number): Inode {
  const inode = known(kv, ino);
  if (isDirectory(inode)) throw new CairnError("EISDIR", `inode ${ino} is a directory and has no content`);
  valid(isRegular(inode), () => `inode ${ino} is no regular file and has no content`);
  return inode;
}

/** A directory a client knows of. ESTALE, ENOTDIR. */
export function knownDirectory(kv: KeyValue, ino: number): Inode {
  const inode = known(kv, ino);
  if (!isDirectory(inode)) throw new CairnError("ENOTDIR", `inode ${ino} is no directory`);
  return inode;
}

/** A directory that names can be entered in: ENOENT when it has been removed itself. */
export function livingDirectory(kv: KeyValue, ino: number): Inode {
  const inode = knownDirectory(kv, ino);
  if (inode.nlink === 0) throw new CairnError("ENOENT", `directory ${ino} was removed`);
  return inode;
}

/** The inode that a dentry names. */
export function named(kv: KeyValue, dentry: { ino: number }): Inode {
  const inode = readInode(kv, dentry.ino);
  invariant(inode !== undefined, () => `inode ${dentry.ino} has a name and a record`);
  return inode;
}

/** The error of an operation on a name. */
export function nameError(code: string, doing: string, dir: number, name: Uint8Array, why: string): CairnError {
  return new CairnError(code, `cannot ${doing} ${quote(name)} in directory ${dir}: ${why}`);
}
