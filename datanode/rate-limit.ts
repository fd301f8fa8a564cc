import type { Clock } from "../common/clock.js";
import { CairnError } from "../common/errors.js";

/** What may go at once after a pause, as seconds of the rate. */
const BURST_SECONDS = 0.1;

/** Lets so many bytes pass per second, in the order in which they come. Who waits is bounded by whoever calls. */
export class RateLimit {
  readonly #clock: Clock;
  readonly #bytesPerMs: number;
  /** When everything let through so far will have taken its time, ms. */
  #busyUntil = 0;
  readonly #waiting = new Set<() => void>();
  #closed = false;

  /** @param bytesPerSecond 0: no limit */
  constructor(bytesPerSecond: number, clock: Clock) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#clock = clock;
  }

  /** Resolves when so many bytes may go. ECANCELED: it was closed. */
  async pass(bytes: number): Promise<void> {
    if (this.#bytesPerMs > 0 && !this.#closed) {
      const now = this.#clock.monotonic();
      this.#busyUntil = Math.max(this.#busyUntil, now - BURST_SECONDS * 1000);
      const wait = this.#busyUntil - now;
      this.#busyUntil += bytes / this.#bytesPerMs;
      if (wait > 0) await this.#wait(wait);
    }
    if (this.#closed) throw new CairnError("ECANCELED", "it is shutting down");
  }

  /** Lets nothing pass any more; who waits is told. */
  close(): void {
    this.#closed = true;
    for (const wake of this.#waiting) wake();
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        timer.clear();
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = this.#clock.after(ms, wake);
      this.#waiting.add(wake);
    });
  }
}
