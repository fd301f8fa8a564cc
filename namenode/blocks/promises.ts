/** A promise that no commit kept goes after this long: by then the datanode itself reports the space as taken. */
const PROMISE_MS = 60_000;
/** Promises remembered per datanode; further ones are not counted. */
const MAX_PROMISES = 4096;

/**
 * The room on one datanode that was promised to writers which its heartbeats do not show yet, so that a burst of
 * allocations between two heartbeats spreads instead of overfilling one.
 */
export class Promises {
  readonly #made: { bytes: number; until: number }[] = [];
  #bytes = 0;

  /** A writer was sent here with a block of this size. `now`: monotonic ms. */
  make(bytes: number, now: number): void {
    if (this.#made.length >= MAX_PROMISES) return;
    this.#made.push({ bytes, until: now + PROMISE_MS });
    this.#bytes += bytes;
  }

  /** A block was committed with a replica here: the oldest promise is kept. (Which one it was does not matter.) */
  keep(): void {
    const oldest = this.#made.shift();
    if (oldest !== undefined) this.#bytes -= oldest.bytes;
  }

  /**
   * Bytes promised that the datanode's own figures do not show. `writers`: the write streams it reported; the space of
   * those is already taken off its free space.
   */
  unseen(writers: number, now: number): number {
    while (this.#made.length > 0 && this.#made[0]!.until <= now) this.keep();
    const count = this.#made.length;
    return count === 0 ? 0 : (this.#bytes * Math.max(0, count - writers)) / count;
  }
}
