import { invariant } from "../common/errors.js";
import { BLOCK_RANGE } from "../common/limits.js";
import { RangeDigests, type RangeSummary, type ReplicaIdentity, rangeOf, regionOf } from "../proto/digest.js";

/** Replicas the map has room for at first; it doubles when it is full. */
const FIRST_CAPACITY = 1024;

/** A finalized replica and the number of the volume it is on. */
export interface PlacedReplica extends ReplicaIdentity {
  readonly volume: number;
}

/**
 * The finalized replicas of this datanode, one per block. Kept in columns, so that a million take some 60 MB at most, with
 * the digests of all ranges of ids, so that a full report costs no walk over them.
 */
export class ReplicaMap {
  readonly #slots = new Map<number, number>();
  readonly #free: number[] = [];
  readonly #digests = new RangeDigests();
  /** Replicas by volume. */
  readonly #counts: number[] = [];
  #generations = new Uint32Array(FIRST_CAPACITY);
  #lengths = new Uint32Array(FIRST_CAPACITY);
  #volumes = new Uint8Array(FIRST_CAPACITY);

  /** The number of replicas. */
  get size(): number {
    return this.#slots.size;
  }

  /** The replica of a block; undefined when there is none. */
  get(id: number): PlacedReplica | undefined {
    const slot = this.#slots.get(id);
    return slot === undefined ? undefined : this.#at(id, slot);
  }

  /** Adds a replica of a block that has none here. */
  add(replica: PlacedReplica): void {
    invariant(!this.#slots.has(replica.id), () => `block ${replica.id} has one replica here`);
    const slot = this.#free.pop() ?? this.#slots.size;
    if (slot === this.#generations.length) this.#grow();
    this.#slots.set(replica.id, slot);
    this.#generations[slot] = replica.generation;
    this.#lengths[slot] = replica.length;
    this.#volumes[slot] = replica.volume;
    this.#digests.add(replica);
    this.#counts[replica.volume] = this.countOn(replica.volume) + 1;
  }

  /** Takes the replica of a block out; undefined when there is none. */
  remove(id: number): PlacedReplica | undefined {
    const slot = this.#slots.get(id);
    if (slot === undefined) return undefined;
    const replica = this.#at(id, slot);
    this.#slots.delete(id);
    this.#free.push(slot);
    this.#digests.remove(replica);
    this.#counts[replica.volume]! -= 1;
    return replica;
  }

  /** The digests of all regions of ids that hold replicas, in order. */
  regions(): RangeSummary[] {
    return this.#digests.regions();
  }

  /** The digests of all ranges of a region that hold replicas, in order. */
  digests(region: number): RangeSummary[] {
    return this.#digests.within(region);
  }

  /** The replicas of a volume with ids above `after`, in order, at most `limit` of them. */
  following(volume: number, after: number, limit: number): PlacedReplica[] {
    const found: PlacedReplica[] = [];
    const first = rangeOf(after + 1);
    for (const { range: region } of this.regions()) {
      if (region < regionOf(first)) continue;
      for (const { range } of this.digests(region)) {
        if (range < first) continue;
        for (const replica of this.inRange(range))
          if (replica.id > after && replica.volume === volume && found.push(replica) >= limit) return found;
      }
    }
    return found;
  }

  /** How many replicas have ids above one. */
  countAbove(id: number): number {
    const first = rangeOf(id + 1);
    let count = 0;
    for (let next = id + 1; rangeOf(next) === first; next++) if (this.#slots.has(next)) count++;
    for (const { range: region, count: n } of this.regions()) {
      if (region > regionOf(first)) count += n;
      else if (region === regionOf(first))
        for (const summary of this.digests(region)) if (summary.range > first) count += summary.count;
    }
    return count;
  }

  /** How many replicas are on a volume. */
  countOn(volume: number): number {
    return this.#counts[volume] ?? 0;
  }

  /** All replicas whose ids are in a range (BLOCK_RANGE ids each), in order. */
  inRange(range: number): PlacedReplica[] {
    const found: PlacedReplica[] = [];
    for (let id = range * BLOCK_RANGE; id < (range + 1) * BLOCK_RANGE; id++) {
      const slot = this.#slots.get(id);
      if (slot !== undefined) found.push(this.#at(id, slot));
    }
    return found;
  }

  /** The ids of all replicas on a volume. */
  *onVolume(volume: number): Generator<number> {
    for (const [id, slot] of this.#slots) if (this.#volumes[slot] === volume) yield id;
  }

  #at(id: number, slot: number): PlacedReplica {
    return {
      id,
      generation: this.#generations[slot]!,
      length: this.#lengths[slot]!,
      volume: this.#volumes[slot]!,
    };
  }

  #grow(): void {
    const capacity = this.#generations.length * 2;
    const generations = new Uint32Array(capacity);
    const lengths = new Uint32Array(capacity);
    const volumes = new Uint8Array(capacity);
    generations.set(this.#generations);
    lengths.set(this.#lengths);
    volumes.set(this.#volumes);
    this.#generations = generations;
    this.#lengths = lengths;
    this.#volumes = volumes;
  }
}
