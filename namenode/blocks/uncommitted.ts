import type { Block } from "../../proto/gen/types.js";

/** Blocks remembered; replicas of further ones are taken up by the next full report. */
const MAX_UNCOMMITTED = 100_000;
/** Replicas remembered of one block. */
const MAX_REPLICAS_EACH = 32;

interface Seen {
  /** When this namenode first saw a replica of the block, monotonic ms. */
  since: number;
  replicas: { datanode: number; replica: Block }[];
}

/**
 * Replicas that datanodes have of blocks that no file refers to: of blocks being written, which a commit takes out of
 * here, and orphans, which are deleted after a grace period.
 */
export class Uncommitted {
  readonly #blocks = new Map<number, Seen>();

  /** A datanode has this replica. `now`: monotonic ms. */
  see(datanode: number, replica: Block, now: number): void {
    const seen = this.#blocks.get(replica.id);
    if (seen === undefined) {
      if (this.#blocks.size < MAX_UNCOMMITTED)
        this.#blocks.set(replica.id, { since: now, replicas: [{ datanode, replica }] });
      return;
    }
    const known = seen.replicas.some((r) => r.datanode === datanode && r.replica.generation === replica.generation);
    if (!known && seen.replicas.length < MAX_REPLICAS_EACH) seen.replicas.push({ datanode, replica });
  }

  /** A datanode no longer has a replica. */
  gone(datanode: number, replica: Block): void {
    const seen = this.#blocks.get(replica.id);
    if (seen === undefined) return;
    seen.replicas = seen.replicas.filter((r) => r.datanode !== datanode || r.replica.generation !== replica.generation);
    if (seen.replicas.length === 0) this.#blocks.delete(replica.id);
  }

  /** Takes a block's replicas out. */
  take(block: number): readonly { datanode: number; replica: Block }[] {
    const seen = this.#blocks.get(block);
    if (seen === undefined) return [];
    this.#blocks.delete(block);
    return seen.replicas;
  }

  /** The blocks first seen at or before a time, oldest first, at most `limit`. */
  seenBefore(time: number, limit: number): number[] {
    const blocks: number[] = [];
    for (const [id, { since }] of this.#blocks) {
      if (since > time || blocks.length >= limit) break; // a Map keeps the order of arrival
      blocks.push(id);
    }
    return blocks;
  }

  /** A block is still being written: its grace starts again. */
  defer(block: number, now: number): void {
    const seen = this.#blocks.get(block);
    if (seen === undefined) return;
    this.#blocks.delete(block);
    this.#blocks.set(block, { since: now, replicas: seen.replicas });
  }
}
