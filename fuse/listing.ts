import type { DirectoryPage, Metadata, Name } from "../client/contract.js";
import type { MetadataCache, Question } from "./cache.js";
import type { Neighbours } from "./neighbours.js";

/** Entries asked of the namenode at once when a directory is read. */
const DIRECTORY_PAGE = 1000;

/**
 * Reads a directory page by page, and has the cache learn from it: names and attributes, and, when it was read from its first page
 * to its last one after the other, that there are no other names.
 */
export class Listing {
  readonly #meta: Pick<Metadata, "readDirectory">;
  readonly #cache: MetadataCache;
  readonly #neighbours: Pick<Neighbours, "listed">;
  readonly #ino: number;
  /** A reading from the first page on: when it began, and where it has got to. */
  #whole: { readonly question: Question; readonly after: Name } | undefined;

  /** @param neighbours told of the order of the entries */
  constructor(
    meta: Pick<Metadata, "readDirectory">,
    cache: MetadataCache,
    neighbours: Pick<Neighbours, "listed">,
    ino: number,
  ) {
    this.#meta = meta;
    this.#cache = cache;
    this.#neighbours = neighbours;
    this.#ino = ino;
  }

  /** The entries whose names are greater than `after`. */
  async page(after: Name): Promise<DirectoryPage> {
    const question = this.#cache.question();
    const whole = after.length === 0 ? { question } : this.#goesOn(after) ? this.#whole : undefined;
    this.#whole = undefined;
    const page = await this.#meta.readDirectory(this.#ino, after, DIRECTORY_PAGE);
    // A directory larger than what is told of: the kernel asks for what it needs of these.
    if (page.unwatched) return page;
    for (const { name, inode } of page.entries) {
      this.#cache.putInode(inode, question);
      this.#cache.putDentry(this.#ino, Buffer.from(name), inode.ino, question);
    }
    this.#neighbours.listed(this.#ino, after, page.entries, page.more);
    const last = page.entries.at(-1)?.name;
    if (whole !== undefined && !page.more) this.#cache.completeDirectory(this.#ino, whole.question);
    else if (whole !== undefined && last !== undefined) this.#whole = { question: whole.question, after: last };
    return page;
  }

  #goesOn(after: Name): boolean {
    return this.#whole !== undefined && Buffer.compare(this.#whole.after, after) === 0;
  }
}
