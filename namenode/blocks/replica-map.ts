import { REGION_RANGES } from "../../common/limits.js";
import { type RangeSummary, rangeOf, regionOf, replicaDigest, xorDigests } from "../../proto/digest.js";
import { type Block, ReplicasRecord } from "../../proto/gen/types.js";
import type { BlockUse } from "../contract.js";
import type { KeyValue } from "../store/kv.js";
import { type Assessment, assess, levelOf, type Trust } from "./assess.js";
import { CORRUPT_SLOT, type Counters } from "./counters.js";
import {
  blockOfStored,
  decodeDigest,
  decodeStored,
  digestKey,
  encodeDigest,
  encodeStored,
  rangeOfDigest,
  regionKey,
  regionOfKey,
  replicasKey,
  type Stored,
  storedKey,
} from "./keys.js";
import type { RepairQueue } from "./repair-queue.js";

const AFTER_EVERY_ID = Number.MAX_SAFE_INTEGER;

type Digest = Omit<RangeSummary, "range">;
const EMPTY: Digest = { count: 0, digest: 0 };

/**
 * Which datanode has a replica of which block, as hints in the store. Every change brings the datanode's list, the digest
 * of its range and the block's place in the repair queue up to date with it.
 */
export class ReplicaMap {
  readonly #kv: KeyValue;
  readonly #queue: RepairQueue;
  readonly #counters: Counters;
  readonly #use: BlockUse;
  readonly #trust: Trust;

  constructor(kv: KeyValue, queue: RepairQueue, counters: Counters, use: BlockUse, trust: Trust) {
    this.#kv = kv;
    this.#queue = queue;
    this.#counters = counters;
    this.#use = use;
    this.#trust = trust;
  }

  /** Corrupt replicas known. */
  get corrupt(): number {
    return this.#counters.get(CORRUPT_SLOT);
  }

  /** A block's replicas. */
  get(block: number): ReplicasRecord {
    const value = this.#kv.get(replicasKey(block));
    if (value === undefined) return { replicas: [], queued: 0 };
    const { replicas, queued } = ReplicasRecord.decode(value);
    return { replicas: [...replicas], queued };
  }

  /** The replica of a block that a datanode is believed to have. */
  stored(datanode: number, block: number): Stored | undefined {
    const value = this.#kv.get(storedKey(datanode, block));
    return value === undefined ? undefined : decodeStored(value);
  }

  /** A block became part of the store, with good replicas on these datanodes. Nothing changes for those known already. */
  commit(block: Block, datanodes: readonly number[], wanted: number): void {
    const entry = this.get(block.id);
    for (const datanode of datanodes) {
      if (!entry.replicas.some((r) => r.datanode === datanode && r.generation === block.generation))
        this.#set(entry, datanode, block, false);
    }
    this.#settle(block.id, entry, wanted);
  }

  /** A datanode has this replica. It takes the place of any other that the datanode was believed to have of the block. */
  put(datanode: number, replica: Block, corrupt: boolean): void {
    const entry = this.get(replica.id);
    this.#set(entry, datanode, replica, corrupt);
    this.#settle(replica.id, entry);
  }

  /** A datanode has no replica of the block (any more). */
  remove(datanode: number, block: number): void {
    const entry = this.get(block);
    this.#unset(entry, datanode, block);
    this.#settle(block, entry);
  }

  /** A block is no longer in use: forgets its replicas. @returns the datanodes that had one. */
  free(block: number): number[] {
    const entry = this.get(block);
    const datanodes = entry.replicas.map((r) => r.datanode);
    for (const datanode of datanodes) this.#unset(entry, datanode, block);
    this.#settle(block, entry, 0);
    return datanodes;
  }

