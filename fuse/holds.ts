import type { Metadata } from "../client/contract.js";
import { messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";

/**
 * Inodes that programs of this mount have open, and those of them that have lost their last name: the namenode keeps these for
 * this client until it releases them. (Where a binding never removes the name of an open file, there are none.)
 */
export class Holds {
  readonly #meta: Pick<Metadata, "release">;
  readonly #log: Logger;
  /** Inode → how often it is open. */
  readonly #pins = new Map<number, number>();
  readonly #held = new Set<number>();

  constructor(meta: Pick<Metadata, "release">, log: Logger) {
    this.#meta = meta;
    this.#log = log;
  }

  /** An inode is open once more, or about to be. */
  pin(ino: number): void {
    this.#pins.set(ino, (this.#pins.get(ino) ?? 0) + 1);
  }

  /** An inode is open once less. With the last one, one without a name is given up, in the background. */
  unpin(ino: number): void {
    const count = this.#pins.get(ino) ?? 0;
    if (count > 1) this.#pins.set(ino, count - 1);
    else this.#pins.delete(ino);
    if (count <= 1 && this.#held.delete(ino)) this.#release(ino);
  }

  /** Whether the inode of a name that is about to go must be kept. @param ino undefined when it is not known which it is */
  wanted(ino: number | undefined): boolean {
    return ino === undefined ? this.#pins.size > 0 : this.#pins.has(ino);
  }

  /** The namenode keeps an inode for us. It may have been closed meanwhile. */
  kept(ino: number): void {
    if (this.#pins.has(ino)) this.#held.add(ino);
    else this.#release(ino);
  }

  #release(ino: number): void {
    this.#meta.release([ino]).catch((err: unknown) => {
      // It goes with this client's session at the latest.
      this.#log.warn({ ino }, `giving up a removed file failed: ${messageOf(err)}`);
    });
  }
}
