import type { Metadata } from "../client/contract.js";
import type { Clock, Timer } from "../common/clock.js";
import { messageOf } from "../common/errors.js";
import { MAX_BLOCKS_PAGE } from "../common/limits.js";
import type { Logger } from "../common/log.js";

/** How long an inode without a name is kept that the kernel may be about to open, ms. */
const GRACE_MS = 1000;
/** Inodes that are kept for that, at most; further ones are given up at once. */
const MAX_UNDECIDED = 65_536;

/**
 * Inodes that programs of this mount have open, and those of them that have lost their last name: the namenode keeps these for
 * this client until it releases them. (Where a binding never removes the name of an open file, only others do.)
 */
export class Holds {
  readonly #meta: Pick<Metadata, "release">;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #unpinned: (ino: number) => void;
  /** Inode → how often it is open. */
  readonly #pins = new Map<number, number>();
  readonly #held = new Set<number>();
  /** Opens under way of which it is not known yet which inode they open. */
  #opening = 0;
  /** Inodes without a name that are not open, but may be soon: since when, ms. */
  readonly #undecided = new Map<number, number>();
  #timer: Timer | undefined;

  /** @param options unpinned: called with an inode that is not open any more */
  constructor(options: {
    meta: Pick<Metadata, "release">;
    clock: Clock;
    log: Logger;
    unpinned: (ino: number) => void;
  }) {
    this.#meta = options.meta;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#unpinned = options.unpinned;
  }

  /** An inode is open once more, or about to be. */
  pin(ino: number): void {
    this.#pins.set(ino, (this.#pins.get(ino) ?? 0) + 1);
    if (this.#undecided.delete(ino)) this.#held.add(ino);
  }

  /** An inode is open once less. With the last one, one without a name is given up, in the background. */
  unpin(ino: number): void {
    const count = this.#pins.get(ino) ?? 0;
    if (count > 1) {
      this.#pins.set(ino, count - 1);
      return;
    }
    this.#pins.delete(ino);
    if (this.#held.delete(ino)) this.#release([ino]);
    this.#unpinned(ino);
  }

  /** Whether an inode is open. */
  has(ino: number): boolean {
    return this.#pins.has(ino);
  }

  /** The inodes that are open. */
  open(): IterableIterator<number> {
    return this.#pins.keys();
  }

  /** Runs an open of an inode that the namenode is yet to name: until it is done, none that may be it is given up. */
  async opening<T>(open: () => Promise<T>): Promise<T> {
    this.#opening++;
    try {
      return await open();
    } finally {
      this.#opening--;
    }
  }

  /** Whether the inode of a name that is about to go must be kept. @param ino undefined when it is not known which it is */
  wanted(ino: number | undefined): boolean {
    return ino === undefined ? this.#pins.size > 0 : this.#pins.has(ino);
  }

  /** The namenode keeps an inode for us whose last name we removed. One that is not open is given up at once. */
  kept(ino: number): void {
    if (this.#pins.has(ino)) this.#held.add(ino);
    else if (this.#opening > 0) this.#hesitate([ino]);
    else this.#release([ino]);
  }

  /**
   * The namenode keeps inodes for us whose last name others removed. Those that are not open are given up a little later: the kernel
   * may have looked one up just before, to open it now.
   */
  nameless(inos: readonly number[]): void {
    const closed: number[] = [];
    for (const ino of inos) {
      if (this.#pins.has(ino)) this.#held.add(ino);
      else closed.push(ino);
    }
    if (closed.length > 0) this.#hesitate(closed);
  }

  #hesitate(inos: readonly number[]): void {
    if (this.#undecided.size + inos.length > MAX_UNDECIDED) return this.#release([...inos]);
    const since = this.#clock.monotonic();
    for (const ino of inos) this.#undecided.set(ino, since);
    this.#timer ??= this.#clock.after(GRACE_MS, () => this.#decide());
  }

  #decide(): void {
    this.#timer = undefined;
    const before = this.#clock.monotonic() - GRACE_MS;
    const unwanted: number[] = [];
    for (const [ino, since] of this.#undecided) {
      if (since > before || this.#opening > 0 || unwanted.length === MAX_BLOCKS_PAGE) break;
      this.#undecided.delete(ino);
      unwanted.push(ino);
    }
    if (unwanted.length > 0) this.#release(unwanted);
    if (this.#undecided.size > 0) this.#timer = this.#clock.after(GRACE_MS, () => this.#decide());
  }

  #release(inos: number[]): void {
    this.#meta.release(inos).catch((err: unknown) => {
      // They go with this client's session at the latest.
      this.#log.warn({ inos }, `giving up removed files failed: ${messageOf(err)}`);
    });
  }
}