  /** What a block's replicas are worth now; undefined when no file refers to it. Its place in the queue is put right. */
  refresh(block: number): { assessment: Assessment; level: number | undefined } | undefined {
    const wanted = this.#use.committed(block)?.wanted;
    const entry = this.get(block);
    const before = entry.queued;
    const level = this.#place(block, entry, wanted ?? 0);
    if (entry.queued !== before) this.#write(block, entry);
    return wanted === undefined ? undefined : { assessment: assess(entry, wanted, this.#trust), level };
  }

  /** What a block's replicas are worth now; undefined when no file refers to it. Nothing is changed. */
  assess(block: number): Assessment | undefined {
    const wanted = this.#use.committed(block)?.wanted;
    return wanted === undefined ? undefined : assess(this.get(block), wanted, this.#trust);
  }

  /** Up to `limit` replicas of a datanode with block ids in [from, below), in order. */
  page(datanode: number, from: number, limit: number, below = AFTER_EVERY_ID): Block[] {
    const page: Block[] = [];
    const range = { gte: storedKey(datanode, from), lt: storedKey(datanode, below) };
    for (const [key, value] of this.#kv.range(range)) {
      if (page.push({ id: blockOfStored(key), ...decodeStored(value) }) >= limit) break;
    }
    return page;
  }

  /** The digests of a datanode's non-empty regions with from <= number < until, in ascending order. */
  *regions(datanode: number, from: number, until = AFTER_EVERY_ID): IterableIterator<RangeSummary> {
    const range = { gte: regionKey(datanode, from), lt: regionKey(datanode, until) };
    for (const [key, value] of this.#kv.range(range)) yield decodeDigest(regionOfKey(key), value);
  }

  /** The digests of a datanode's non-empty ranges in a region, in ascending order. */
  *digests(datanode: number, region: number): IterableIterator<RangeSummary> {
    const from = region * REGION_RANGES;
    const range = { gte: digestKey(datanode, from), lt: digestKey(datanode, from + REGION_RANGES) };
    for (const [key, value] of this.#kv.range(range)) yield decodeDigest(rangeOfDigest(key), value);
  }

  /** Writes down the digest of a region anew, from its ranges: a store of an older version has none. */
  sumUp(datanode: number, region: number): void {
    this.#putDigest(regionKey(datanode, region), this.#sum(datanode, region));
  }

  #set(entry: ReplicasRecord, datanode: number, { id, generation, length }: Block, corrupt: boolean): void {
    this.#unset(entry, datanode, id);
    entry.replicas.push({ datanode, generation, corrupt });
    if (corrupt) this.#counters.add(CORRUPT_SLOT, 1);
    this.#kv.put(storedKey(datanode, id), encodeStored({ generation, length }));
    this.#digest(datanode, { id, generation, length }, 1);
  }

  #unset(entry: ReplicasRecord, datanode: number, id: number): void {
    const at = entry.replicas.findIndex((r) => r.datanode === datanode);
    if (at < 0) return;
    if (entry.replicas.splice(at, 1)[0]!.corrupt) this.#counters.add(CORRUPT_SLOT, -1);
    const stored = this.stored(datanode, id);
    if (stored === undefined) return;
    this.#kv.delete(storedKey(datanode, id));
    this.#digest(datanode, { id, ...stored }, -1);
  }

  #digest(datanode: number, replica: Block, by: 1 | -1): void {
    const range = rangeOf(replica.id);
    const region = regionOf(range);
    const sums: [string, Digest][] = [
      [digestKey(datanode, range), this.#getDigest(digestKey(datanode, range)) ?? EMPTY],
      [regionKey(datanode, region), this.#getDigest(regionKey(datanode, region)) ?? this.#sum(datanode, region)],
    ];
    const own = replicaDigest(replica);
    for (const [key, { count, digest }] of sums)
      this.#putDigest(key, { count: count + by, digest: xorDigests(digest, own) });
  }

  #sum(datanode: number, region: number): Digest {
    let sum = EMPTY;
    for (const { count, digest } of this.digests(datanode, region))
      sum = { count: sum.count + count, digest: xorDigests(sum.digest, digest) };
    return sum;
  }

  #getDigest(key: string): Digest | undefined {
    const value = this.#kv.get(key);
    return value === undefined ? undefined : decodeDigest(0, value);
  }

  #putDigest(key: string, digest: Digest): void {
    if (digest.count === 0) this.#kv.delete(key);
    else this.#kv.put(key, encodeDigest(digest));
  }

  /** Puts the block where it belongs in the queue, and writes its record. `wanted` is looked up where not given. */
  #settle(block: number, entry: ReplicasRecord, wanted = this.#use.committed(block)?.wanted ?? 0): void {
    this.#place(block, entry, wanted);
    this.#write(block, entry);
  }

  #place(block: number, entry: ReplicasRecord, wanted: number): number | undefined {
    const from = entry.queued === 0 ? undefined : entry.queued - 1;
    const to = wanted === 0 ? undefined : levelOf(assess(entry, wanted, this.#trust));
    this.#queue.move(block, from, to);
    entry.queued = to === undefined ? 0 : to + 1;
    return to;
  }

  #write(block: number, entry: ReplicasRecord): void {
    const key = replicasKey(block);
    if (entry.replicas.length === 0 && entry.queued === 0) this.#kv.delete(key);
    else this.#kv.put(key, ReplicasRecord.encode(entry).finish());
  }
}
