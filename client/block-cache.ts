import { CHUNK_SIZE } from "../common/limits.js";
import type { ReadBuffers } from "./read-buffers.js";

/** Bytes [from, to) of a block, read or being read. */
export interface Segment {
  readonly block: number;
  readonly from: number;
  readonly to: number;
  /** Undefined until they are there. */
  data: Buffer | undefined;
  /** Rejects when they could not be read; the segment is out of the cache then. Undefined when they were there at once. */
  readonly ready: Promise<Buffer> | undefined;
  /** How many are copying from it. */
  uses: number;
  /** Out of the cache: its memory goes with the last use. */
  forgotten: boolean;
}

/**
 * Bytes of blocks, the least recently used forgotten first. Blocks never change, so what is here is right for ever. Found
 * by pages of CHUNK_SIZE; a segment covers one or more of them, from a page's start to anywhere.
 */
export class BlockCache {
  readonly #limit: number;
  readonly #buffers: ReadBuffers;
  readonly #pages = new Map<number, Map<number, Segment>>();
  readonly #segments = new Set<Segment>();
  #bytes = 0;
  #loading = 0;
  #loads = 0;

  /**
   * @param limit bytes kept; what is being read at the moment may go beyond
   * @param buffers where the memory of what is forgotten goes
   */
  constructor(limit: number, buffers: ReadBuffers) {
    this.#limit = limit;
    this.#buffers = buffers;
  }

  /** Bytes kept or being read. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes being read. */
  get loading(): number {
    return this.#loading;
  }

  /** Segments being read. */
  get loads(): number {
    return this.#loads;
  }

  /** The segment that has byte `at` of a block. */
  find(block: number, at: number): Segment | undefined {
    const segment = this.#pages.get(block)?.get(Math.floor(at / CHUNK_SIZE));
    if (segment === undefined || at >= segment.to) return undefined;
    this.#segments.delete(segment);
    this.#segments.add(segment);
    return segment;
  }

  /** Whether byte `at` of a block is here or on its way. */
  has(block: number, at: number): boolean {
    const segment = this.#pages.get(block)?.get(Math.floor(at / CHUNK_SIZE));
    return segment !== undefined && at < segment.to;
  }

  /** Adds a segment that has been read, or is being read; `from` is a page's start. */
  add(block: number, from: number, to: number, content: Buffer | Promise<Buffer>): Segment {
    const [data, ready] = Buffer.isBuffer(content) ? [content, undefined] : [undefined, content];
    const segment: Segment = { block, from, to, data, ready, uses: 0, forgotten: false };
    let pages = this.#pages.get(block);
    if (pages === undefined) {
      pages = new Map();
      this.#pages.set(block, pages);
    }
    for (let page = from / CHUNK_SIZE; page * CHUNK_SIZE < to; page++) pages.set(page, segment);
    this.#segments.add(segment);
    this.#bytes += to - from;
    if (ready === undefined) this.#shrink(segment);
    else this.#load(segment, ready);
    return segment;
  }

  #load(segment: Segment, ready: Promise<Buffer>): void {
    this.#loading += segment.to - segment.from;
    this.#loads++;
    ready.then(
      (data) => {
        this.#loaded(segment);
        segment.data = data;
        this.#shrink(undefined);
      },
      () => {
        this.#loaded(segment);
        this.#remove(segment);
      },
    );
  }

  /** Keeps a segment's memory from being used for something else until release(). */
  hold(segment: Segment): void {
    segment.uses++;
  }

  release(segment: Segment): void {
    segment.uses--;
    this.#recycle(segment);
  }

  #recycle(segment: Segment): void {
    if (!segment.forgotten || segment.uses > 0 || segment.data === undefined) return;
    this.#buffers.give(segment.data);
    segment.data = undefined;
  }

  #loaded({ from, to }: Segment): void {
    this.#loading -= to - from;
    this.#loads--;
  }

  /** @param wanted the segment that somebody is about to hold */
  #shrink(wanted: Segment | undefined): void {
    for (const segment of this.#segments) {
      if (this.#bytes <= this.#limit) return;
      if (segment.data !== undefined && segment !== wanted) this.#remove(segment);
    }
  }

  #remove(segment: Segment): void {
    if (!this.#segments.delete(segment)) return;
    this.#bytes -= segment.to - segment.from;
    const pages = this.#pages.get(segment.block)!;
    for (let page = segment.from / CHUNK_SIZE; page * CHUNK_SIZE < segment.to; page++) {
      if (pages.get(page) === segment) pages.delete(page);
    }
    if (pages.size === 0) this.#pages.delete(segment.block);
    segment.forgotten = true;
    this.#recycle(segment);
  }
}
