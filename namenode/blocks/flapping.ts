/** Deaths older than this are forgotten, ms. */
const MEMORY_MS = 3_600_000;
/** Longest time that a datanode must stay before it is relied on, as a multiple of the dead timeout. */
const MAX_FACTOR = 16;
/** Deaths remembered. */
const MAX_DEATHS = 16;

/**
 * How often a datanode died and returned lately. While one comes and goes, its replicas count, but nothing is deleted for
 * the sake of them: the copies made when it was gone stay, and its next death costs nothing. Were they trimmed at every
 * return, every death would be a storm of copies. Times are monotonic ms.
 */
export class Flapping {
  readonly #deadAfterMs: number;
  readonly #deaths: number[] = [];
  #returned = 0;

  /** @param deadAfterMs without contact for this long a datanode is dead */
  constructor(deadAfterMs: number) {
    this.#deadAfterMs = deadAfterMs;
  }

  died(now: number): void {
    this.#deaths.push(now);
    if (this.#deaths.length > MAX_DEATHS) this.#deaths.shift();
  }

  returned(now: number): void {
    this.#returned = now;
  }

  /** Whether it has stayed long enough: at once after one death, twice the dead timeout after two, then four times … */
  isSteady(now: number): boolean {
    return now >= this.steadyAt(now);
  }

  /** When it may be relied on again. */
  steadyAt(now: number): number {
    while (this.#deaths[0] !== undefined && this.#deaths[0] < now - MEMORY_MS) this.#deaths.shift();
    const again = this.#deaths.length - 1;
    return again <= 0 ? 0 : this.#returned + this.#deadAfterMs * Math.min(MAX_FACTOR, 2 ** again);
  }
}
