// The full block report by digests: how a set of replicas is reduced to one number per range of block ids, and per region
// of ranges, the same way in datanode and namenode, so that equal sets are known to be equal without naming their members.
import { invariant } from "../common/errors.js";
import { BLOCK_RANGE, MAX_BLOCKS_PAGE, REGION_RANGES } from "../common/limits.js";

/** What identifies a replica's content: block id, generation stamp and length in bytes. */
export interface ReplicaIdentity {
  readonly id: number;
  readonly generation: number;
  readonly length: number;
}

/** The digest of one range or region: how many replicas, and the xor of their digests. The shape of the wire's RangeDigest. */
export interface RangeSummary {
  /** The number of the range, or of the region. */
  range: number;
  count: number;
  digest: number;
}

const TWO_32 = 2 ** 32;
/** A digest has 32 low and 21 high bits: together the 53 that a number holds exactly. */
const HIGH_MASK = 0x1fffff;

/** One round of MurmurHash3 (x86, 32 bit): folds a word into a running hash. */
function round(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  const h = hash ^ Math.imul(k, 0x1b873593);
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

/** The finalizer of MurmurHash3: every bit of the input moves every bit of the output. */
function finish(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The digest of one replica: a whole number below 2^53, well mixed, so that digests may be combined by xor. */
export function replicaDigest({ id, generation, length }: ReplicaIdentity): number {
  const idHigh = Math.floor(id / TWO_32);
  const low = finish(round(round(round(round(0x2f6b7a91, id), idHigh), generation), length));
  const high = finish(round(round(round(round(0x5bd1e995, length), generation), idHigh), id));
  return (high & HIGH_MASK) * TWO_32 + low;
}

/** The xor of two digests (the language's ^ keeps 32 bits only). It is its own inverse: add and remove alike. */
export function xorDigests(a: number, b: number): number {
  const high = (Math.floor(a / TWO_32) ^ Math.floor(b / TWO_32)) & HIGH_MASK;
  return high * TWO_32 + ((a ^ b) >>> 0);
}

/** The range that a block id lies in. */
export function rangeOf(id: number): number {
  return Math.floor(id / BLOCK_RANGE);
}

/** The region that a range lies in. */
export function regionOf(range: number): number {
  return Math.floor(range / REGION_RANGES);
}

/** The digests of a changing set of replicas, kept up as they come and go: constant work per change. */
export class RangeDigests {
  readonly #ranges = new Map<number, RangeSummary>();
  readonly #regions = new Map<number, RangeSummary>();

  /** A replica came. It must not be in the set already. */
  add(replica: ReplicaIdentity): void {
    this.#toggle(replica, 1);
  }

  /** A replica went. It must be in the set, with this generation and length. */
  remove(replica: ReplicaIdentity): void {
    this.#toggle(replica, -1);
  }

  /** All non-empty regions in ascending order: what ReportRegions sends. */
  regions(): RangeSummary[] {
    return [...this.#regions.values()].map((s) => ({ ...s })).sort((a, b) => a.range - b.range);
  }

  /** The non-empty ranges of a region in ascending order: what ReportDigests sends. */
  within(region: number): RangeSummary[] {
    const found: RangeSummary[] = [];
    if (!this.#regions.has(region)) return found;
    for (let range = region * REGION_RANGES; range < (region + 1) * REGION_RANGES; range++) {
      const summary = this.#ranges.get(range);
      if (summary !== undefined) found.push({ ...summary });
    }
    return found;
  }

  #toggle(replica: ReplicaIdentity, by: 1 | -1): void {
    const range = rangeOf(replica.id);
    const digest = replicaDigest(replica);
    add(this.#ranges, range, by, digest);
    add(this.#regions, regionOf(range), by, digest);
  }
}

function add(summaries: Map<number, RangeSummary>, range: number, by: 1 | -1, digest: number): void {
  const summary = summaries.get(range) ?? { range, count: 0, digest: 0 };
  summary.count += by;
  summary.digest = xorDigests(summary.digest, digest);
  invariant(summary.count >= 0, () => `range or region ${range} holds a negative number of replicas`);
  if (summary.count === 0) {
    invariant(summary.digest === 0, () => `range or region ${range} is empty but its digest is not zero`);
    summaries.delete(range);
  } else summaries.set(range, summary);
}

/** The regions of a full report (in ascending order, see RangeDigests.regions) cut into the messages that carry them. */
export function* regionPages(
  regions: readonly RangeSummary[],
): Generator<{ regions: readonly RangeSummary[]; from: number; until: number }> {
  let from = 0;
  for (let at = 0; at === 0 || at < regions.length; at += MAX_BLOCKS_PAGE) {
    const until = regions[at + MAX_BLOCKS_PAGE]?.range ?? 0;
    yield { regions: regions.slice(at, at + MAX_BLOCKS_PAGE), from, until };
    from = until;
  }
}
