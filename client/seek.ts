// Where data and holes begin in a file of which the newest writes are not committed.
import { CairnError } from "../common/errors.js";
import type { ExtentMap } from "./extent-map.js";

/** Bytes [from, to) of a file. */
export interface Run {
  readonly from: number;
  readonly to: number;
}

/** The first run of committed bytes that ends after a position, from there on; undefined when there is none. */
export type Committed = (position: number) => Promise<Run | undefined>;

/**
 * The first byte at or after `from` that was written. ENXIO when there is none before `size`.
 * @param uncommitted what was written and is not committed, in any order
 */
export async function seekData(
  uncommitted: readonly ExtentMap<null>[],
  committed: Committed,
  from: number,
  size: number,
): Promise<number> {
  let first = uncommitted.reduce((least, map) => Math.min(least, map.after(from)?.offset ?? size), size);
  if (first > from) first = Math.min(first, (await committed(from))?.from ?? size);
  if (first >= size) throw new CairnError("ENXIO", `seek data at ${from}: there is only a hole up to ${size}`);
  return Math.max(first, from);
}

/** The first byte at or after `from` that was not written; `size` when there is none before. See seekData. */
export async function seekHole(
  uncommitted: readonly ExtentMap<null>[],
  committed: Committed,
  from: number,
  size: number,
): Promise<number> {
  for (let at = from; at < size; ) {
    const before = at;
    for (const map of uncommitted) {
      const piece = map.after(at);
      if (piece !== undefined && piece.offset <= at) at = piece.offset + piece.length;
    }
    if (at > before) continue;
    const run = await committed(at);
    if (run === undefined || run.from > at) return at;
    at = run.to;
  }
  return size;
}
