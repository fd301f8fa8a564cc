import { invariant } from "../../common/errors.js";
import { MAX_REPLICAS } from "../../common/limits.js";
import type { KeyValue } from "../store/kv.js";
import type { Counters } from "./counters.js";
import { blockOfQueue, queueKey } from "./keys.js";

/** Levels below this one are the number of readable replicas of a block that has fewer than wanted. */
export const UNDER_LEVELS = MAX_REPLICAS;
/** The level of blocks without any readable replica. */
export const MISSING = 0;
/** The level of blocks that have enough good replicas, and others that should go. */
export const SURPLUS = MAX_REPLICAS;
/** The level of blocks that have enough replicas, but too few on datanodes that stay. */
export const EVACUATE = SURPLUS + 1;
/** The level of blocks that have enough good replicas, all on one rack though there are others. */
export const MISPLACED = SURPLUS + 2;
/** The last level. */
export const LAST_LEVEL = MISPLACED;
const AFTER_EVERY_ID = Number.MAX_SAFE_INTEGER;

/**
 * The blocks with something to repair, most urgent level first, by id within a level. It is a range of keys of the store:
 * it takes no memory and survives a restart. Where a block stands is noted in its ReplicasRecord.
 */
export class RepairQueue {
  readonly #kv: KeyValue;
  readonly #counters: Counters;

  constructor(kv: KeyValue, counters: Counters) {
    this.#kv = kv;
    this.#counters = counters;
  }

  /** Moves a block from one level to another; undefined: out of the queue. */
  move(block: number, from: number | undefined, to: number | undefined): void {
    if (from === to) return;
    if (from !== undefined) {
      this.#kv.delete(queueKey(from, block));
      this.#counters.add(from, -1);
    }
    if (to !== undefined) {
      invariant(to <= LAST_LEVEL, () => `the repair queue has no level ${to}`);
      this.#kv.put(queueKey(to, block), NOTHING);
      this.#counters.add(to, 1);
    }
  }

  /** Up to `limit` blocks of a level with ids above `after`. */
  page(level: number, after: number, limit: number): number[] {
    const blocks: number[] = [];
    if (this.#counters.get(level) === 0) return blocks;
    const range = { gte: queueKey(level, after + 1), lt: queueKey(level, AFTER_EVERY_ID) };
    for (const [key] of this.#kv.range(range)) {
      if (blocks.push(blockOfQueue(key)) >= limit) break;
    }
    return blocks;
  }

  /** Blocks on a level. */
  count(level: number): number {
    return this.#counters.get(level);
  }

  /** Blocks in use without any good replica. */
  get missing(): number {
    return this.count(MISSING);
  }

  /** Blocks with at least one good replica, but fewer than wanted. */
  get underReplicated(): number {
    let n = 0;
    for (let level = MISSING + 1; level < UNDER_LEVELS; level++) n += this.count(level);
    return n;
  }
}

const NOTHING = new Uint8Array(0);
