import type { Watch } from "../client/contract.js";
import { isSameTime, type Timestamp } from "../common/clock.js";
import { evictOldest } from "../common/evict.js";
import type { Inode } from "../proto/gen/types.js";
import { type Meaning, Names } from "./names.js";
import { RecentChanges } from "./recent-changes.js";

/** Inodes whose attributes are remembered unless told otherwise, at most. */
const MAX_INODES = 16_384;

interface CachedInode {
  inode: Inode;
  /** False once others changed the inode, or may have, or this mount did in a way only the namenode knows. */
  believed: boolean;
  /** False once this mount did something that changed size or times in a way it cannot tell. Owner and mode still hold. */
  complete: boolean;
  /** The size that the kernel was last told, or has made itself by writing; undefined when it was told none. */
  told: number | undefined;
  /** What the file was when the kernel began to keep the pages it has; undefined when its pages may be of any state. */
  pages: { readonly size: number; readonly mtime: Timestamp } | undefined;
}

/** When a question was asked. */
export interface Question {
  /** Over which connection. */
  readonly epoch: number;
  /** After which change. */
  readonly moment: number;
}

/**
 * What this mount knows of names and attributes: bounded, and believed until the namenode tells of a change, for as long as it can be
 * heard. Changes made through this mount are entered at once, so it never answers with a state older than its own last change.
 */
export class MetadataCache {
  readonly #watch: Watch;
  readonly #evicted: (ino: number) => void;
  readonly #maxInodes: number;
  readonly #inodes = new Map<number, CachedInode>();
  readonly #names: Names;
  readonly #recent = new RecentChanges();

