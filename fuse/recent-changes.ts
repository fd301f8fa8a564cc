/** Changes that are remembered one by one, at most, and at least half as many; of older ones only that they are older. */
const MAX_RECENT = 8192;

/**
 * What changed lately, so that an answer to a question that was asked before a change is not taken for what is so after it: the
 * namenode's word of a change may overtake an answer.
 */
export class RecentChanges {
  readonly #max: number;
  // Two generations, of half as many each: the older one is dropped as a whole, which costs nothing per change.
  #young = new Map<number | string, number>();
  #old = new Map<number | string, number>();
  #now = 0;
  /** The moment when the younger generation began: none of the older one is later. */
  #youngFrom = 0;
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
    this.#young.set(key, ++this.#now);
    if (this.#young.size < this.#max / 2) return;
    this.#floor = Math.max(this.#floor, this.#youngFrom);
    this.#youngFrom = this.#now;
    this.#old = this.#young;
    this.#young = new Map();
  }

  /** Anything may have changed. */
  noteAll(): void {
    this.#young.clear();
    this.#old.clear();
    this.#floor = ++this.#now;
  }

  /** Whether a thing has changed, or may have, after a moment. */
  since(key: number | string, moment: number): boolean {
    return moment < this.#floor || (this.#young.get(key) ?? this.#old.get(key) ?? 0) > moment;
  }
}
