// What the numbers of inodes stand for: those of today, those in a snapshot, and the lists of snapshots.
import { CairnError } from "../../../common/errors.js";
import { isOfSnapshot } from "../../../common/snapshots.js";
import { type Inode, SnapshotRecord } from "../../../proto/gen/types.js";
import type { KeyValue } from "../../store/kv.js";
import { snapshotsAfter } from "../keys.js";
import { known, named } from "../operations/context.js";
import { readInode } from "../records.js";
import { isDirectory } from "../types.js";
import { inoInSlot, inoOfList, inoToday, isList, slotOf } from "./numbers.js";
import { isSnapshotted, latestOf, readSnapshot, snapshotInSlot } from "./records.js";
import { SnapshotView } from "./view.js";

/** Nobody may write into a list of snapshots. */
const READ_ONLY = ~0o222;

/** Where an inode is. */
export interface Place {
  /** The store that has it. Only that of today can be changed. */
  readonly kv: KeyValue;
  /** Its number there. */
  readonly ino: number;
  /** An inode of that store as clients see it. */
  readonly shown: (inode: Inode) => Inode;
}

/** Whether there may ever be something to tell of an inode: in a snapshot nothing changes. */
export const mayChange = (ino: number): boolean => !isOfSnapshot(ino) || isList(ino);

const asItIs = (inode: Inode): Inode => inode;

/** Where the inode of a number is. ESTALE: its snapshot is gone. EISDIR: it is a list of snapshots, which is nowhere. */
export function placeOf(kv: KeyValue, ino: number): Place {
  if (!isOfSnapshot(ino)) return { kv, ino, shown: asItIs };
  if (isList(ino)) throw new CairnError("EISDIR", `inode ${ino} is a list of snapshots`);
  const snapshot = snapshotInSlot(kv, slotOf(ino));
  if (snapshot === undefined) throw new CairnError("ESTALE", `the snapshot that inode ${ino} was in is deleted`);
  return placeIn(kv, snapshot, inoToday(ino));
}

function placeIn(kv: KeyValue, { id, dir, slot }: SnapshotRecord, ino: number): Place {
  const shown = (inode: Inode) => {
    const parent = inode.ino === dir ? inoOfList(dir) : inode.parent === 0 ? 0 : inoInSlot(slot, inode.parent);
    return { ...inode, ino: inoInSlot(slot, inode.ino), parent, coverage: null };
  };
  return { kv: new SnapshotView(kv, id), ino, shown };
}

/** The inode of a number, wherever it is. ESTALE. */
export function inodeAt(kv: KeyValue, ino: number): Inode {
  if (isList(ino)) return listOf(kv, inoToday(ino));
  const place = placeOf(kv, ino);
  return place.shown(known(place.kv, place.ino));
}

/** A directory, wherever it is. ESTALE, ENOTDIR. */
export function directoryAt(kv: KeyValue, ino: number): Inode {
  const inode = inodeAt(kv, ino);
  if (!isDirectory(inode)) throw new CairnError("ENOTDIR", `inode ${ino} is no directory`);
  return inode;
}

/** The list of a directory's snapshots, as a directory that who may read the other may read. ESTALE: it has none. */
export function listOf(kv: KeyValue, dir: number): Inode {
  const inode = readInode(kv, dir);
  const latest = isSnapshotted(kv, dir) ? latestOf(kv, dir) : undefined;
  if (inode === undefined || latest === undefined)
    throw new CairnError("ESTALE", `directory ${dir} has no snapshots any more`);
  const { time } = latest;
  const mode = inode.mode & READ_ONLY;
  const times = { atime: time, mtime: time, ctime: time };
  const own = { ino: inoOfList(dir), parent: dir, version: 0, nlink: 2, size: 0, xattrs: 0 };
  return { ...inode, ...own, ...times, mode, coverage: null };
}

/** The directory that a snapshot shows. */
export function snapshotRoot(kv: KeyValue, snapshot: SnapshotRecord): Inode {
  const place = placeIn(kv, snapshot, snapshot.dir);
  return place.shown(named(place.kv, { ino: place.ino }));
}

/** The snapshot under a name of a list. */
export function inList(kv: KeyValue, list: number, name: Uint8Array): Inode | undefined {
  const snapshot = readSnapshot(kv, inoToday(list), name);
  return snapshot && snapshotRoot(kv, snapshot);
}

/** The snapshots of a list with names greater than `after`, in the order of their names. */
export function* entriesOfList(
  kv: KeyValue,
  list: number,
  after: Uint8Array,
): IterableIterator<{ name: Uint8Array; inode: Inode }> {
  for (const [, value] of kv.range(snapshotsAfter(inoToday(list), after))) {
    const snapshot = SnapshotRecord.decode(value);
    yield { name: snapshot.name, inode: snapshotRoot(kv, snapshot) };
  }
}
