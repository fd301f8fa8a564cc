import type { Clock, Timer, Timestamp } from "../../common/clock.js";
import { fromMs } from "../../common/clock.js";

interface Due {
  at: number;
  fn: () => void;
  every: number | undefined;
}

/** A clock that stands still until it is told to advance. */
export class FakeClock implements Clock {
  readonly #timers = new Set<Due>();
  #ms = 0;

  now(): number {
    return 1_700_000_000_000 + this.#ms;
  }

  monotonic(): number {
    return this.#ms;
  }

  timestamp(): Timestamp {
    return fromMs(this.now());
  }

  after(ms: number, fn: () => void): Timer {
    return this.#add({ at: this.#ms + ms, fn, every: undefined });
  }

  every(ms: number, fn: () => void): Timer {
    return this.#add({ at: this.#ms + ms, fn, every: ms });
  }

  /** Lets time pass: calls what becomes due, in order, and lets the promises that it settles run before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#ms + ms;
    await settle();
    for (let due = this.#next(end); due !== undefined; due = this.#next(end)) {
      this.#ms = Math.max(this.#ms, due.at);
      if (due.every === undefined) this.#timers.delete(due);
      else due.at += due.every;
      due.fn();
      await settle();
    }
    this.#ms = end;
  }

  /** Makes time jump without calling anything: what a process that stood still sees afterwards. */
  jump(ms: number): void {
    this.#ms += ms;
  }

  #next(end: number): Due | undefined {
    let next: Due | undefined;
    for (const due of this.#timers) if (due.at <= end && (next === undefined || due.at < next.at)) next = due;
    return next;
  }

  #add(due: Due): Timer {
    this.#timers.add(due);
    return { clear: () => this.#timers.delete(due) };
  }
}

/** Lets everything run that waits for promises only. */
export async function settle(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
}
