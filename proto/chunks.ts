import { crc32 } from "@node-rs/crc32";
import lz4 from "lz4";
import { CairnError } from "../common/errors.js";
import { CHUNK_SIZE, MAX_CHUNKS } from "../common/limits.js";
import { type Chunk, Compression } from "./gen/types.js";

// The block format: a block is a sequence of chunks of at most CHUNK_SIZE bytes, each stored raw or, where that saves at
// least an eighth, as an LZ4 block. The same bytes cross the wire and lie on the disk; a CRC-32 of them goes beside.

/** What a compressed chunk may take at most, as a share of its length: it has to save an eighth. */
const LZ4_WORTH = 7 / 8;
/** Where chunks are compressed and decompressed in passing. Used within one synchronous call only. */
const scratch = Buffer.allocUnsafeSlow(CHUNK_SIZE);

/** Data cut into chunks: their descriptions, and their stored bytes one after the other. */
export interface EncodedChunks {
  chunks: Chunk[];
  body: Buffer;
}

/**
 * Cuts data into chunks and computes their checksums, compressing those that shrink where LZ4 is asked for. The body is
 * `data` itself (not a copy) when no chunk was compressed.
 */
export function encodeChunks(data: Buffer, compression: Compression): EncodedChunks {
  const chunks: Chunk[] = [];
  let packed: Buffer | undefined;
  let end = 0;
  for (let at = 0; at < data.length; at += CHUNK_SIZE) {
    const raw = data.subarray(at, at + CHUNK_SIZE);
    const shrunk = compression === Compression.LZ4 ? lz4.encodeBlock(raw, scratch, 0, shrinkTo(raw.length)) : 0;
    const stored = shrunk > 0 ? scratch.subarray(0, shrunk) : raw;
    if (packed === undefined && shrunk > 0) {
      packed = Buffer.allocUnsafe(data.length);
      packed.set(data.subarray(0, at));
    }
    packed?.set(stored, end);
    end += stored.length;
    chunks.push({ length: raw.length, stored: stored.length, crc: crc32(stored) });
  }
  return { chunks, body: packed?.subarray(0, end) ?? data };
}

/** The most bytes a compressed chunk may take: always fewer than its length, so that the two kinds are told apart. */
function shrinkTo(length: number): number {
  return Math.floor(length * LZ4_WORTH);
}

/** Uncompressed bytes in a row of chunks. */
export function lengthOf(chunks: readonly Chunk[]): number {
  let sum = 0;
  for (const { length } of chunks) sum += length;
  return sum;
}

/** Checks received chunks. EPROTO: they cannot be (a length out of bounds, a body that is longer or shorter than they say). */
export function checkShape(chunks: readonly Chunk[], body: Buffer): void {
  if (chunks.length > MAX_CHUNKS) throw new CairnError("EPROTO", `${chunks.length} chunks in one message`);
  let sum = 0;
  for (const { length, stored } of chunks) {
    if (length < 1 || length > CHUNK_SIZE || stored < 1 || stored > length) {
      throw new CairnError("EPROTO", `a chunk of ${length} bytes stored in ${stored}`);
    }
    sum += stored;
  }
  if (sum !== body.length) throw new CairnError("EPROTO", `chunks of ${sum} bytes in a body of ${body.length}`);
}

/** Checks received chunks and their checksums. EPROTO as checkShape; EBADMSG names the first chunk that does not match. */
export function checkChunks(chunks: readonly Chunk[], body: Buffer): void {
  checkShape(chunks, body);
  let at = 0;
  for (let i = 0; i < chunks.length; i++) {
    const { stored, crc } = chunks[i]!;
    const found = crc32(body.subarray(at, at + stored));
    if (found !== crc) {
      throw new CairnError(
        "EBADMSG",
        `chunk ${i} of ${chunks.length}: checksum ${hex(found)} where ${hex(crc)} was promised`,
      );
    }
    at += stored;
  }
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, "0");
}

/**
 * Copies the bytes [from, to) of a block, as far as they lie in these (checked) chunks, into target, decompressing no
 * chunk that is not touched.
 * @param offset where the first chunk starts in the block
 * @param at where byte `from` of the block goes in target
 * @returns the number of bytes copied. They go where they belong: at + (their offset in the block - from).
 * @throws EBADMSG when a chunk does not decompress to its length; RangeError when target is too short
 */
export function decodeChunks(
  chunks: readonly Chunk[],
  body: Buffer,
  offset: number,
  from: number,
  to: number,
  target: Buffer,
  at: number,
): number {
  let copied = 0;
  let start = offset;
  let pos = 0;
  for (const { length, stored } of chunks) {
    if (start >= to) break;
    const low = Math.max(from, start);
    const high = Math.min(to, start + length);
    if (low < high) {
      const into = at + low - from;
      if (into + high - low > target.length) throw new RangeError(`no room for ${high - low} bytes at ${into}`);
      if (stored === length) {
        body.copy(target, into, pos + low - start, pos + high - start);
      } else if (high - low === length) {
        inflate(body, pos, stored, target.subarray(into, into + length));
      } else {
        inflate(body, pos, stored, scratch.subarray(0, length));
        scratch.copy(target, into, low - start, high - start);
      }
      copied += high - low;
    }
    start += length;
    pos += stored;
  }
  return copied;
}

function inflate(body: Buffer, at: number, stored: number, into: Buffer): void {
  const length = lz4.decodeBlock(body, into, at, at + stored);
  if (length !== into.length) {
    throw new CairnError("EBADMSG", `a chunk of ${stored} bytes does not decompress to ${into.length} (${length})`);
  }
}
