/** How sure a state is: it may have come to be; a reply said so; it is on the disks. */
export type Certainty = "maybe" | "acknowledged" | "durable";

/** One state that something had, or may have. */
export interface Version<T> {
  readonly value: T;
  certainty: Certainty;
  /** The namenode's last edit when the reply came: a namenode that still has this edit has this state, or a later one. */
  bound: number;
}

/**
 * The states of one thing that one actor changes, in order. What may be seen is the newest that is certain, or any of those after it.
 */
export class Versions<T> {
  #list: Version<T>[];
  readonly #watchers = new Set<T[]>();

  constructor(first: T) {
    this.#list = [{ value: first, certainty: "durable", bound: 0 }];
  }

  /** The newest state, certain or not: what its own actor sees. */
  get latest(): Version<T> {
    return this.#list.at(-1)!;
  }

  /** Whether the newest state is certain. */
  get isCertain(): boolean {
    return this.latest.certainty !== "maybe";
  }

  /** The newest certain state. */
  get certain(): Version<T> {
    return this.#list[this.#certain]!;
  }

  /** Everything that may be seen now. */
  get possible(): T[] {
    return this.#list.slice(this.#certain).map(({ value }) => value);
  }

  /** The newest state that is on the disks, and all after it. */
  get sinceDurable(): T[] {
    return this.#list.slice(this.#list.findLastIndex((v) => v.certainty === "durable")).map(({ value }) => value);
  }

  /** Gathers everything that may be seen from now on, until the function that it returns is called. */
  watch(): () => T[] {
    const seen = this.possible;
    this.#watchers.add(seen);
    return () => {
      this.#watchers.delete(seen);
      return seen;
    };
  }

  /** Something is being done that makes it this. */
  begin(value: T): Version<T> {
    for (const seen of this.#watchers) seen.push(value);
    const version: Version<T> = { value, certainty: "maybe", bound: Number.POSITIVE_INFINITY };
    this.#list.push(version);
    return version;
  }

  /** A version, and so all before it, has been acknowledged, or brought to the disks. What is on no disk yet may be taken back. */
  confirm(version: Version<T>, certainty: Certainty, bound: number): void {
    if (version.certainty !== "durable") version.certainty = certainty;
    version.bound = Math.min(version.bound, bound);
    const durable = this.#list.findLastIndex((v) => v.certainty === "durable");
    if (durable > 0) this.#list.splice(0, durable);
  }

  /** What was begun did not happen, and will not. */
  withdraw(version: Version<T>): void {
    this.#list = this.#list.filter((v) => v !== version);
  }

  /** The namenode has lost all edits after one: what was acknowledged after it may be gone. */
  rollBack(lastIndex: number): void {
    for (const version of this.#list) {
      if (version.certainty === "acknowledged" && version.bound > lastIndex) version.certainty = "maybe";
    }
    for (const seen of this.#watchers) seen.push(...this.possible);
  }

  /** It was seen, with nothing under way: it is this and nothing else. */
  settle(value: T, bound: number): void {
    for (const seen of this.#watchers) seen.push(value);
    this.#list.push({ value, certainty: "acknowledged", bound });
  }

  get #certain(): number {
    return this.#list.findLastIndex((v) => v.certainty !== "maybe");
  }
}
