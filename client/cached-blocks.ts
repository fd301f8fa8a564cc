import { CHUNK_SIZE, MAX_READ, MIB } from "../common/limits.js";
import type { BlockCache, Segment } from "./block-cache.js";
import type { BlockReader, Located } from "./block-reader.js";
import { WINDOW_MAX } from "./read-ahead.js";

/** Bytes, and pieces, being read at once by all readers of a client, above which nothing is read ahead. */
const MAX_LOADING = 32 * MIB;
const MAX_LOADS = 48;

/** A block to read from. */
export interface BlockSource {
  readonly id: number;
  /** Bytes that can be read. */
  readonly length: number;
  /** The block and where it is now. */
  located(): Located;
}

/** Blocks read through the cache. */
export class CachedBlocks {
  readonly #reader: BlockReader;
  readonly #cache: BlockCache;

  constructor(reader: BlockReader, cache: BlockCache) {
    this.#reader = reader;
    this.#cache = cache;
  }

  /** Whether so much is being read already that nothing should be read ahead. */
  get isBusy(): boolean {
    return this.#cache.loading >= MAX_LOADING || this.#cache.loads >= MAX_LOADS;
  }

  /**
   * Copies bytes [from, to) of a block into target at `into`. UnreadableError.
   * @param wide whether what follows will be wanted too, so that it is read in large pieces
   */
  async copy(
    source: BlockSource,
    from: number,
    to: number,
    target: Buffer,
    into: number,
    wide: boolean,
  ): Promise<void> {
    const segments: Segment[] = [];
    try {
      for (let at = from; at < to; ) {
        const pages = this.#readNow(source, at, to, target, into + at - from);
        at += pages;
        if (pages > 0) continue;
        const segment = this.#cache.find(source.id, at) ?? this.#load(source, at, wide ? source.length : to);
        this.#cache.hold(segment);
        segments.push(segment);
        at = segment.to;
      }
      for (const segment of segments) {
        const data = segment.data ?? (await segment.ready!);
        const low = Math.max(from, segment.from);
        const high = Math.min(to, segment.to);
        data.copy(target, into + low - from, low - segment.from, high - segment.from);
      }
    } finally {
      for (const segment of segments) this.#cache.release(segment);
    }
  }

  /** Keeps the bytes of a whole block of at most CHUNK_SIZE that came along with something else. They are copied. */
  keep(block: number, data: Buffer): void {
    if (!this.#cache.has(block, 0)) this.#cache.add(block, 0, data.length, Buffer.from(data));
  }

  /** Opens a block that will be read soon. One that is smaller than what is read ahead anyway is opened by that. */
  open(source: BlockSource): void {
    if (source.length > WINDOW_MAX) this.#reader.open(source.located());
  }

  /** Starts to read the piece around byte `at` unless it is here, or can be had at any time; returns where the piece ends. */
  prefetch(source: BlockSource, at: number): number {
    if (this.#reader.isPrompt(source.located())) return source.length;
    if (this.#cache.has(source.id, at)) return Math.min(source.length, (Math.floor(at / CHUNK_SIZE) + 1) * CHUNK_SIZE);
    return this.#load(source, at, source.length).to;
  }

  /**
   * Reads whole pages from byte `at` on, up to `to` or the next one that is here, straight to where they are wanted, if that is
   * possible at once. Returns the bytes read.
   */
  #readNow(source: BlockSource, at: number, to: number, target: Buffer, into: number): number {
    if (at % CHUNK_SIZE !== 0) return 0;
    const most = to === source.length ? to : to - (to % CHUNK_SIZE);
    let end = at;
    while (end < most && !this.#cache.has(source.id, end)) end = Math.min(most, end + CHUNK_SIZE);
    if (end === at || !this.#reader.readNow(source.located(), at, target.subarray(into, into + end - at))) return 0;
    return end - at;
  }

  /** Reads from the page of byte `at` on: whole pages, up to `to`, the next one that is here, or a multiple of MAX_READ. */
  #load(source: BlockSource, at: number, to: number): Segment {
    const from = at - (at % CHUNK_SIZE);
    const most = Math.min(to, from - (from % MAX_READ) + MAX_READ);
    let end = from + CHUNK_SIZE;
    while (end < most && !this.#cache.has(source.id, end)) end += CHUNK_SIZE;
    end = Math.min(end, source.length);
    const located = source.located();
    const data = this.#reader.takeNow(located, from, end) ?? this.#reader.read(located, from, end);
    return this.#cache.add(source.id, from, end, data);
  }
}
