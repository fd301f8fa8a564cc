import { MAX_READ } from "../common/limits.js";

/** Buffers kept for the next reads: what the cache of a sequential reader turns over. */
const MAX_SPARE = 16;

/** Memory of pieces of MAX_READ bytes, used again and again: new memory costs page faults, and work for the collector. */
export class ReadBuffers {
  readonly #spare: Buffer[] = [];

  /** A buffer of `length` bytes with anything in it. */
  take(length: number): Buffer {
    return (length === MAX_READ ? this.#spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(length);
  }

  /** Gives a buffer back that nobody refers to any more. One that is part of something larger is left alone. */
  give(buffer: Buffer): void {
    const isWhole = buffer.length === MAX_READ && buffer.buffer.byteLength === MAX_READ;
    if (isWhole && this.#spare.length < MAX_SPARE) this.#spare.push(buffer);
  }
}
