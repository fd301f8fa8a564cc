import { invariant } from "../../../common/errors.js";
import { INLINE_BLOCKS, MAX_FILE_SIZE } from "../../../common/limits.js";
import { BlockRecord, type CommitEdit, type InlineBlock, type Inode, type Policy } from "../../../proto/gen/types.js";
import { isInline } from "../../../proto/inline.js";
import { blockKey, extentsOf } from "../keys.js";
import { extentOf, readBlock } from "../records.js";
import type { Change } from "./change.js";
import { overlay, uncover } from "./extents.js";
import { applyAttributes } from "./permissions.js";

/** New extents over old ones, in the order of writing. */
export function commit(change: Change, edit: CommitEdit): void {
  const { kv, tally } = change;
  const inode = change.inode(edit.ino);
  for (const block of edit.blocks) tally.admit(block, edit.replicas);
  for (const block of edit.inline) admitInline(change, block);
  for (const extent of edit.extents) {
    inode.allocated = overlay(kv, edit.ino, tally, extent, inode.allocated);
    invariant(extent.offset + extent.length <= edit.size, `extents of inode ${edit.ino} end within the size committed`);
  }
  inode.size = Math.max(inode.size, edit.size);
  checkSizes(inode);
  inode.inline = Math.max(0, inode.inline + tally.inlineGrowth);
  inode.mtime = edit.mtime;
  applyAttributes(inode, edit);
  change.touch(inode);
  change.effects.inode = inode;
}

function admitInline({ cluster, tally }: Change, block: InlineBlock): void {
  invariant(block.id === INLINE_BLOCKS + cluster.inlineBlocks, `inline block ${block.id} is new`);
  cluster.inlineBlocks += 1;
  tally.admitInline(block);
}

/** Sets a file's size: what lies beyond is gone, what is new is a hole. */
export function resize(change: Change, inode: Inode, size: number): void {
  if (size < inode.size && inode.allocated > 0) {
    inode.allocated -= uncover(change.kv, inode.ino, change.tally, size, inode.size).removed;
    inode.inline = Math.max(0, inode.inline + change.tally.inlineGrowth);
  }
  inode.size = size;
  checkSizes(inode);
}

/** Sets how many replicas of a file's blocks are wanted. */
export function rewant(change: Change, inode: Inode, policy: Policy): void {
  const { kv } = change;
  const wanted = policy.replicas;
  const seen = new Set<number>();
  const changed = [];
  for (const [key, value] of kv.range(extentsOf(inode.ino))) {
    const id = extentOf(key, value).block;
    if (seen.has(id) || isInline(id)) continue;
    seen.add(id);
    const record = readBlock(kv, id);
    invariant(record !== undefined, `block ${id} of inode ${inode.ino} exists`);
    if (record.replicas === wanted) continue;
    record.replicas = wanted;
    kv.put(blockKey(id), BlockRecord.encode(record).finish());
    changed.push({ block: { id, generation: record.generation, length: record.length }, wanted });
  }
  if (changed.length > 0) change.effects.wanted = changed;
}

function checkSizes({ ino, size, allocated }: Inode): void {
  invariant(size >= 0 && size <= MAX_FILE_SIZE, `inode ${ino} has a sound size`);
  invariant(allocated >= 0 && allocated <= size, `extents of inode ${ino} cover no more than its size`);
}