  /**
   * @param evicted called with an inode when something of it, or of names in it, is not remembered any more
   * @param maxInodes inodes that are remembered, at most
   */
  constructor(watch: Watch, evicted: (ino: number) => void, maxInodes = MAX_INODES) {
    this.#watch = watch;
    this.#maxInodes = maxInodes;
    this.#evicted = evicted;
    this.#names = new Names((dir) => {
      this.#recent.note(everyName(dir));
      evicted(dir);
    });
  }

  /** Taken before a question is sent to the namenode, given back with the answer. */
  question(): Question {
    return { epoch: this.#watch.epoch, moment: this.#recent.now };
  }

  // ---- inodes ----

  /** The attributes; undefined when the namenode must be asked. */
  inode(ino: number): Inode | undefined {
    const cached = this.#believed(ino);
    return cached?.complete ? cached.inode : undefined;
  }

  /** Attributes of which at least mode and owner hold; undefined when the namenode must be asked. */
  ownership(ino: number): Inode | undefined {
    return this.#believed(ino)?.inode;
  }

  /** Whether anything is remembered of an inode, or of names in it. */
  remembers(ino: number): boolean {
    return this.#inodes.has(ino) || this.#names.has(ino);
  }

  /** The inodes that are remembered. */
  inos(): IterableIterator<number> {
    return this.#inodes.keys();
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

  /** The file has changed, perhaps not by our doing alone: the kernel's pages may not be kept over the next open. */
  distrustPages(ino: number): void {
    const cached = this.#inodes.get(ino);
    if (cached) cached.pages = undefined;
  }

  /**
   * The namenode's answer. One that is older than what is known is passed over, and one that a change may have overtaken. @returns
   * whether it may be believed
   */
  putInode(inode: Inode, question: Question): boolean {
    const { ino } = inode;
    const cached = this.#inodes.get(ino);
    if (cached && cached.inode.version > inode.version) return false;
    if (this.#isLate(ino, question)) {
      if (!cached) this.#evicted(ino);
      else if (cached.inode.version < inode.version) cached.believed = false;
      return false;
    }
    this.#inodes.delete(ino);
    // A target shares memory with the whole message it came in.
    const kept = inode.target.length > 0 ? { ...inode, target: Buffer.from(inode.target) } : inode;
    const { told, pages } = cached ?? {};
    this.#inodes.set(ino, { inode: kept, believed: true, complete: true, told, pages });
    evictOldest(this.#inodes, this.#maxInodes, (oldest) => this.#forgetInode(oldest));
    return true;
  }

  /** The kernel knows nothing of an inode any more. */
  unknownToKernel(ino: number): void {
    const cached = this.#inodes.get(ino);
    if (cached) cached.told = cached.pages = undefined;
  }

  /** This mount changed size or times of the inode in a way only the namenode knows; `size` if that is known. */
  changed(ino: number, size?: number): void {
    this.#recent.note(ino);
    const cached = this.#inodes.get(ino);
    if (!cached) return;
    cached.complete = false;
    if (size !== undefined) cached.told = size;
  }

  /** The inode's attributes are others than is known. */
  distrust(ino: number): void {
    this.#recent.note(ino);
    const cached = this.#inodes.get(ino);
    if (cached) cached.believed = false;
  }

  /**
   * The access time of an inode is another, and nothing else.
   * @param before given: if it was this one
   */
  accessed(ino: number, atime: Timestamp, before?: Timestamp): void {
    const cached = this.#inodes.get(ino);
    if (cached === undefined || (before !== undefined && !isSameTime(cached.inode.atime, before))) return;
    cached.inode = { ...cached.inode, atime };
  }

  #forgetInode(ino: number): void {
    this.#inodes.delete(ino);
    // An answer that is on its way may be older than what this mount has done since.
    this.#recent.note(ino);
    this.#evicted(ino);
  }

  // ---- names ----

  /** What a name means; undefined when the namenode must be asked. */
  dentry(dir: number, name: Buffer): Meaning | undefined {
    return this.#watch.trustMs() > 0 ? this.#names.get(dir, text(name)) : undefined;
  }

  /** The namenode's answer. Passed over when a change of the name may have overtaken it. @returns whether it may be believed */
  putDentry(dir: number, name: Buffer, meaning: Meaning, question: Question): boolean {
    if (this.#isLate(nameKey(dir, name), question) || this.#isLate(everyName(dir), question)) {
      if (!this.#names.has(dir)) this.#evicted(dir);
      return false;
    }
    this.#names.put(dir, text(name), meaning);
    return true;
  }

  /** This mount has given a name a meaning. Answers to questions that were asked before are older. */
  setDentry(dir: number, name: Buffer, meaning: Meaning, question: Question): void {
    if (this.putDentry(dir, name, meaning, question)) this.#recent.note(nameKey(dir, name));
    else this.distrustDentry(dir, name);
  }

  /** A name means something else than is known. */
  distrustDentry(dir: number, name: Buffer): void {
    this.#recent.note(nameKey(dir, name));
    this.#recent.note(someName(dir));
    this.#names.forget(dir, text(name));
  }

  /** Every name in a directory is known, if none was changed by others after the question. */
  completeDirectory(dir: number, question: Question): void {
    if (!this.#isLate(someName(dir), question) && !this.#isLate(everyName(dir), question)) this.#names.complete(dir);
  }

  /** Nothing that is known of names in a directory may be believed. */
  distrustDirectory(dir: number): void {
    this.#recent.note(everyName(dir));
    this.#names.forgetDirectory(dir);
  }

  /** Nothing that is known may be believed, nor what was asked before. */
  distrustAll(): void {
    this.#recent.noteAll();
    this.#names.clear();
    for (const cached of this.#inodes.values()) {
      cached.believed = false;
      cached.pages = undefined;
    }
  }

  #believed(ino: number): CachedInode | undefined {
    const cached = this.#inodes.get(ino);
    return cached?.believed && this.#watch.trustMs() > 0 ? cached : undefined;
  }

  /** Whether an answer may be older than a change of what it is about. */
  #isLate(key: number | string, { epoch, moment }: Question): boolean {
    return epoch !== this.#watch.epoch || this.#recent.since(key, moment);
  }
}

function text(name: Buffer): string {
  return name.toString("latin1");
}

/** A name, for RecentChanges. */
function nameKey(dir: number, name: Buffer): string {
  return `${dir}/${text(name)}`;
}

/** That others changed some name of a directory (no name is empty). */
function someName(dir: number): string {
  return `${dir}/`;
}

/** That any name of a directory may have changed (no name has a slash). */
function everyName(dir: number): string {
  return `${dir}//`;
}
