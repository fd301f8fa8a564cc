// The keys under which blocks/ keeps its hints in the store, and their fixed-size values. Hints are written beside the
// edits, not by them: they are lost or kept together with the edits of the same flush, and confirmed by reports.
//
//   L block            → ReplicasRecord       the replicas of a block
//   N datanode block   → generation, length   the blocks of a datanode
//   G datanode range   → count, digest        what a datanode's full report is compared with
//   G 0xff datanode region → count, digest    the sums of that (datanode numbers stay below 0xff000000)
//   U level block      → nothing              blocks with something to repair: the key range is the queue
//   U 0xff             → counters             of the above, so that nobody needs to scan
import type { RangeSummary } from "../../proto/digest.js";
import { readU64, u32, u64 } from "../namespace/keys.js";
import type { Key } from "../store/kv.js";

const TWO_32 = 2 ** 32;

/** Where a block's replicas are kept. */
export const replicasKey = (block: number): Key => `L${u64(block)}`;
/** Where a datanode's replica of a block is kept; in the order of block ids. */
export const storedKey = (datanode: number, block: number): Key => `N${u32(datanode)}${u64(block)}`;
/** The block in a storedKey. */
export const blockOfStored = (key: Key): number => readU64(key, 5);
/** Where the digest of a range of a datanode's replicas is kept; in the order of ranges. */
export const digestKey = (datanode: number, range: number): Key => `G${u32(datanode)}${u64(range)}`;
/** The range in a digestKey. */
export const rangeOfDigest = (key: Key): number => readU64(key, 5);
/** Where the digest of a region of a datanode's replicas is kept; in the order of regions. */
export const regionKey = (datanode: number, region: number): Key => `G\xff${u32(datanode)}${u64(region)}`;
/** The region in a regionKey. */
export const regionOfKey = (key: Key): number => readU64(key, 6);
/** The place of a block in the repair queue; in the order of levels, then block ids. */
export const queueKey = (level: number, block: number): Key => `U${String.fromCharCode(level)}${u64(block)}`;
/** The block in a queueKey. */
export const blockOfQueue = (key: Key): number => readU64(key, 2);
/** Where the counters of the hints are kept: behind the queue. */
export const COUNTERS_KEY: Key = "U\xff";

/** A replica as a datanode has it. */
export interface Stored {
  generation: number;
  /** bytes */
  length: number;
}

/** Encodes the value of a storedKey. */
export function encodeStored({ generation, length }: Stored): Uint8Array {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeUInt32BE(generation, 0);
  bytes.writeUInt32BE(length, 4);
  return bytes;
}

/** Decodes the value of a storedKey. */
export function decodeStored(value: Uint8Array): Stored {
  return { generation: readU32(value, 0), length: readU32(value, 4) };
}

/** Encodes the value of a digestKey. */
export function encodeDigest({ count, digest }: Omit<RangeSummary, "range">): Uint8Array {
  const bytes = Buffer.allocUnsafe(12);
  bytes.writeUInt32BE(count, 0);
  bytes.writeUInt32BE(Math.floor(digest / TWO_32), 4);
  bytes.writeUInt32BE(digest >>> 0, 8);
  return bytes;
}

/** Decodes the value of a digestKey. */
export function decodeDigest(range: number, value: Uint8Array): RangeSummary {
  return { range, count: readU32(value, 0), digest: readU32(value, 4) * TWO_32 + readU32(value, 8) };
}

function readU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
