/**
 * Replicas that a loss of power may have torn, by block: they were written shortly before it. Until one has been read through, it is not
 * known to be there. Bounded by the replicas of the datanode.
 */
export class Doubts {
  readonly #unread = new Set<number>();
  readonly #bad = new Set<number>();

  /** Replicas that nobody has read yet. */
  get unread(): number {
    return this.#unread.size;
  }

  /** The blocks of those. */
  ids(): number[] {
    return [...this.#unread];
  }

  /** The blocks of those that have been read, and are not whole. */
  bad(): number[] {
    return [...this.#bad];
  }

  /** Whether the replica of a block is not known to be whole. */
  has(id: number): boolean {
    return this.#unread.has(id) || this.#bad.has(id);
  }

  /** The replica of a block may be torn. */
  add(id: number): void {
    this.#unread.add(id);
  }

  /** It has been read, and is whole or not. */
  settle(id: number, isGood: boolean): void {
    this.#unread.delete(id);
    if (isGood) this.#bad.delete(id);
    else this.#bad.add(id);
  }

  /** There is no such replica any more. */
  remove(id: number): void {
    this.#unread.delete(id);
    this.#bad.delete(id);
  }
}
