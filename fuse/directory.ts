import type { DirectoryPage, Name } from "../client/contract.js";
import type { Dentry } from "../proto/gen/types.js";

/** Places in a directory that a stream remembers, at most; with more it forgets every second one. */
const MAX_CHECKPOINTS = 4096;

/** A position in the directory, and the name of the entry before it. */
interface Place {
  readonly start: number;
  readonly after: Name;
}

interface Page {
  /** Position of the first entry. */
  readonly start: number;
  readonly entries: readonly Dentry[];
  readonly more: boolean;
}

/**
 * An open directory: its entries by position, fetched page by page. Memory is bounded, whatever the directory's size: two pages
 * (the kernel may step back by one answer) and the names at which earlier pages began.
 */
export class DirectoryStream {
  readonly #fetch: (after: Name) => Promise<DirectoryPage>;
  #pages: Page[] = [];
  #checkpoints: Place[] = [{ start: 0, after: Buffer.alloc(0) }];

  /** @param fetch one page of entries whose names are greater than `after` */
  constructor(fetch: (after: Name) => Promise<DirectoryPage>) {
    this.#fetch = fetch;
  }

  /** Forgets what was read, so that reading from position 0 sees the directory as it is now. */
  rewind(): void {
    this.#pages = [];
    this.#checkpoints.length = 1;
  }

  /** The entries from a position to the end of its page; empty at the end of the directory. */
  async from(position: number): Promise<readonly Dentry[]> {
    const held = this.#pages.find((page) => covers(page, position));
    if (held) return held.entries.slice(position - held.start);
    let place = this.#before(position);
    for (;;) {
      const page: Page = { start: place.start, ...(await this.#fetch(place.after)) };
      this.#pages = [...this.#pages.slice(-1), page];
      const last = page.entries.at(-1);
      if (page.more && last) {
        place = { start: page.start + page.entries.length, after: Buffer.from(last.name) };
        this.#remember(place);
      }
      if (covers(page, position)) return page.entries.slice(position - page.start);
      // Positions beyond the end: the directory has shrunk since they were handed out.
      if (!page.more || !last) return [];
    }
  }

  /** The last remembered place at or before a position. */
  #before(position: number): Place {
    return this.#checkpoints.findLast((c) => c.start <= position)!;
  }

  #remember(place: Place): void {
    if (place.start <= this.#checkpoints.at(-1)!.start) return;
    this.#checkpoints.push(place);
    if (this.#checkpoints.length > MAX_CHECKPOINTS) this.#checkpoints = this.#checkpoints.filter((_, i) => i % 2 === 0);
  }
}

/** Whether a page has the entry at a position, or says that there is none. */
function covers(page: Page, position: number): boolean {
  const at = position - page.start;
  return at >= 0 && (at < page.entries.length || (at === page.entries.length && !page.more));
}
