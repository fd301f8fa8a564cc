import { invariant } from "../../../common/errors.js";
import { ROOT_INO } from "../../../common/limits.js";
import {
  AdministerDatanodeEdit,
  ClusterRecord,
  Duty,
  type FormatEdit,
  type RecountEdit,
  RegisterDatanodeEdit,
  type RestoreEdit,
} from "../../../proto/gen/types.js";
import { CLUSTER, datanodeKey, dutyKey } from "../keys.js";
import { MAX_SLOT } from "../snapshots/numbers.js";
import type { Change } from "./change.js";

/** The generation stamp of a block whose pipeline was never rebuilt; stamps of rebuilt ones are greater. */
export const FIRST_GENERATION = 1;

/** Makes an empty store a cluster with a root directory. */
export function format(change: Change, { cluster, root }: FormatEdit): void {
  invariant(change.kv.get(CLUSTER) === undefined, "a store is formatted once");
  invariant(root.ino === ROOT_INO, "the root directory has its number");
  const record = ClusterRecord.encode({
    cluster,
    nextIno: ROOT_INO + 1,
    nextBlock: 1,
    nextGeneration: FIRST_GENERATION + 1,
    nextDatanode: 1,
    directories: 1,
    created: change.time,
  });
  change.kv.put(CLUSTER, record.finish());
  change.touch(root);
  change.effects.inode = root;
}

/** Block ids below `next` may have been given out. */
export function reserveBlockIds(change: Change, next: number): void {
  invariant(next >= change.cluster.nextBlock, "block ids only rise");
  change.cluster.nextBlock = next;
}

/** Inode numbers below `next` may have been given out. */
export function reserveInodes(change: Change, next: number): void {
  invariant(next >= change.cluster.nextIno, "inode numbers only rise");
  change.cluster.nextIno = next;
}

/** Generation stamps below `next` may have been given out. */
export function reserveGenerations(change: Change, next: number): void {
  invariant(next >= change.cluster.nextGeneration, "generation stamps only rise");
  change.cluster.nextGeneration = next;
}

/** Far more numbers of each kind than a cluster gives out between two backups, and few enough for thousands of restores. */
const SKIPPED = 2 ** 30;
/** The same, of what has 32 bits only: generation stamps, and datanodes. */
const SKIPPED_GENERATIONS = 2 ** 18;
const SKIPPED_DATANODES = 2 ** 10;
/** The same, of the slots of snapshots, which are given out in turn. */
const SKIPPED_SLOTS = 2 ** 8;

/** The index of the edit by which a store that had the edits up to `last` is taken up again. */
export const indexOfRestore = (last: number): number => last + SKIPPED;

/** The store came from a backup: what the edits that are lost may have given out is never given out again. */
export function restore(change: Change, { last }: RestoreEdit): void {
  const { cluster } = change;
  invariant(change.index === indexOfRestore(last), "a restore passes over the indexes of what is lost");
  cluster.nextIno += SKIPPED;
  cluster.nextBlock += SKIPPED;
  cluster.inlineBlocks += SKIPPED;
  cluster.nextGeneration += SKIPPED_GENERATIONS;
  cluster.nextDatanode += SKIPPED_DATANODES;
  cluster.lastSlot = 1 + ((cluster.lastSlot + SKIPPED_SLOTS) % MAX_SLOT);
  cluster.restored = change.time;
  cluster.lostAfter = last;
  cluster.lostUntil = change.index;
}

/** The counters were wrong by a difference that has been counted, whatever has changed since. */
export function recount({ cluster }: Change, { files, directories, blocks }: RecountEdit): void {
  cluster.files += files;
  cluster.directories += directories;
  cluster.blocks += blocks;
}

/** A datanode that is new, or whose address or rack has changed. */
export function registerDatanode(change: Change, edit: RegisterDatanodeEdit): void {
  change.kv.put(datanodeKey(edit.id), RegisterDatanodeEdit.encode(edit).finish());
  if (edit.id >= change.cluster.nextDatanode) change.cluster.nextDatanode = edit.id + 1;
}

/** What an operator wants of a datanode. */
export function administerDatanode(change: Change, edit: AdministerDatanodeEdit): void {
  if (edit.duty === Duty.IN_SERVICE) change.kv.delete(dutyKey(edit.id));
  else change.kv.put(dutyKey(edit.id), AdministerDatanodeEdit.encode(edit).finish());
}
