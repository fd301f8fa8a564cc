import type { Clock } from "../common/clock.js";

/** What may go at once after a pause, as seconds of the rate. */
const BURST_SECONDS = 0.1;

/** Lets so many bytes pass per second, in the order in which they come. Who waits is bounded by whoever calls. */
export class RateLimit {
  readonly #clock: Clock;
  readonly #bytesPerMs: number;
  /** When everything let through so far will have taken its time, ms. */
  #busyUntil = 0;

  /** @param bytesPerSecond 0: no limit */
  constructor(bytesPerSecond: number, clock: Clock) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#clock = clock;
  }

  /** Resolves when so many bytes may go. */
  async pass(bytes: number): Promise<void> {
    if (this.#bytesPerMs === 0) return;
    const now = this.#clock.monotonic();
    this.#busyUntil = Math.max(this.#busyUntil, now - BURST_SECONDS * 1000);
    const wait = this.#busyUntil - now;
    this.#busyUntil += bytes / this.#bytesPerMs;
    if (wait > 0) await new Promise<void>((resolve) => this.#clock.after(wait, resolve));
  }
}
