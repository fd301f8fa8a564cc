import { invariant } from "../../../common/errors.js";
import {
  type CreateSnapshotEdit,
  type DeleteSnapshotEdit,
  ForgettingRecord,
  type ForgetVersionsEdit,
  SnapshotRecord,
  SnapshotsRecord,
  VersionRecord,
} from "../../../proto/gen/types.js";
import type { Key } from "../../store/kv.js";
import {
  FORGETTING,
  idOfVersion,
  keyOfVersion,
  SNAPSHOTS,
  slotKey,
  snapshotIdKey,
  snapshotKey,
  VERSIONS,
} from "../keys.js";
import { extentOf, writeInode } from "../records.js";
import { inoOfList } from "../snapshots/numbers.js";
import { ANY, readSnapshot, readSnapshots, SNAPSHOTS_NAME } from "../snapshots/records.js";
import { isNeeded } from "../snapshots/versions.js";
import type { Change } from "./change.js";

/** The directory stays readable as it is. Costs the same whatever is below it: what changes later keeps its old value. */
export function createSnapshot(change: Change, { dir, name, slot }: CreateSnapshotEdit): void {
  const { kv, index, time, cluster } = change;
  const snapshot = { id: index, dir, name, slot, time, nextIno: cluster.nextIno };
  const record = SnapshotRecord.encode(snapshot).finish();
  for (const key of keysOf(snapshot)) {
    invariant(kv.get(key) === undefined, `snapshot ${index} is new`);
    kv.put(key, record);
  }
  cluster.lastSlot = slot;
  const count = (readSnapshots(kv)?.count ?? 0) + 1;
  kv.put(SNAPSHOTS, SnapshotsRecord.encode({ count, nextIno: cluster.nextIno }).finish());
  mark(change, dir);
  named(change, dir, name);
}

/** A snapshot is there no more. What was kept for it is looked for, and goes, in edits of its own. */
export function deleteSnapshot(change: Change, { dir, name }: DeleteSnapshotEdit): void {
  const { kv } = change;
  const snapshot = readSnapshot(kv, dir, name);
  invariant(snapshot !== undefined, `the snapshot that edit ${change.index} deletes exists`);
  for (const key of keysOf(snapshot)) kv.delete(key);
  const { count, nextIno } = readSnapshots(kv)!;
  if (count === 1) kv.delete(SNAPSHOTS);
  else kv.put(SNAPSHOTS, SnapshotsRecord.encode({ count: count - 1, nextIno }).finish());
  const under = readForgetting(change);
  writeForgetting(change, { after: under?.after ?? new Uint8Array(0), again: under !== undefined });
  named(change, dir, name);
}

/** Looks at a bounded number of versions, and removes those that no snapshot needs. */
export function forgetVersions(change: Change, { entries }: ForgetVersionsEdit): void {
  const { kv, tally } = change;
  const under = readForgetting(change);
  if (under === undefined) return;
  const gte = under.after.length === 0 ? VERSIONS.gte : `${Buffer.from(under.after).toString("latin1")}\0`;
  let left = entries;
  let last: Key | undefined;
  for (const [key, bytes] of kv.range({ gte, lt: VERSIONS.lt })) {
    if (left-- === 0) return writeForgetting(change, { after: Buffer.from(last!, "latin1"), again: under.again });
    last = key;
    const record = VersionRecord.decode(bytes);
    if (isNeeded(kv, idOfVersion(key), record)) continue;
    kv.delete(key);
    const of = keyOfVersion(key);
    if (of[0] !== "E" || record.absent) continue;
    const { block, length } = extentOf(of, record.value);
    tally.count(block, -1, -length);
  }
  if (under.again) writeForgetting(change, { after: new Uint8Array(0), again: false });
  else kv.delete(FORGETTING);
}

/** Where a snapshot is found: by name, by slot, by age among those of its directory and among all. */
function keysOf({ id, dir, name, slot }: Pick<SnapshotRecord, "id" | "dir" | "name" | "slot">): Key[] {
  return [snapshotKey(dir, name), slotKey(slot), snapshotIdKey(dir, id), snapshotIdKey(ANY, id)];
}

/** Who watches the directory, or the list of its snapshots, hears of it. */
function named(change: Change, dir: number, name: Uint8Array): void {
  change.named(dir, SNAPSHOTS_NAME);
  change.named(inoOfList(dir), name);
  change.effects.touched = [inoOfList(dir)];
}

/** Has whatever looks for the snapshots of what is below a directory find that it has some. */
function mark(change: Change, dir: number): void {
  const inode = change.inode(dir);
  inode.coverage = { roots: [...new Set(inode.coverage?.roots).add(dir)] };
  writeInode(change.kv, inode);
}

function readForgetting({ kv }: Change): ForgettingRecord | undefined {
  const bytes = kv.get(FORGETTING);
  return bytes && ForgettingRecord.decode(bytes);
}

function writeForgetting({ kv, effects }: Change, record: { after: Uint8Array; again: boolean }): void {
  kv.put(FORGETTING, ForgettingRecord.encode(record).finish());
  effects.forgettable = true;
}
