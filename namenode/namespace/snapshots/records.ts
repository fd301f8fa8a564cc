// The snapshots of a store, as records.
import { SNAPSHOTS as NAME } from "../../../common/snapshots.js";
import { SnapshotRecord, SnapshotsRecord } from "../../../proto/gen/types.js";
import type { KeyValue } from "../../store/kv.js";
import { SNAPSHOTS, slotKey, snapshotIdsWithin, snapshotKey, snapshotsOf } from "../keys.js";

/** Where snapshots of all directories are found by their ids. No directory has this number. */
export const ANY = 0;

/** The name under which a directory's snapshots are, as bytes. */
export const SNAPSHOTS_NAME: Uint8Array = Buffer.from(NAME);

/** The part of a store that is read. */
type Reader = Pick<KeyValue, "get" | "range">;

/** What there is of snapshots; undefined when there is none: then nothing is kept. */
export function readSnapshots(kv: Pick<KeyValue, "get">): SnapshotsRecord | undefined {
  const bytes = kv.get(SNAPSHOTS);
  return bytes && SnapshotsRecord.decode(bytes);
}

/** The snapshot of a name. */
export function readSnapshot(kv: Reader, dir: number, name: Uint8Array): SnapshotRecord | undefined {
  const bytes = kv.get(snapshotKey(dir, name));
  return bytes && SnapshotRecord.decode(bytes);
}

/** The snapshot that has a slot. */
export function snapshotInSlot(kv: Reader, slot: number): SnapshotRecord | undefined {
  const bytes = kv.get(slotKey(slot));
  return bytes && SnapshotRecord.decode(bytes);
}

/** The youngest snapshot of a directory, or of ANY. */
export function latestOf(kv: Reader, dir: number): SnapshotRecord | undefined {
  for (const [, value] of kv.range({ ...snapshotsOf(dir), reverse: true })) return SnapshotRecord.decode(value);
  return undefined;
}

/** Whether a directory, or ANY, has a snapshot with from <= id < to. */
export function hasWithin(kv: Reader, dir: number, from: number, to: number): boolean {
  return !kv.range(snapshotIdsWithin(dir, from, to)).next().done;
}

/** Whether a directory has snapshots. */
export function isSnapshotted(kv: Reader, dir: number): boolean {
  return kv.get(SNAPSHOTS) !== undefined && !kv.range(snapshotsOf(dir)).next().done;
}

/** Whether a name is that under which snapshots are. */
export function isSnapshotsName(name: Uint8Array): boolean {
  return name.length === SNAPSHOTS_NAME.length && Buffer.compare(name, SNAPSHOTS_NAME) === 0;
}
