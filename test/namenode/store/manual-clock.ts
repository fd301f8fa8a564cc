import type { Clock, Timer } from "../../../common/clock.js";

/** A clock that moves when it is told to. */
export class ManualClock implements Clock {
  #now = 0;
  #timers: { at: number; every?: number; fn: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  timestamp(): { sec: number; nsec: number } {
    return { sec: Math.floor(this.#now / 1000), nsec: (this.#now % 1000) * 1e6 };
  }

  after(ms: number, fn: () => void): Timer {
    return this.#add({ at: this.#now + ms, fn });
  }

  every(ms: number, fn: () => void): Timer {
    return this.#add({ at: this.#now + ms, every: ms, fn });
  }

  /** Moves on by ms milliseconds, calling what is due, in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = this.#timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#now = Math.max(this.#now, due.at);
      if (due.every === undefined) this.#timers = this.#timers.filter((t) => t !== due);
      else due.at += due.every;
      due.fn();
    }
    this.#now = end;
  }

  /** Moves on by ms milliseconds, calling nothing: the process stood still meanwhile. */
  jump(ms: number): void {
    this.#now += ms;
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#timers.length;
  }

  #add(timer: { at: number; every?: number; fn: () => void }): Timer {
    this.#timers.push(timer);
    return { clear: () => (this.#timers = this.#timers.filter((t) => t !== timer)) };
  }
}
