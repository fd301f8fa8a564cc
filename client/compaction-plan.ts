// Which pieces of a file are worth being written again as one block. Pure: the compactor does it.
import { MIB } from "../common/limits.js";
import type { Extent } from "../proto/gen/types.js";

/** A piece is small below this, bytes. */
const SMALL = MIB;
/** A block is mostly dead when files refer to less than this share of it… */
const LIVE_SHARE = 1 / 4;
/** …and to so much less than all, bytes: freeing less is not worth a block. */
const MIN_DEAD = MIB;
/** So many pieces fewer make it worth to write a stretch again. */
export const MIN_SAVED = 64;
/** Pieces of one stretch, at most: half of what a commit could carry. */
export const MAX_PIECES = 4096;

/** How much of a block is in use. */
export interface BlockLife {
  /** Bytes. */
  readonly length: number;
  /** Bytes that files refer to. */
  readonly live: number;
}

/** Pieces of a file, one after the other, perhaps with holes in between, to be written again as one block. */
export type Stretch = readonly Extent[];

/**
 * The stretches of a file that are worth it, in order: many small pieces, or what is left of blocks that are mostly dead.
 * A small piece beside a much larger one waits until it has company, so that a file that grows piece by piece is not written again
 * from its start each time, but about once for every MIN_SAVED-fold of its size.
 * @param extents of the file or a part of it, in order
 * @param life of every block in extents
 * @param blockSize bytes of a stretch at most
 */
export function planCompaction(extents: Iterable<Extent>, life: Life, blockSize: number): Stretch[] {
  const stretches: Stretch[] = [];
  let stretch: Extent[] = [];
  let bytes = 0;
  const end = () => {
    const trimmed = trim(stretch, life);
    if (isWorth(trimmed, life)) stretches.push(trimmed);
    stretch = [];
    bytes = 0;
  };
  for (const extent of extents) {
    if (extent.length >= Math.min(SMALL, blockSize) && !isMostlyDead(life(extent.block))) {
      end();
      continue;
    }
    for (let done = 0; done < extent.length; ) {
      if (bytes === blockSize || stretch.length === MAX_PIECES) end();
      const piece = part(extent, done, blockSize - bytes);
      stretch.push(piece);
      bytes += piece.length;
      done += piece.length;
    }
  }
  end();
  return stretches;
}

/** A part of an extent: at most so many of its bytes, from one of them on. */
export function part({ offset, length, block, blockOffset }: Extent, from: number, most: number): Extent {
  return { offset: offset + from, length: Math.min(length - from, most), block, blockOffset: blockOffset + from };
}

type Life = (block: number) => BlockLife;

/** Takes pieces off either end that are longer than all the others together, and of blocks that are alive. */
function trim(stretch: readonly Extent[], life: Life): Extent[] {
  let [first, last] = [0, stretch.length];
  let bytes = stretch.reduce((sum, { length }) => sum + length, 0);
  const dominates = ({ length, block }: Extent) => length * 2 > bytes && !isMostlyDead(life(block));
  for (; last - first > 1 && dominates(stretch[first]!); first++) bytes -= stretch[first]!.length;
  for (; last - first > 1 && dominates(stretch[last - 1]!); last--) bytes -= stretch[last - 1]!.length;
  return stretch.slice(first, last);
}

function isMostlyDead({ length, live }: BlockLife): boolean {
  return live < length * LIVE_SHARE && length - live >= MIN_DEAD;
}

function isWorth(stretch: Stretch, life: Life): boolean {
  if (stretch.some(({ block }) => isMostlyDead(life(block)))) return true;
  let runs = 0;
  let reached = -1;
  for (const { offset, length } of stretch) {
    if (offset !== reached) runs++;
    reached = offset + length;
  }
  return stretch.length - runs >= MIN_SAVED;
}
