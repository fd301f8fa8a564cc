import type { BirthWatcher, Created, Metadata, Name, NewInode } from "../client/contract.js";
import type { Inode } from "../proto/gen/types.js";
import type { MetadataCache, Question } from "./cache.js";
import type { Watching } from "./watching.js";

/** What a nursery is made of. */
export interface NurseryParts {
  readonly meta: Pick<Metadata, "bear" | "onBirth">;
  readonly cache: MetadataCache;
  readonly watching: Watching;
}

/**
 * Files that this mount makes without asking the namenode: it answers the program at once, and the file is known to everybody with its
 * first commit. Only under names that are known not to exist; until the namenode has heard of a file, what is known of it is here alone.
 */
export class Nursery implements BirthWatcher {
  readonly #meta: NurseryParts["meta"];
  readonly #cache: MetadataCache;
  readonly #watching: Watching;
  /** Inode → when it was made. */
  readonly #made = new Map<number, Question>();

  constructor({ meta, cache, watching }: NurseryParts) {
    this.#meta = meta;
    this.#cache = cache;
    this.#watching = watching;
    meta.onBirth(this);
  }

  /** Makes a regular file if that can be done here and now. */
  bear(dir: number, name: Buffer, node: NewInode, question: Question): Created | undefined {
    const parent = this.#cache.ownership(dir);
    if (parent === undefined || this.#cache.dentry(dir, name) !== "absent") return undefined;
    const inode = this.#meta.bear(parent, name, node);
    if (inode === undefined) return undefined;
    this.#made.set(inode.ino, question);
    this.#cache.putInode(inode, question);
    this.#cache.setDentry(dir, name, inode.ino, question);
    return { inode, existed: false };
  }

  born(inode: Inode, dir: number, parent: Inode | undefined): void {
    const question = this.#made.get(inode.ino);
    this.#made.delete(inode.ino);
    if (question === undefined) return;
    this.#cache.putInode(inode, question);
    if (parent === undefined || !this.#cache.putInode(parent, question)) this.#cache.changed(dir);
  }

  stillborn(ino: number, dir: number, name: Name): void {
    this.#made.delete(ino);
    const nothing = { contents: [], accessed: [], nameless: [], forgotten: [] };
    this.#watching.changed({ ...nothing, attributes: [ino], names: [{ dir, name }] });
  }
}
