/** A moment: seconds since 1970 and nanoseconds within the second. The shape of the wire's Time. */
export interface Timestamp {
  sec: number;
  nsec: number;
}

/** What a timer function returns; clear() may be called any number of times. */
export interface Timer {
  clear(): void;
}

/** Time, handed to everything that needs it, so that a test or the simulator can own it. */
export interface Clock {
  /** Milliseconds since 1970. May jump when the machine's clock is set: for people and file times only. */
  now(): number;
  /** Milliseconds since some start; never goes back. For timeouts, leases and liveness. */
  monotonic(): number;
  /** The wall clock as file times have it: it follows a clock that is set back, and otherwise never gives the same twice. */
  timestamp(): Timestamp;
  /** Calls fn once after ms milliseconds. Keeps the process alive until then: clear it when it is not needed. */
  after(ms: number, fn: () => void): Timer;
  /** Calls fn every ms milliseconds. Does not keep the process alive. */
  every(ms: number, fn: () => void): Timer;
}

/** The machine's clock. */
export class RealClock implements Clock {
  #last: Timestamp = { sec: 0, nsec: 0 };

  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return performance.now();
  }

  timestamp(): Timestamp {
    // Date.now() has ms; the fraction of performance's clock adds µs. Set clocks are followed, ties are broken by 1 ns.
    const wall = Date.now();
    const fine = performance.timeOrigin + performance.now();
    const ms = Math.abs(fine - wall) < 2 ? fine : wall;
    let sec = Math.floor(ms / 1000);
    let nsec = Math.floor((ms - sec * 1000) * 1000) * 1000;
    const last = this.#last;
    const ahead = (last.sec - sec) * 1e9 + last.nsec - nsec;
    if (ahead >= 0 && ahead < 1e6) {
      sec = last.nsec === 999_999_999 ? last.sec + 1 : last.sec;
      nsec = last.nsec === 999_999_999 ? 0 : last.nsec + 1;
    }
    this.#last = { sec, nsec };
    return { sec, nsec };
  }

  after(ms: number, fn: () => void): Timer {
    const t = setTimeout(fn, ms);
    return { clear: () => clearTimeout(t) };
  }

  every(ms: number, fn: () => void): Timer {
    const t = setInterval(fn, ms);
    t.unref();
    return { clear: () => clearInterval(t) };
  }
}

/** Whether two timestamps are of one moment. */
export function isSameTime(a: Timestamp, b: Timestamp): boolean {
  return a.sec === b.sec && a.nsec === b.nsec;
}

/** Whether a moment is after another. */
export function isLater(a: Timestamp, b: Timestamp): boolean {
  return a.sec === b.sec ? a.nsec > b.nsec : a.sec > b.sec;
}

/** Milliseconds of a timestamp, with fraction. */
export function toMs(t: Timestamp): number {
  return t.sec * 1000 + t.nsec / 1e6;
}

/** The timestamp of milliseconds since 1970. */
export function fromMs(ms: number): Timestamp {
  const sec = Math.floor(ms / 1000);
  return { sec, nsec: Math.min(999_999_999, Math.round((ms - sec * 1000) * 1e6)) };
}
