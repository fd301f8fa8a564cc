/** How long a client hears of things late, ms, and the namenode waits for it: before that nothing has been missed. */
const HEARD_MS = 4_000;

/**
 * Files that a mount has made by itself. Until something says that one is born (a commit, a change of its name, a look), it may be
 * there or not, in any order; after that it is as sure as the namenode's last edit by then.
 */
export class Births {
  /** Inode → the namenode's last edit when it was known to be born; infinite: that it is, nobody knows. */
  readonly #bounds = new Map<number, number>();
  /** Inode → when it was made, ms. */
  readonly #times = new Map<number, number>();

  /** Whether a file may be there or not. */
  isOpen(ino: number): boolean {
    return this.#bounds.get(ino) === Number.POSITIVE_INFINITY;
  }

  /** Those that are known to be born, and may not be on the disks. */
  get known(): number[] {
    return [...this.#bounds.keys()].filter((ino) => !this.isOpen(ino));
  }

  /** A mount says that it has made one. @param time when, ms */
  made(ino: number, time: number): void {
    this.#times.set(ino, time);
    this.#open(ino);
  }

  /** Since when its mount must have been there, and in touch with the namenode, that whoever looks for one finds it, ms. */
  soundSince(ino: number): number {
    return (this.#times.get(ino) ?? Number.NEGATIVE_INFINITY) - HEARD_MS;
  }

  /** It is there. @param bound the namenode's last edit */
  born(ino: number, bound: number): void {
    const known = this.#bounds.get(ino);
    if (known !== undefined) this.#bounds.set(ino, Math.min(known, bound));
  }

  /** The births of these are on the disks. */
  synced(inos: readonly number[]): void {
    for (const ino of inos) {
      this.#bounds.delete(ino);
      this.#times.delete(ino);
    }
  }

  /** The namenode has lost all edits after one. */
  rollBack(lastIndex: number): void {
    for (const [ino, bound] of this.#bounds) if (bound > lastIndex) this.#open(ino);
  }

  #open(ino: number): void {
    this.#bounds.set(ino, Number.POSITIVE_INFINITY);
  }
}
