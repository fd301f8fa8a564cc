import { constants } from "node:fs";
import type { Allocation, CairnClient } from "../client/contract.js";
import { CairnError, InvariantError, messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import type { Inode } from "../proto/gen/types.js";
import type { AccessTimes, Reader } from "./access-times.js";
import type { MetadataCache, Question } from "./cache.js";
import { HandleTable } from "./handles.js";
import type { Holds } from "./holds.js";
import type { Neighbours } from "./neighbours.js";
import { OpenFile, type Share } from "./open-files.js";
import type { AttributeUpdate, Opened } from "./types.js";

const { O_ACCMODE, O_RDONLY, O_WRONLY, O_APPEND, O_TRUNC, O_NOATIME } = { O_ACCMODE: 3, ...constants };

/** One open of a regular file. */
interface FileHandle extends Reader {
  readonly file: OpenFile;
  readonly share: Share;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly append: boolean;
  /** A lock that was taken through it is lost: what its program read and means to write is not to be trusted. */
  lost: boolean;
}

/** What the files of a mount share with the rest of it. */
export interface FileHandlesParts {
  readonly cache: MetadataCache;
  readonly holds: Holds;
  readonly accesses: AccessTimes;
  readonly neighbours: Neighbours;
  readonly log: Logger;
}

/** The open regular files of a mount: handles, and the content that the handles of one inode share. */
export class FileHandles {
  readonly #client: CairnClient;
  readonly #cache: MetadataCache;
  readonly #holds: Holds;
  readonly #accesses: AccessTimes;
  readonly #neighbours: Neighbours;
  readonly #log: Logger;
  readonly #handles = new HandleTable<FileHandle>();
  readonly #files = new Map<number, OpenFile>();

  constructor(client: CairnClient, parts: FileHandlesParts) {
    this.#client = client;
    this.#cache = parts.cache;
    this.#holds = parts.holds;
    this.#accesses = parts.accesses;
    this.#neighbours = parts.neighbours;
    this.#log = parts.log;
  }

  /** Opens a file whose attributes have just been asked for. */
  async open(inode: Inode, flags: number): Promise<Opened> {
    this.#handles.reserve();
    this.settle(inode.ino);
    const grown = this.#grown(inode);
    const resized = this.#cache.told(inode.ino) !== inode.size;
    const kept = this.#cache.hasPagesOf(inode);
    this.#cache.keepPages(inode);
    const content = this.#client.open(inode);
    this.#holds.pin(inode.ino);
    let file = this.#files.get(inode.ino);
    if (!file) {
      file = new OpenFile(content, inode);
      this.#files.set(inode.ino, file);
    }
    const share = file.retain();
    file.inode = inode;
    const access = flags & O_ACCMODE;
    const open: FileHandle = {
      file,
      share,
      readable: access !== O_WRONLY,
      writable: access !== O_RDONLY,
      append: (flags & O_APPEND) !== 0,
      lost: false,
      lookAt: (flags & O_NOATIME) === 0 ? 0 : Number.POSITIVE_INFINITY,
    };
    const handle = this.#handles.add(open);
    // Of reads from its own pages the kernel does not tell: that somebody opens them, to read, counts as one.
    const accessed = kept && access === O_RDONLY && this.#accessed(open);
    // Small files come with the answer: their bytes are on the way while the kernel gets round to asking for them.
    if (access === O_RDONLY && !kept && inode.inline > 0) {
      this.#neighbours.opened(inode);
      content.willRead();
    }
    try {
      if ((flags & O_TRUNC) !== 0) await this.#truncate(file, 0);
    } catch (err) {
      await this.release(handle);
      throw err;
    }
    return { handle, inode: this.#accesses.over(file.attributes(file.inode)), grown, resized, kept, accessed };
  }

  /** The inode number of a handle. EBADF. */
  ino(handle: number): number {
    return this.#handles.get(handle).file.content.ino;
  }

  /** EBADF; EIO when a lock that was taken through it is lost. */
  check(handle: number): void {
    this.#usable(handle);
  }

  /** A lock that was taken through a handle is lost: from now on it is good for nothing but to be closed. */
  lose(handle: number): void {
    this.#handles.get(handle).lost = true;
  }

  /** What was written to a file and is not committed must not be any more: all of its handles hear of that. */
  discard(ino: number): void {
    this.#files.get(ino)?.content.discard();
  }

  #usable(handle: number): FileHandle {
    const open = this.#handles.get(handle);
    if (open.lost)
      throw new CairnError("EIO", `use inode ${open.file.content.ino}, on which locks were lost, unless opened again`);
    return open;
  }

  /** Reads of an open file see from now on what this is. Whether the pages that the kernel may have of it are of it, too. */
  refreshed(inode: Inode): boolean {
    this.settle(inode.ino);
    const file = this.#files.get(inode.ino);
    if (file === undefined) return true;
    const kept = this.#cache.hasPagesOf(inode);
    this.#cache.keepPages(inode);
    file.content.refreshed(inode);
    file.inode = inode;
    return kept;
  }

  /** The attributes of an open file, as far as this mount knows them; undefined when it is not open. */
  attributes(ino: number): Inode | undefined {
    const file = this.#files.get(ino);
    return file?.attributes(file.inode);
  }

  /** EBADF when the handle is not open for reading. */
  async read(handle: number, offset: number, target: Buffer): Promise<number> {
    const open = this.#usable(handle);
    const { file, readable } = open;
    if (!readable) throw new CairnError("EBADF", `read inode ${file.content.ino} through a handle opened for writing`);
    this.#accessed(open);
    return file.content.read(offset, target);
  }

  /**
   * A file is read through a handle. What is not committed of it will change its times yet, and is passed over. @returns whether its
   * access time is another now
   */
  #accessed(open: FileHandle): boolean {
    const { file } = open;
    if (file.written !== undefined || file.dirty || !this.#accesses.isDue(open)) return false;
    return this.#accesses.read(this.#cache.inode(file.content.ino) ?? file.inode);
  }

  /** EBADF when the handle is not open for writing. */
  async write(handle: number, offset: number, data: Buffer): Promise<void> {
    await this.#write(handle, this.#usable(handle).append ? undefined : offset, data);
  }

  /** Writes pages of a mapped file, where they belong. EBADF. */
  writePages(handle: number, offset: number, data: Buffer): Promise<void> {
    return this.#write(handle, offset, data);
  }

  async #write(handle: number, offset: number | undefined, data: Buffer): Promise<void> {
    const { file } = this.#writable(handle);
    const question = this.#cache.question();
    await file.content.write(offset, data);
    file.written ??= question;
  }

  /** Where data or a hole begins. ENXIO, EBADF. */
  async seek(handle: number, offset: number, kind: "data" | "hole"): Promise<number> {
    return this.#usable(handle).file.content.seek(offset, kind);
  }

  /** fallocate(2). EBADF when the handle is not open for writing; ENOSPC, EFBIG. */
  async allocate(handle: number, offset: number, length: number, how: Allocation): Promise<void> {
    const { file } = this.#writable(handle);
    const question = this.#cache.question();
    file.inode = await file.content.allocate(offset, length, how);
    this.#changed(file.inode, question);
  }

  /** Copies a range between open files as references; resolves to the bytes copied. EBADF, EINVAL. */
  async copyRange(source: number, from: number, target: number, offset: number, length: number): Promise<number> {
    const open = this.#usable(source);
    const { file: origin, readable } = open;
    if (!readable) throw new CairnError("EBADF", `copy of inode ${origin.content.ino}, opened for writing`);
    const { file } = this.#writable(target);
    const question = this.#cache.question();
    const { copied, inode } = await file.content.copyFrom(origin.content, from, offset, length);
    this.#accessed(open);
    file.inode = inode;
    this.#changed(inode, question);
    return copied;
  }

  #writable(handle: number): FileHandle {
    const open = this.#usable(handle);
    if (open.writable) return open;
    throw new CairnError("EBADF", `write inode ${open.file.content.ino} through a handle opened for reading`);
  }

  /** Commits what was written. A handle that cannot write has nothing to commit. */
  async flush(handle: number): Promise<void> {
    const { file, share, writable } = this.#usable(handle);
    if (writable) await this.#settling(file, () => file.flush(share));
  }

  /** Commits what was written to a file, if it is open. What goes wrong is for the next flush to report. */
  async commit(ino: number): Promise<void> {
    const file = this.#files.get(ino);
    if (file?.dirty) await this.#settling(file, () => file.content.settle());
  }

  async fsync(handle: number): Promise<void> {
    const { file, share } = this.#usable(handle);
    await this.#settling(file, () => file.fsync(share));
  }

  /** Gives a handle up. EBADF. */
  async release(handle: number): Promise<void> {
    const { file, share } = this.#handles.remove(handle);
    file.drop(share);
    if (file.handles === 0) this.#files.delete(file.content.ino);
    try {
      await this.#settling(file, () => file.content.close());
    } catch (err) {
      if (err instanceof InvariantError) throw err;
      // flush has told the program all that went wrong until close(2); what comes after has no one to be told.
      this.#log.error({ ino: file.content.ino }, `closing a file failed: ${messageOf(err)}`);
    } finally {
      this.#holds.unpin(file.content.ino);
    }
  }

  /** Sets the size of a file, open or not. Resolves to its attributes. */
  async truncate(inode: Inode, size: number): Promise<Inode> {
    const open = this.#files.get(inode.ino);
    if (open) return this.#truncate(open, size);
    const content = this.#client.open(inode);
    const question = this.#cache.question();
    let truncated: Inode;
    try {
      truncated = await content.truncate(size);
    } finally {
      await content.close();
    }
    this.#changed(truncated, question);
    return truncated;
  }

  async #truncate(file: OpenFile, size: number): Promise<Inode> {
    const question = this.#cache.question();
    file.inode = await file.content.truncate(size);
    this.#changed(file.inode, question);
    return file.inode;
  }

  /** The namenode has changed a file's content at our request. */
  #changed(inode: Inode, question: Question): void {
    this.#cache.putInode(inode, question);
    if (inode.size === 0) this.#cache.keepPages(inode);
    else this.#cache.distrustPages(inode.ino);
  }

  /** Changes attributes with the commit of what is unflushed of a file; undefined when nothing is. */
  setAttributes(ino: number, change: AttributeUpdate): Inode | undefined {
    const file = this.#files.get(ino);
    return file?.content.setAttributes(change) ? this.effective(file.inode) : undefined;
  }

  /** What the kernel is to be told: the namenode's attributes, with what this mount has not yet committed. */
  effective(inode: Inode): Inode {
    const file = this.#files.get(inode.ino);
    if (file && inode.version >= file.inode.version) file.inode = inode;
    const seen = file ? file.attributes(inode) : inode;
    this.#cache.tell(seen);
    return this.#accesses.over(seen);
  }

  /**
   * Whether a file that the namenode describes so is longer than the kernel knows: it was told a lesser size, and did not make it
   * longer itself.
   */
  #grown(inode: Inode): boolean {
    const known = Math.max(this.#cache.told(inode.ino) ?? inode.size, this.#files.get(inode.ino)?.content.size ?? 0);
    return inode.size > known;
  }

  /** Notices that writes were committed in the background, so that cached attributes from before are not used. */
  settle(ino: number): void {
    const file = this.#files.get(ino);
    if (file?.written && !file.dirty) this.#settle(file, file.written);
  }

  /** Whether a file has been written to, and the namenode has not said yet what came of it. */
  isWritten(ino: number): boolean {
    const file = this.#files.get(ino);
    return file !== undefined && (file.dirty || file.written !== undefined);
  }

  /** The attributes of an open file that has no name left; undefined when it is not open. */
  orphan(ino: number): Inode | undefined {
    const file = this.#files.get(ino);
    return file && { ...file.attributes(file.inode), nlink: 0 };
  }

  /** Commits every open file; resolves to what went wrong. */
  async flushAll(): Promise<unknown[]> {
    const results = await Promise.allSettled([...this.#files.values()].map((f) => this.#settling(f, () => f.commit())));
    const failures = results.filter((r) => r.status === "rejected").map((r): unknown => r.reason);
    const broken = failures.find((err) => err instanceof InvariantError);
    if (broken) throw broken;
    return failures;
  }

  /** Commits, and sees to it that attributes from before are not used afterwards. */
  async #settling(file: OpenFile, commit: () => Promise<void>): Promise<void> {
    try {
      await commit();
    } finally {
      if (file.written && !file.dirty) this.#settle(file, file.written);
    }
  }

  #settle(file: OpenFile, question: Question): void {
    file.written = undefined;
    const newest = file.content.attributes(file.inode);
    if (newest.version > file.inode.version) {
      file.inode = newest;
      // The kernel's pages have what was written through it, unless another client's commits lie between.
      if (this.#cache.putInode(newest, question)) this.#cache.keepPages(newest);
      else this.#cache.distrustPages(newest.ino);
      this.#cache.tell(newest);
    } else {
      this.#cache.distrustPages(file.content.ino);
      this.#cache.changed(file.content.ino, file.content.size);
    }
  }
}
