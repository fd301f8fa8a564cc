import { invariant } from "../../../common/errors.js";
import { INLINE_BLOCKS, MAX_FILE_SIZE } from "../../../common/limits.js";
import type { CloneEdit, CommitEdit, FallocateEdit, InlineBlock, Inode, Policy } from "../../../proto/gen/types.js";
import { within } from "../extents.js";
import { extentsOf } from "../keys.js";
import { extentOf } from "../records.js";
import { placeOf } from "../snapshots/places.js";
import type { Change } from "./change.js";
import { overlay, uncover } from "./extents.js";
import { create } from "./names.js";
import { applyAttributes } from "./permissions.js";
import { chargeBytes } from "./quotas.js";

/** New extents over old ones, in the order of writing; of a file that may be made by the same edit. */
export function commit(change: Change, edit: CommitEdit): void {
  const { kv, tally } = change;
  if (edit.birth !== null) create(change, edit.birth);
  const inode = change.inode(edit.ino);
  const before = inode.allocated;
  for (const block of edit.blocks) tally.admit(block, edit.replicas);
  for (const block of edit.inline) admitInline(change, block);
  for (const extent of edit.extents) {
    inode.allocated = overlay(kv, edit.ino, tally, extent, inode.allocated);
    invariant(
      extent.offset + extent.length <= edit.size,
      () => `extents of inode ${edit.ino} end within the size committed`,
    );
  }
  inode.size = Math.max(inode.size, edit.size);
  chargeBytes(change, inode, inode.allocated - before);
  checkSizes(inode);
  countInline(change, inode);
  if (edit.compaction) change.rearrange(inode);
  else {
    inode.mtime = edit.mtime;
    applyAttributes(inode, edit);
    change.touch(inode);
  }
  change.effects.inode = inode;
}

function admitInline({ cluster, tally }: Change, block: InlineBlock): void {
  invariant(block.id === INLINE_BLOCKS + cluster.inlineBlocks, () => `inline block ${block.id} is new`);
  cluster.inlineBlocks += 1;
  tally.admitInline(block);
}

/** Counts the inline blocks that came and went. Of those it shares with others, a file is charged those it brought. */
function countInline({ tally }: Change, inode: Inode): void {
  inode.inline = Math.max(0, inode.inline + tally.inlineGrowth);
}

/** Sets a file's size: what lies beyond is gone, what is new is a hole. */
export function resize(change: Change, inode: Inode, size: number): void {
  const before = inode.allocated;
  if (size < inode.size && inode.allocated > 0) {
    inode.allocated -= uncover(change.kv, inode.ino, change.tally, size, inode.size).removed;
    countInline(change, inode);
  }
  inode.size = size;
  chargeBytes(change, inode, inode.allocated - before);
  checkSizes(inode);
}

/** Makes a range a hole, and sets the size. */
export function fallocate(change: Change, edit: FallocateEdit): void {
  const inode = change.inode(edit.ino);
  const before = inode.allocated;
  if (edit.length > 0 && inode.allocated > 0) {
    inode.allocated -= uncover(change.kv, edit.ino, change.tally, edit.offset, edit.offset + edit.length).removed;
    countInline(change, inode);
  }
  inode.size = edit.size;
  chargeBytes(change, inode, inode.allocated - before);
  checkSizes(inode);
  change.modify(inode);
  change.effects.inode = inode;
}

/** Has a range of a file refer to what a range of a file refers to. The two do not overlap. */
export function clone(change: Change, edit: CloneEdit): void {
  const { kv, tally } = change;
  const { source, sourceOffset, ino, offset, length } = edit;
  const from = placeOf(kv, source);
  const pieces = [...within(from.kv, from.ino, sourceOffset, sourceOffset + length)];
  const inode = change.inode(ino);
  const before = inode.allocated;
  if (inode.allocated > 0) inode.allocated -= uncover(kv, ino, tally, offset, offset + length).removed;
  for (const piece of pieces) {
    const extent = { ...piece, offset: offset + piece.offset - sourceOffset };
    inode.allocated = overlay(kv, ino, tally, extent, inode.allocated);
    tally.want(piece.block, 0, inode.policy.replicas);
  }
  inode.size = Math.max(inode.size, offset + length);
  chargeBytes(change, inode, inode.allocated - before);
  checkSizes(inode);
  countInline(change, inode);
  change.modify(inode);
  change.effects.inode = inode;
  change.effects.copied = length;
}

/** Sets how many replicas of a file's blocks are wanted. */
export function rewant(change: Change, inode: Inode, policy: Policy): void {
  const extents = new Map<number, number>();
  for (const [key, value] of change.kv.range(extentsOf(inode.ino))) {
    const { block } = extentOf(key, value);
    extents.set(block, (extents.get(block) ?? 0) + 1);
  }
  for (const [block, count] of extents) change.tally.want(block, count, policy.replicas);
}

function checkSizes({ ino, size, allocated }: Inode): void {
  invariant(size >= 0 && size <= MAX_FILE_SIZE, () => `inode ${ino} has a sound size`);
  invariant(allocated >= 0 && allocated <= size, () => `extents of inode ${ino} cover no more than its size`);
}
