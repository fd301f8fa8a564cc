import type { Clock } from "../common/clock.js";

/** First and longest pause between attempts, ms. */
const PAUSE_FIRST_MS = 50;
const PAUSE_MAX_MS = 2_000;

/** Resolves after ms milliseconds. */
export function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}

/** How long something is tried again, and the growing pauses in between. */
export class Patience {
  readonly #clock: Clock;
  readonly #ends: number;
  #pause = PAUSE_FIRST_MS;

  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#ends = clock.monotonic() + ms;
  }

  /** Milliseconds left; 0 when it is over. */
  get left(): number {
    return Math.max(0, this.#ends - this.#clock.monotonic());
  }

  /** Waits before the next attempt. False, at once, when the patience is over. */
  async again(): Promise<boolean> {
    const left = this.left;
    if (left === 0) return false;
    await pause(this.#clock, Math.min(left, this.#pause));
    this.#pause = Math.min(this.#pause * 2, PAUSE_MAX_MS);
    return true;
  }
}
