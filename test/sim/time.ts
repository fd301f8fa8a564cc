import type { Clock, Timer, Timestamp } from "../../common/clock.js";

interface Event {
  readonly at: number;
  readonly order: number;
  fn: (() => void) | undefined;
}

/** Milliseconds since 1970 when a simulation begins. */
export const EPOCH_MS = 1_700_000_000_000;

/** The shortest time that anybody waits who waits at all, ms: less may be lost in the rounding, and never pass. */
const TICK_MS = 0.001;

/** Virtual time: what is to happen, in order. Nothing happens but from here, one event after the other. */
export class Time {
  readonly #heap: Event[] = [];
  #now = 0;
  #order = 0;
  /** Events so far. */
  happened = 0;

  /** Milliseconds since the simulation began. */
  get now(): number {
    return this.#now;
  }

  /** Has something happen. Returns what takes it back. */
  after(ms: number, fn: () => void): Timer {
    const event: Event = { at: this.#now + (ms > 0 ? Math.max(TICK_MS, ms) : 0), order: this.#order++, fn };
    this.#push(event);
    return {
      clear: () => {
        event.fn = undefined;
      },
    };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Lets time pass until `done` says so. False when it has not by `limitMs`, or nothing is left to happen. */
  async until(done: () => boolean, limitMs: number): Promise<boolean> {
    const end = this.#now + limitMs;
    await settled();
    while (!done()) {
      const event = this.#pop();
      if (event === undefined || event.at > end) {
        if (event !== undefined) this.#push(event);
        this.#now = end;
        return done();
      }
      if (event.fn === undefined) continue;
      this.#now = event.at;
      this.happened++;
      event.fn();
      await settled();
    }
    return true;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(event);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return first;
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Resolves when everything has run that waits for promises only. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Whether what a process had under way still matters. */
export interface Life {
  readonly alive: boolean;
  /** Milliseconds that its machine's clock is set wrong. */
  readonly wallOffset: number;
  /** Runs something now, or when the process goes on again; never when it has died. */
  run(fn: () => void): void;
}

/** The clock of one process: its timers die with it, and stand still while it does. */
export class ProcessClock implements Clock {
  readonly #time: Time;
  readonly #life: Life;
  #last = 0;

  constructor(time: Time, life: Life) {
    this.#time = time;
    this.#life = life;
  }

  now(): number {
    return EPOCH_MS + this.#life.wallOffset + Math.floor(this.#time.now);
  }

  monotonic(): number {
    return this.#time.now;
  }

  timestamp(): Timestamp {
    // Nanoseconds within the simulation fit a safe integer for months.
    let ns = Math.floor((this.#time.now + this.#life.wallOffset) * 1e6);
    if (ns <= this.#last && this.#last - ns < 1_000_000) ns = this.#last + 1;
    this.#last = ns;
    const sec = Math.floor(ns / 1e9);
    return { sec: EPOCH_MS / 1000 + sec, nsec: ns - sec * 1e9 };
  }

  after(ms: number, fn: () => void): Timer {
    let cleared = false;
    const timer = this.#time.after(ms, () => {
      if (!cleared) this.#life.run(() => !cleared && fn());
    });
    return {
      clear: () => {
        cleared = true;
        timer.clear();
      },
    };
  }

  every(ms: number, fn: () => void): Timer {
    let timer: Timer;
    let cleared = false;
    const next = () => {
      timer = this.after(ms, () => {
        fn();
        if (!cleared && this.#life.alive) next();
      });
    };
    next();
    return {
      clear: () => {
        cleared = true;
        timer.clear();
      },
    };
  }
}
