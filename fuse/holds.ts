import type { Metadata } from "../client/contract.js";
import { messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";

/**
 * Inodes that programs of this mount have open, and those of them that have lost their last name: the namenode keeps these for
 * this client until it releases them. (Where a binding never removes the name of an open file, only others do.)
 */
export class Holds {
  readonly #meta: Pick<Metadata, "release">;
  readonly #log: Logger;
  readonly #unpinned: (ino: number) => void;
  /** Inode → how often it is open. */
  readonly #pins = new Map<number, number>();
  readonly #held = new Set<number>();
  /** Opens under way of which it is not known yet which inode they open. */
  #opening = 0;
  /** Inodes without a name that one of these may open. */
  readonly #undecided = new Set<number>();

  /** @param unpinned called with an inode that is not open any more */
  constructor(meta: Pick<Metadata, "release">, log: Logger, unpinned: (ino: number) => void = () => {}) {
    this.#meta = meta;
    this.#log = log;
    this.#unpinned = unpinned;
  }

  /** An inode is open once more, or about to be. */
  pin(ino: number): void {
    this.#pins.set(ino, (this.#pins.get(ino) ?? 0) + 1);
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

  /** Runs an open of an inode that the namenode is yet to name: until it is done, none is given up. */
  async opening<T>(open: () => Promise<T>): Promise<T> {
    this.#opening++;
    try {
      return await open();
    } finally {
      if (--this.#opening === 0) {
        const undecided = [...this.#undecided];
        this.#undecided.clear();
        this.nameless(undecided);
      }
    }
  }

  /** Whether the inode of a name that is about to go must be kept. @param ino undefined when it is not known which it is */
  wanted(ino: number | undefined): boolean {
    return ino === undefined ? this.#pins.size > 0 : this.#pins.has(ino);
  }

  /** The namenode keeps inodes for us that have lost their last name. Those that are not open are given up at once. */
  nameless(inos: readonly number[]): void {
    const unwanted: number[] = [];
    for (const ino of inos) {
      if (this.#pins.has(ino)) this.#held.add(ino);
      else if (this.#opening > 0) this.#undecided.add(ino);
      else unwanted.push(ino);
    }
    if (unwanted.length > 0) this.#release(unwanted);
  }

  #release(inos: number[]): void {
    this.#meta.release(inos).catch((err: unknown) => {
      // They go with this client's session at the latest.
      this.#log.warn({ inos }, `giving up removed files failed: ${messageOf(err)}`);
    });
  }
}
