/** Changes that are remembered one by one, at most; of older ones only that they are older. */
const MAX_RECENT = 8192;

/**
 * What changed lately, so that an answer to a question that was asked before a change is not taken for what is so after it: the
 * namenode's word of a change may overtake an answer.
 */
export class RecentChanges {
  readonly #max: number;
  readonly #changes = new Map<number | string, number>();
  #now = 0;
  /** Everything may have changed at this moment. */
  #floor = 0;

  /** @param max changes that are remembered one by one */
  constructor(max = MAX_RECENT) {
    this.#max = max;
  }

  /** The moment of the last change. */
  get now(): number {
    return this.#now;
  }

  /** A thing has changed. */
  note(key: number | string): void {
    this.#changes.delete(key);
    this.#changes.set(key, ++this.#now);
    if (this.#changes.size <= this.#max) return;
    const [oldest, when] = this.#changes.entries().next().value as [number | string, number];
    this.#changes.delete(oldest);
    this.#floor = when;
  }

  /** Anything may have changed. */
  noteAll(): void {
    this.#changes.clear();
    this.#floor = ++this.#now;
  }

  /** Whether a thing has changed, or may have, after a moment. */
  since(key: number | string, moment: number): boolean {
    return moment < this.#floor || (this.#changes.get(key) ?? 0) > moment;
  }
}
