import { invariant } from "../../../common/errors.js";
import { type Block, BlockRecord, type CommittedBlock } from "../../../proto/gen/types.js";
import type { KeyValue } from "../../store/kv.js";
import { blockKey } from "../keys.js";
import { readBlock } from "../records.js";

interface Touched {
  readonly record: BlockRecord;
  /** Set when the block becomes part of the store with this edit. */
  readonly arrival: { block: CommittedBlock; wanted: number } | undefined;
}

/**
 * Counts, within one edit, how many extents refer to each block it touches and to how many bytes of it. Only the result
 * is stored: a block that an edit lets go of and takes up again never dies.
 */
export class BlockTally {
  readonly #kv: KeyValue;
  readonly #touched = new Map<number, Touched>();
  /** After settle(): how many new blocks died in the same edit, no extent referring to them. */
  stillborn = 0;

  constructor(kv: KeyValue) {
    this.#kv = kv;
  }

  /** A block that came with this edit. One that the store has already stays as it is. */
  admit(arrival: CommittedBlock, wanted: number): void {
    const { id, generation, length } = arrival.block;
    const known = readBlock(this.#kv, id);
    if (known !== undefined) {
      invariant(
        known.generation === generation && known.length === length,
        `block ${id} is committed as it was before`,
      );
      return;
    }
    const record = { generation, length, replicas: wanted, extents: 0, live: 0 };
    this.#touched.set(id, { record, arrival: { block: arrival, wanted } });
  }

  /** Extents and bytes that refer to a block from now on; negative: no longer. */
  count(block: number, extents: number, bytes: number): void {
    let touched = this.#touched.get(block);
    if (touched === undefined) {
      const record = readBlock(this.#kv, block);
      invariant(record !== undefined, `block ${block} of an extent exists`);
      touched = { record, arrival: undefined };
      this.#touched.set(block, touched);
    }
    touched.record.extents += extents;
    touched.record.live += bytes;
  }

  /** Stores the counts. Says which blocks came to stay and which nothing refers to any more. */
  settle(): { committed: { block: CommittedBlock; wanted: number }[]; freed: Block[] } {
    const committed: { block: CommittedBlock; wanted: number }[] = [];
    const freed: Block[] = [];
    for (const [id, { record, arrival }] of this.#touched) {
      const { extents, live, generation, length } = record;
      invariant(extents >= 0 && live >= 0 && (extents === 0) === (live === 0), `block ${id} has sound counts`);
      if (extents > 0) {
        this.#kv.put(blockKey(id), BlockRecord.encode(record).finish());
        if (arrival !== undefined) committed.push(arrival);
        continue;
      }
      freed.push({ id, generation, length });
      if (arrival === undefined) this.#kv.delete(blockKey(id));
      else this.stillborn += 1;
    }
    return { committed, freed };
  }
}
