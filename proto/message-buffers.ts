import { KIB, MAX_PACKET } from "../common/limits.js";

/** What a buffer that is used again holds, bytes: a packet with its header and envelope. */
const BUFFER_BYTES = MAX_PACKET + 64 * KIB;
/** Messages shorter than this get memory of their own size, bytes: what waits is counted by its length, and must not hold much more. */
const SHORTEST = MAX_PACKET / 2;
/** Buffers that wait to be used again, at most. */
const MAX_SPARE = 16;

/**
 * The memory of large messages. Fresh memory costs page faults, and a garbage collector to find out that it is free: whoever knows that nobody
 * looks at a message any more may give its memory back, for another message. What nobody gives back is collected as usual.
 */
export class MessageBuffers {
  readonly #spare: Buffer[] = [];
  readonly #lent = new WeakSet<ArrayBufferLike>();

  /** Memory for a message of so many bytes, with anything in it. */
  take(length: number): Buffer {
    if (length < SHORTEST || length > BUFFER_BYTES) return Buffer.allocUnsafeSlow(length);
    const buffer = this.#spare.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
    this.#lent.add(buffer.buffer);
    return buffer.subarray(0, length);
  }

  /** Takes back the memory of a message, or of a part of it. No-op for what does not come from here, or was given back already. */
  giveBack(message: Buffer): void {
    if (!this.#lent.delete(message.buffer) || this.#spare.length >= MAX_SPARE) return;
    this.#spare.push(Buffer.from(message.buffer));
  }
}
