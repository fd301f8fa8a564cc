import { invariant } from "../../../common/errors.js";
import {
  type Block,
  BlockRecord,
  type CommittedBlock,
  type InlineBlock,
  InlineRecord,
} from "../../../proto/gen/types.js";
import { isInline } from "../../../proto/inline.js";
import type { KeyValue } from "../../store/kv.js";
import { blockKey, inlineKey } from "../keys.js";
import { readBlock } from "../records.js";

interface Touched {
  readonly record: BlockRecord;
  /** Whether other replicas are wanted than before. */
  rewanted: boolean;
  /** Set when the block becomes part of the store with this edit. */
  readonly arrival: { block: CommittedBlock; wanted: number } | InlineBlock | undefined;
}

/** The generation stamp of every inline block: no pipeline of them is ever rebuilt. */
const INLINE_GENERATION = 1;

/** A block whose wanted number of replicas an edit has changed. */
export interface Rewanted {
  readonly block: Block;
  readonly wanted: number;
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
        () => `block ${id} is committed as it was before`,
      );
      return;
    }
    const record = { generation, length, replicas: wanted, extents: 0, live: 0 };
    this.#touched.set(id, { record, rewanted: false, arrival: { block: arrival, wanted } });
  }

  /** An inline block that came with this edit: no replicas of it are wanted. */
  admitInline(block: InlineBlock): void {
    const record = { generation: INLINE_GENERATION, length: block.data.length, replicas: 0, extents: 0, live: 0 };
    this.#touched.set(block.id, { record, rewanted: false, arrival: block });
  }

  /** By how many bytes the inline blocks in use have become more with this edit, so far; negative: fewer. */
  get inlineGrowth(): number {
    let growth = 0;
    for (const [id, { record, arrival }] of this.#touched) {
      if (!isInline(id)) continue;
      const used = record.extents > 0;
      if (used && arrival !== undefined) growth += record.length;
      else if (!used && arrival === undefined) growth -= record.length;
    }
    return growth;
  }

  /** Extents and bytes that refer to a block from now on; negative: no longer. */
  count(block: number, extents: number, bytes: number): void {
    const { record } = this.#touch(block);
    record.extents += extents;
    record.live += bytes;
  }

  /**
   * A file of which `extents` extents refer to a block wants so many replicas of it. A block that has other users, who may want more,
   * never gets fewer.
   */
  want(block: number, extents: number, replicas: number): void {
    if (isInline(block)) return;
    const touched = this.#touch(block);
    const { record } = touched;
    const wanted = extents < record.extents ? Math.max(record.replicas, replicas) : replicas;
    if (wanted === record.replicas) return;
    record.replicas = wanted;
    touched.rewanted = true;
  }

  #touch(block: number): Touched {
    let touched = this.#touched.get(block);
    if (touched === undefined) {
      const record = readBlock(this.#kv, block);
      invariant(record !== undefined, () => `block ${block} of an extent exists`);
      touched = { record, rewanted: false, arrival: undefined };
      this.#touched.set(block, touched);
    }
    return touched;
  }

  /**
   * Stores the counts. Says which blocks on datanodes came to stay, which of them nothing refers to any more, and of which other
   * replicas are wanted.
   */
  settle(): { committed: { block: CommittedBlock; wanted: number }[]; freed: Block[]; wanted: Rewanted[] } {
    const committed: { block: CommittedBlock; wanted: number }[] = [];
    const wanted: Rewanted[] = [];
    const freed: Block[] = [];
    for (const [id, { record, rewanted, arrival }] of this.#touched) {
      const { extents, live, generation, length } = record;
      invariant(extents >= 0 && live >= 0 && (extents === 0) === (live === 0), () => `block ${id} has sound counts`);
      if (extents > 0) {
        this.#kv.put(blockKey(id), BlockRecord.encode(record).finish());
        if (rewanted) wanted.push({ block: { id, generation, length }, wanted: record.replicas });
        if (arrival === undefined) continue;
        if ("block" in arrival) committed.push(arrival);
        else this.#kv.put(inlineKey(id), InlineRecord.encode(arrival).finish());
        continue;
      }
      if (isInline(id)) {
        if (arrival !== undefined) continue;
        this.#kv.delete(blockKey(id));
        this.#kv.delete(inlineKey(id));
        continue;
      }
      freed.push({ id, generation, length });
      if (arrival === undefined) this.#kv.delete(blockKey(id));
      else this.stillborn += 1;
    }
    return { committed, freed, wanted };
  }
}
