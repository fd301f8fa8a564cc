import type { Clock, Timer } from "../common/clock.js";
import { CairnError, invariant } from "../common/errors.js";

/** Requests that may wait for a budget at once. */
const MAX_WAITING = 4096;

interface Waiter {
  readonly least: number;
  readonly most: number;
  readonly grant: (bytes: number) => void;
  readonly timer: Timer;
}

/** A number of bytes of memory, shared out to those who ask first. Who finds too little waits, for so long. */
export class ByteBudget {
  readonly limit: number;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #waiting = new Set<Waiter>();
  #free: number;

  /** @param name what the bytes are for, for messages */
  constructor(name: string, limit: number, clock: Clock) {
    this.#name = name;
    this.limit = limit;
    this.#free = limit;
    this.#clock = clock;
  }

  /** Bytes that are given out. */
  get used(): number {
    return this.limit - this.#free;
  }

  /**
   * Resolves to a number of bytes between least and most that the caller has until it gives them back: a quarter of
   * what is free, so that the first do not take everything. EBUSY when there are not even `least` for deadlineMs.
   */
  take(least: number, most: number, deadlineMs: number): Promise<number> {
    const low = Math.min(least, this.limit);
    const high = Math.max(low, most);
    if (this.#waiting.size === 0 && low <= this.#free) return Promise.resolve(this.#grant(low, high));
    return new Promise((grant, reject) => {
      const busy = (why: string) => reject(new CairnError("EBUSY", `no memory for ${this.#name}: ${why}`));
      if (this.#waiting.size >= MAX_WAITING) return busy(`${MAX_WAITING} requests wait already`);
      const timer = this.#clock.after(deadlineMs, () => {
        this.#waiting.delete(waiter);
        busy(`none became free within ${deadlineMs} ms`);
      });
      const waiter = { least: low, most: high, grant, timer };
      this.#waiting.add(waiter);
    });
  }

  /** Gives bytes back. */
  give(bytes: number): void {
    this.#free += bytes;
    invariant(this.#free <= this.limit, () => `no more bytes are given back for ${this.#name} than were taken`);
    for (const waiter of this.#waiting) {
      if (waiter.least > this.#free) return;
      this.#waiting.delete(waiter);
      waiter.timer.clear();
      waiter.grant(this.#grant(waiter.least, waiter.most));
    }
  }

  #grant(least: number, most: number): number {
    const bytes = Math.max(least, Math.min(most, Math.floor(this.#free / 4)));
    this.#free -= bytes;
    return bytes;
  }
}
