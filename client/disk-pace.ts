import { MIB } from "../common/limits.js";

/** A read that takes no longer than this did not wait, ms: so much, and so much for each MiB of it. */
const PROMPT_MS = 0.3;
const PROMPT_MS_PER_MIB = 1;
/** Longer than this is too long, ms, even if only because others had the processor, or on a disk that does not count. */
const TOO_LONG_MS = 20;
/** Reads that are left to threads after one that had to wait: at first, and at most when it is so again and again. */
const ASIDE_FIRST = 16;
const ASIDE_MAX = 4096;

/**
 * Finds out whether the files of a disk are in the kernel's memory, so that reading them takes no longer than handing the read to
 * a thread would: then it is done in place, by the event loop. One read that had to wait sends many to the threads, and as many
 * have to come back before the next is tried, so that a disk which hangs is not tried at all.
 */
export class DiskPace {
  readonly #diskReads: () => number;
  #seen: number;
  #penalty = ASIDE_FIRST;
  #aside = 0;

  /** @param diskReads how often this process has had to read from a disk so far */
  constructor(diskReads: () => number) {
    this.#diskReads = diskReads;
    this.#seen = diskReads();
  }

  /** Whether the next read may be done in place. */
  get isPrompt(): boolean {
    return this.#aside === 0;
  }

  /** A read of so many bytes in place has ended after so many ms. */
  readInPlace(ms: number, bytes: number): void {
    if (this.#waited(ms, bytes)) {
      this.#aside = this.#penalty;
      this.#penalty = Math.min(ASIDE_MAX, this.#penalty * 2);
    } else {
      this.#penalty = Math.max(ASIDE_FIRST, this.#penalty / 2);
    }
  }

  /** A read in a thread has come back. */
  readAside(): void {
    if (this.#aside > 0) this.#aside--;
  }

  /** Whether a read waited for the disk; not if it only waited for a processor. */
  #waited(ms: number, bytes: number): boolean {
    if (ms <= PROMPT_MS + (PROMPT_MS_PER_MIB * bytes) / MIB) return false;
    const before = this.#seen;
    this.#seen = this.#diskReads();
    return ms > TOO_LONG_MS || this.#seen > before;
  }
}
