import { type Clock, RealClock, type Timer, type Timestamp } from "../../common/clock.js";

/** A clock that runs so many times as fast as the machine's: for tests of timeouts that take seconds. */
export class FastClock implements Clock {
  readonly #real = new RealClock();
  readonly #factor: number;

  constructor(factor: number) {
    this.#factor = factor;
  }

  now(): number {
    return this.#real.now();
  }

  monotonic(): number {
    return this.#real.monotonic() * this.#factor;
  }

  timestamp(): Timestamp {
    return this.#real.timestamp();
  }

  after(ms: number, fn: () => void): Timer {
    return this.#real.after(ms / this.#factor, fn);
  }

  every(ms: number, fn: () => void): Timer {
    return this.#real.every(ms / this.#factor, fn);
  }
}
