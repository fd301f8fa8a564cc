import type { Timestamp } from "../common/clock.js";
import type { Inode } from "../proto/gen/types.js";
import type { Validity } from "./validity.js";

/** Inodes whose attributes are remembered, at most. */
const MAX_INODES = 16_384;
/** Names that are remembered, at most. */
const MAX_DENTRIES = 32_768;

interface CachedInode {
  inode: Inode;
  mark: number;
  /** The size that the kernel was last told, or has made itself by writing; undefined when it was told none. */
  told: number | undefined;
  /** What the file was when the kernel began to keep the pages it has; undefined when its pages may be of any state. */
  pages: { readonly size: number; readonly mtime: Timestamp } | undefined;
  /** False once this mount did something that changed size or times in a way it cannot tell. Owner and mode still hold. */
  complete: boolean;
}

/**
 * What this mount knows of names and attributes: bounded, and believed for as long as `validity` says. Changes made through
 * this mount are entered at once, so it never answers with a state older than its own last change.
 */
export class MetadataCache {
  readonly #validity: Validity;
  readonly #inodes = new Map<number, CachedInode>();
  readonly #dentries = new Map<string, { ino: number; mark: number }>();
  #removals = 0;

  constructor(validity: Validity) {
    this.#validity = validity;
  }

  /** Taken before a question is sent to the namenode, given back with the answer. */
  question(): Question {
    return { mark: this.#validity.mark(), removals: this.#removals };
  }

  /** The attributes; undefined when the namenode must be asked. */
  inode(ino: number): Inode | undefined {
    const cached = this.#inodes.get(ino);
    return cached?.complete && this.#validity.holds(cached.mark) ? cached.inode : undefined;
  }

  /** Attributes of which at least mode and owner hold; undefined when the namenode must be asked. */
  ownership(ino: number): Inode | undefined {
    const cached = this.#inodes.get(ino);
    return cached && this.#validity.holds(cached.mark) ? cached.inode : undefined;
  }

  /** The size that the kernel was last told, however long ago; undefined when that is not remembered. */
  told(ino: number): number | undefined {
    return this.#inodes.get(ino)?.told;
  }

  /** Attributes are about to be told to the kernel. */
  tell(inode: Inode): void {
    const cached = this.#inodes.get(inode.ino);
    if (cached) cached.told = inode.size;
  }

  /** Whether the pages that the kernel may have of a file are those of the file as it is now. */
  hasPagesOf({ ino, size, mtime }: Inode): boolean {
    const pages = this.#inodes.get(ino)?.pages;
    return pages?.size === size && pages.mtime.sec === mtime.sec && pages.mtime.nsec === mtime.nsec;
  }

  /** The pages that the kernel has, or will read, are of this state. */
  keepPages({ ino, size, mtime }: Inode): void {
    const cached = this.#inodes.get(ino);
    if (cached) cached.pages = { size, mtime };
  }

  /** The file has changed by our doing, perhaps not by ours alone: the kernel's pages may not be kept over the next open. */
  distrustPages(ino: number): void {
    const cached = this.#inodes.get(ino);
    if (cached) cached.pages = undefined;
  }

  /** The namenode's answer. One that is older than what is known is passed over. */
  putInode(inode: Inode, question: Question): void {
    const cached = this.#inodes.get(inode.ino);
    if (cached && cached.inode.version > inode.version) return;
    this.#inodes.delete(inode.ino);
    // A target shares memory with the whole message it came in.
    const kept = inode.target.length > 0 ? { ...inode, target: Buffer.from(inode.target) } : inode;
    this.#inodes.set(inode.ino, {
      inode: kept,
      mark: question.mark,
      told: cached?.told,
      pages: cached?.pages,
      complete: true,
    });
    evict(this.#inodes, MAX_INODES);
  }

  /** This mount changed size or times of the inode in a way only the namenode knows; `size` if that is known. */
  changed(ino: number, size?: number): void {
    const cached = this.#inodes.get(ino);
    if (!cached) return;
    cached.complete = false;
    if (size !== undefined) cached.told = size;
  }

  /** This mount changed attributes of the inode in a way only the namenode knows. */
  distrust(ino: number): void {
    const cached = this.#inodes.get(ino);
    if (cached) cached.mark = Number.NEGATIVE_INFINITY;
  }

  forgetInode(ino: number): void {
    this.#inodes.delete(ino);
  }

  /** The inode number of a name; undefined when the namenode must be asked. */
  dentry(dir: number, name: Buffer): number | undefined {
    const cached = this.#dentries.get(key(dir, name));
    return cached && this.#validity.holds(cached.mark) ? cached.ino : undefined;
  }

  /** The namenode's answer. Passed over when this mount has removed names since the question was sent: it may be one of them. */
  putDentry(dir: number, name: Buffer, ino: number, question: Question): void {
    if (question.removals !== this.#removals) return;
    const k = key(dir, name);
    this.#dentries.delete(k);
    this.#dentries.set(k, { ino, mark: question.mark });
    evict(this.#dentries, MAX_DENTRIES);
  }

  /** The name is gone, or may be: what it meant last is returned. */
  removeDentry(dir: number, name: Buffer): number | undefined {
    const k = key(dir, name);
    const ino = this.#dentries.get(k)?.ino;
    this.#dentries.delete(k);
    this.#removals++;
    return ino;
  }
}

/** When a question was asked. */
export interface Question {
  readonly mark: number;
  readonly removals: number;
}

function key(dir: number, name: Buffer): string {
  return `${dir}/${name.toString("latin1")}`;
}

function evict<K>(map: Map<K, unknown>, max: number): void {
  if (map.size <= max) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}
