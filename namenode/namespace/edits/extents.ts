import { invariant } from "../../../common/errors.js";
import { type Extent, ExtentRecord } from "../../../proto/gen/types.js";
import type { KeyValue } from "../../store/kv.js";
import { endOf } from "../extents.js";
import { extentKey, extentsWithin } from "../keys.js";
import { extentOf, writeExtent } from "../records.js";
import type { BlockTally } from "./tally.js";

/** Whether `b` goes on where `a` ends, in the file and in the same block. */
function continues(a: Extent, b: Extent): boolean {
  return endOf(a) === b.offset && a.block === b.block && a.blockOffset + a.length === b.blockOffset;
}

/**
 * Removes what extents of a file cover within [from, to), trimming and splitting those that reach over its edges.
 * @returns how many bytes were covered there, and the extent that ends at or before `from`, nearest to it
 */
export function uncover(
  kv: KeyValue,
  ino: number,
  tally: BlockTally,
  from: number,
  to: number,
): { removed: number; before: Extent | undefined } {
  let removed = 0;
  let before: Extent | undefined;
  let next = Number.POSITIVE_INFINITY;
  for (const [key, value] of kv.range({ ...extentsWithin(ino, 0, to), reverse: true })) {
    const old = extentOf(key, value);
    const end = endOf(old);
    invariant(old.length > 0 && end <= next, () => `extents of inode ${ino} do not overlap`);
    next = old.offset;
    if (end <= from) {
      before = old;
      break;
    }
    const cut = Math.min(end, to) - Math.max(old.offset, from);
    removed += cut;
    const head = old.offset < from;
    const tail = end > to;
    tally.count(old.block, Number(head) + Number(tail) - 1, -cut);
    if (tail) {
      const blockOffset = old.blockOffset + to - old.offset;
      writeExtent(kv, ino, { ...old, offset: to, length: end - to, blockOffset });
    }
    if (head) {
      before = { ...old, length: from - old.offset };
      writeExtent(kv, ino, before);
      break;
    }
    kv.delete(key);
  }
  return { removed, before };
}

/**
 * Puts an extent over what a file has there, joined with the neighbours that it continues.
 * @param covered bytes of the file that extents cover so far; when there are none, nobody searches
 * @returns how many bytes they cover now
 */
export function overlay(kv: KeyValue, ino: number, tally: BlockTally, extent: Extent, covered: number): number {
  if (covered === 0) {
    writeExtent(kv, ino, extent);
    tally.count(extent.block, 1, extent.length);
    return extent.length;
  }
  const { removed, before } = uncover(kv, ino, tally, extent.offset, endOf(extent));
  let { offset, length, blockOffset } = extent;
  let extents = 1;
  if (before !== undefined && continues(before, extent)) {
    ({ offset, blockOffset } = before);
    length += before.length;
    extents -= 1;
  }
  const afterKey = extentKey(ino, endOf(extent));
  const afterValue = kv.get(afterKey);
  if (afterValue !== undefined) {
    const after = extentOf(afterKey, afterValue);
    if (continues(extent, after)) {
      length += after.length;
      extents -= 1;
      kv.delete(afterKey);
    }
  }
  tally.count(extent.block, extents, extent.length);
  kv.put(extentKey(ino, offset), ExtentRecord.encode({ length, block: extent.block, blockOffset }).finish());
  return covered + extent.length - removed;
}
