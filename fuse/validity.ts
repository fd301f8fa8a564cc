import type { Clock } from "../common/clock.js";

/** How long names and attributes may be believed unless a setting says otherwise, ms. */
export const DEFAULT_CACHE_MS = 1000;

/**
 * Decides whether what the namenode said may still be believed. The one place to change when the namenode tells mounts of
 * changes by others.
 */
export interface Validity {
  /** The mark of an answer: taken before the question is sent, so that it is never younger than the answer. */
  mark(): number;
  /** Whether an answer with this mark may still be used. */
  holds(mark: number): boolean;
}

/** Answers are good for a fixed time. */
export class TimedValidity implements Validity {
  readonly #clock: Clock;
  readonly #ms: number;

  /** @param ms how long an answer is good for, milliseconds; 0: never used again */
  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#ms = ms;
  }

  mark(): number {
    return this.#clock.monotonic();
  }

  holds(mark: number): boolean {
    return this.#clock.monotonic() - mark < this.#ms;
  }
}
