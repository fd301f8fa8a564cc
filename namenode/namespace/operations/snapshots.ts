import type { Timestamp } from "../../../common/clock.js";
import { CairnError } from "../../../common/errors.js";
import { MAX_DIRECTORY_PAGE } from "../../../common/limits.js";
import { isOfSnapshot, SNAPSHOT_INOS } from "../../../common/snapshots.js";
import {
  type ListSnapshotsRequest,
  SnapshotRecord,
  type SnapshotRequest,
  type SnapshotsReplyInit,
} from "../../../proto/gen/types.js";
import type { KeyValue } from "../../store/kv.js";
import { checkName, isDots, quote, valid } from "../checks.js";
import { slotKey, snapshotsAfter } from "../keys.js";
import { readCluster, readDentry } from "../records.js";
import { MAX_SLOT } from "../snapshots/numbers.js";
import { isSnapshotsName, isSnapshotted, readSnapshot, readSnapshots, SNAPSHOTS_NAME } from "../snapshots/records.js";
import { type Context, livingDirectory, nameError } from "./context.js";

/** Snapshots at a time, of all directories: half of the slots, so that one that was given back is not soon given out again. */
const MAX_SNAPSHOTS = 2 ** 12;

/** Makes a snapshot of a directory. @returns its name and the index of its edit. EEXIST, ESTALE, ENOTDIR, EROFS, EINVAL, ENOSPC. */
export function createSnapshot(
  { kv, editor, clock }: Pick<Context, "kv" | "editor" | "clock">,
  { ino, name: asked }: SnapshotRequest,
): { name: Uint8Array; index: number } {
  livingDirectory(kv, ino);
  const time = clock.timestamp();
  const name = asked.length === 0 ? nameOf(time) : asked;
  checkName(name);
  valid(!isDots(name), `a snapshot cannot be called ${quote(name)}`);
  const fail = (code: string, why: string) => nameError(code, "make the snapshot", ino, name, why);
  if (readSnapshot(kv, ino, name) !== undefined) throw fail("EEXIST", "there is one of that name");
  if (readDentry(kv, ino, SNAPSHOTS_NAME) !== undefined)
    throw fail("EEXIST", "the directory has an entry of an older version that hides snapshots: rename it first");
  if ((readSnapshots(kv)?.count ?? 0) >= MAX_SNAPSHOTS)
    throw fail("ENOSPC", `there are ${MAX_SNAPSHOTS} snapshots already`);
  const { index } = editor.apply({ time, createSnapshot: { dir: ino, name, slot: freeSlot(kv) } });
  return { name, index };
}

/** Deletes a snapshot. @returns the index of its edit. ENOENT, ESTALE, ENOTDIR. */
export function deleteSnapshot(
  { kv, editor }: Pick<Context, "kv" | "editor">,
  { ino, name }: SnapshotRequest,
): { index: number } {
  livingDirectory(kv, ino);
  if (readSnapshot(kv, ino, name) === undefined)
    throw nameError("ENOENT", "delete the snapshot", ino, name, "there is none of that name");
  return editor.apply({ deleteSnapshot: { dir: ino, name } });
}

/** One page of a directory's snapshots. ESTALE, ENOTDIR. */
export function listSnapshots(kv: KeyValue, { ino, after }: ListSnapshotsRequest): SnapshotsReplyInit {
  livingDirectory(kv, ino);
  const snapshots = [];
  for (const [, value] of kv.range(snapshotsAfter(ino, after))) {
    if (snapshots.length === MAX_DIRECTORY_PAGE) return { snapshots, more: true };
    const { name, time } = SnapshotRecord.decode(value);
    snapshots.push({ name, time });
  }
  return { snapshots, more: false };
}

/** EEXIST when a name that is to be given to something new is kept for snapshots. */
export function checkNotReserved(doing: string, dir: number, name: Uint8Array): void {
  if (isSnapshotsName(name)) throw nameError("EEXIST", doing, dir, name, "the name is kept for snapshots");
}

/** EBUSY when a name that is not among a directory's own stands for the list of its snapshots. */
export function checkNoList(kv: KeyValue, doing: string, dir: number, name: Uint8Array): void {
  if (isSnapshotsName(name) && isSnapshotted(kv, dir))
    throw nameError("EBUSY", doing, dir, name, "it is where the directory's snapshots are");
}

/** EOVERFLOW when a new inode's number would be one of a snapshot's. */
export function checkNewNumber(ino: number): void {
  if (isOfSnapshot(ino))
    throw new CairnError("EOVERFLOW", `${SNAPSHOT_INOS} inodes have been made, which is all there are`);
}

/** The next slot that no snapshot has. */
function freeSlot(kv: KeyValue): number {
  for (let slot = readCluster(kv).lastSlot; ; ) {
    slot = 1 + (slot % MAX_SLOT);
    if (kv.get(slotKey(slot)) === undefined) return slot;
  }
}

/** A name for a snapshot that was given none: its time (UTC), as HDFS has it: "s20261130-140502.123". */
function nameOf({ sec, nsec }: Timestamp): Uint8Array {
  const [day, time] = new Date(sec * 1000 + Math.floor(nsec / 1e6)).toISOString().slice(0, -1).split("T") as [
    string,
    string,
  ];
  return Buffer.from(`s${day.replaceAll("-", "")}-${time.replaceAll(":", "")}`);
}
