// The extents of a file as they are in the store.
import type { Extent } from "../../proto/gen/types.js";
import type { KeyValue } from "../store/kv.js";
import { extentsWithin } from "./keys.js";
import { extentOf } from "./records.js";

/** Where an extent ends in its file. */
export const endOf = ({ offset, length }: Extent): number => offset + length;

/** The extents of a file that touch [from, to), in order, whole. */
export function* touching(kv: KeyValue, ino: number, from: number, to: number): IterableIterator<Extent> {
  if (from >= to) return;
  if (from > 0) {
    for (const [key, value] of kv.range({ ...extentsWithin(ino, 0, from), reverse: true })) {
      const before = extentOf(key, value);
      if (endOf(before) > from) yield before;
      break;
    }
  }
  for (const [key, value] of kv.range(extentsWithin(ino, from, to))) yield extentOf(key, value);
}

/** What of a file's extents lies within [from, to), in order. */
export function* within(kv: KeyValue, ino: number, from: number, to: number): IterableIterator<Extent> {
  for (const { offset, length, block, blockOffset } of touching(kv, ino, from, to)) {
    const start = Math.max(offset, from);
    yield {
      offset: start,
      length: Math.min(offset + length, to) - start,
      block,
      blockOffset: blockOffset + start - offset,
    };
  }
}

/** How far one gets from `from` towards `to` in a file without touching more than `most` extents. */
export function reach(kv: KeyValue, ino: number, from: number, to: number, most: number): number {
  let left = most;
  for (const { offset } of touching(kv, ino, from, to)) if (left-- === 0) return offset;
  return to;
}
