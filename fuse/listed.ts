import type { Name } from "../client/contract.js";
import type { Dentry } from "../proto/gen/types.js";

/** Directories of which is remembered in which order they were listed, at most, and files in them all. */
const MAX_DIRECTORIES = 256;
const MAX_FILES = 65_536;

interface Order {
  readonly inos: number[];
  /** The name after which the next page begins; undefined: there is none. */
  after: Name | undefined;
}

/** In which order directories were last listed, of those files that one wants to know of. The oldest listings are forgotten. */
export class ListedOrders {
  readonly #isWanted: (entry: Dentry) => boolean;
  readonly #orders = new Map<number, Order>();
  #count = 0;

  /** @param isWanted whether an entry is one of those whose order matters */
  constructor(isWanted: (entry: Dentry) => boolean) {
    this.#isWanted = isWanted;
  }

  /** A page of a directory was listed: the entries whose names are greater than `after`. */
  listed(dir: number, after: Name, entries: readonly Dentry[], more: boolean): void {
    const known = this.#orders.get(dir);
    const goesOn = after.length > 0;
    if (goesOn && (known?.after === undefined || Buffer.compare(known.after, after) !== 0)) return;
    const inos = entries.filter(this.#isWanted).map(({ inode }) => inode.ino);
    const last = entries.at(-1)?.name;
    const next = more && last !== undefined ? Buffer.from(last) : undefined;
    if (goesOn && known !== undefined) {
      known.inos.push(...inos);
      known.after = next;
    } else {
      this.#forget(dir);
      this.#orders.set(dir, { inos, after: next });
    }
    this.#count += inos.length;
    for (const oldest of this.#orders.keys()) {
      if (this.#orders.size <= MAX_DIRECTORIES && this.#count <= MAX_FILES) return;
      this.#forget(oldest);
    }
  }

  /** The files of a directory in the order in which they were listed; none where that is not remembered. */
  of(dir: number): readonly number[] {
    return this.#orders.get(dir)?.inos ?? [];
  }

  #forget(dir: number): void {
    this.#count -= this.of(dir).length;
    this.#orders.delete(dir);
  }
}
