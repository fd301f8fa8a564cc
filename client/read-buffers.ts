import { CHUNK_SIZE, MAX_READ } from "../common/limits.js";

/** Buffers kept for the next reads, of each size: what the cache of a reader turns over. */
const MAX_SPARE = 16;

/**
 * Memory of what is read most, whole pieces by sequential readers and single chunks by others, used again and again: new memory
 * costs page faults, and work for the collector.
 */
export class ReadBuffers {
  readonly #spare = new Map<number, Buffer[]>([
    [MAX_READ, []],
    [CHUNK_SIZE, []],
  ]);

  /** A buffer of `length` bytes with anything in it. */
  take(length: number): Buffer {
    return this.#spare.get(length)?.pop() ?? Buffer.allocUnsafeSlow(length);
  }

  /** Gives a buffer back that nobody refers to any more. One that is part of something larger is left alone. */
  give(buffer: Buffer): void {
    if (buffer.buffer.byteLength !== buffer.length) return;
    const spare = this.#spare.get(buffer.length);
    if (spare !== undefined && spare.length < MAX_SPARE) spare.push(buffer);
  }
}
