import { CairnError } from "../common/errors.js";
import { CHUNK_SIZE, MAX_BLOCK_CHUNKS, MAX_BLOCK_SIZE } from "../common/limits.js";
import type { Chunk } from "./gen/types.js";

/** Bytes of one chunk in an encoded table: u16 length - 1, u16 stored - 1, u32 CRC-32 (little endian). */
export const CHUNK_ENTRY = 8;
/** Chunks a new table has room for; it doubles when it is full. */
const FIRST_CAPACITY = 16;

/** A run of whole chunks of a block. */
export interface ChunkRun {
  /** Where the first chunk starts in the block, bytes. */
  readonly offset: number;
  /** Where its stored bytes start, and where those of the last chunk end, in the block's file. */
  readonly storedFrom: number;
  readonly storedTo: number;
  readonly chunks: Chunk[];
}

/** The chunks of one block: where each lies, uncompressed and stored, and its checksum. 12 bytes of memory a chunk. */
export class ChunkTable {
  #count = 0;
  #ends = new Uint32Array(FIRST_CAPACITY);
  #storedEnds = new Uint32Array(FIRST_CAPACITY);
  #crcs = new Uint32Array(FIRST_CAPACITY);

  /** The number of chunks. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the block, uncompressed. */
  get length(): number {
    return this.#end(this.#count - 1);
  }

  /** Bytes of the block as stored. */
  get storedLength(): number {
    return this.#storedEnd(this.#count - 1);
  }

  /**
   * Adds chunks at the end. EPROTO when the block would be too long, or in too many chunks: nothing has been added then.
   * @param chunks of a shape that checkShape has accepted
   */
  append(chunks: readonly Chunk[]): void {
    const count = this.#count + chunks.length;
    let end = this.length;
    for (const { length } of chunks) end += length;
    if (count > MAX_BLOCK_CHUNKS) throw new CairnError("EPROTO", `a block of more than ${MAX_BLOCK_CHUNKS} chunks`);
    if (end > MAX_BLOCK_SIZE) throw new CairnError("EPROTO", `a block of more than ${MAX_BLOCK_SIZE} bytes`);
    this.#makeRoom(count);
    let at = this.length;
    let storedAt = this.storedLength;
    for (const { length, stored, crc } of chunks) {
      const i = this.#count++;
      this.#ends[i] = at += length;
      this.#storedEnds[i] = storedAt += stored;
      this.#crcs[i] = crc;
    }
  }

  /** Drops the chunks after the first `length` bytes (uncompressed). EINVAL unless a chunk ends there. */
  truncate(length: number): void {
    const count = length === 0 ? 0 : this.find(length - 1) + 1;
    if (this.#end(count - 1) !== length) {
      throw new CairnError("EINVAL", `no chunk ends at ${length} of a block of ${this.length} bytes`);
    }
    this.#count = count;
  }

  /** The index of the chunk that holds byte `offset`; `count` when the block is shorter. */
  find(offset: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ends[middle]! > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The description of chunk i. */
  chunk(i: number): Chunk {
    return {
      length: this.#end(i) - this.#end(i - 1),
      stored: this.#storedEnd(i) - this.#storedEnd(i - 1),
      crc: this.#crcs[i]!,
    };
  }

  /** Where chunk i starts in the block, bytes (uncompressed). */
  startOf(i: number): number {
    return this.#end(i - 1);
  }

  /**
   * The whole chunks that cover [from, to), from the chunk of byte `from` on, at most maxChunks of them; to may be
   * beyond the end of the block. Empty when from is.
   */
  run(from: number, to: number, maxChunks: number): ChunkRun {
    const first = this.find(from);
    const last = Math.min(this.find(to - 1) + 1, this.#count, first + maxChunks);
    const chunks: Chunk[] = [];
    for (let i = first; i < last; i++) chunks.push(this.chunk(i));
    return {
      offset: this.#end(first - 1),
      storedFrom: this.#storedEnd(first - 1),
      storedTo: this.#storedEnd(Math.max(first, last) - 1),
      chunks,
    };
  }

  /** Writes the table into target at `at`; it takes count * CHUNK_ENTRY bytes. */
  encodeInto(target: Buffer, at: number): void {
    let pos = at;
    for (let i = 0; i < this.#count; i++) {
      const { length, stored, crc } = this.chunk(i);
      target.writeUInt16LE(length - 1, pos);
      target.writeUInt16LE(stored - 1, pos + 2);
      target.writeUInt32LE(crc, pos + 4);
      pos += CHUNK_ENTRY;
    }
  }

  /** Reads an encoded table. EBADMSG when it is none. */
  static decode(bytes: Buffer): ChunkTable {
    const count = bytes.length / CHUNK_ENTRY;
    if (!Number.isInteger(count) || count > MAX_BLOCK_CHUNKS) {
      throw new CairnError("EBADMSG", `a chunk table of ${bytes.length} bytes`);
    }
    const table = new ChunkTable();
    table.#makeRoom(count);
    let at = 0;
    let storedAt = 0;
    for (let i = 0; i < count; i++) {
      const pos = i * CHUNK_ENTRY;
      const length = bytes.readUInt16LE(pos) + 1;
      const stored = bytes.readUInt16LE(pos + 2) + 1;
      if (length > CHUNK_SIZE || stored > length) {
        throw new CairnError("EBADMSG", `chunk ${i} of a chunk table says ${length} bytes stored in ${stored}`);
      }
      table.#ends[i] = at += length;
      table.#storedEnds[i] = storedAt += stored;
      table.#crcs[i] = bytes.readUInt32LE(pos + 4);
    }
    table.#count = count;
    if (at > MAX_BLOCK_SIZE) throw new CairnError("EBADMSG", `a chunk table of ${at} bytes of data`);
    return table;
  }

  #end(i: number): number {
    return i < 0 ? 0 : this.#ends[i]!;
  }

  #storedEnd(i: number): number {
    return i < 0 ? 0 : this.#storedEnds[i]!;
  }

  #makeRoom(count: number): void {
    if (count <= this.#ends.length) return;
    const capacity = Math.min(MAX_BLOCK_CHUNKS, Math.max(count, this.#ends.length * 2));
    this.#ends = grown(this.#ends, capacity);
    this.#storedEnds = grown(this.#storedEnds, capacity);
    this.#crcs = grown(this.#crcs, capacity);
  }
}

function grown(old: Uint32Array<ArrayBuffer>, capacity: number): Uint32Array<ArrayBuffer> {
  const bigger = new Uint32Array(capacity);
  bigger.set(old);
  return bigger;
}
