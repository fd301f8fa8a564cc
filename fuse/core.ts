import { constants } from "node:fs";
import type { Allocation, CairnClient, NewInode, Removed, Watch } from "../client/contract.js";
import { type Clock, RealClock } from "../common/clock.js";
import { CairnError, codeOf, messageOf } from "../common/errors.js";
import { MAX_NAME, ROOT_INO } from "../common/limits.js";
import type { Logger } from "../common/log.js";
import { isOfSnapshot } from "../common/snapshots.js";
import type { Inode } from "../proto/gen/types.js";
import type { TakenLock } from "../proto/lock.js";
import { type AccessPolicy, AccessTimes } from "./access-times.js";
import { MetadataCache, type Question } from "./cache.js";
import { within } from "./deadline.js";
import { DirectoryStream } from "./directory.js";
import { FileHandles } from "./files.js";
import { HandleTable } from "./handles.js";
import { Holds } from "./holds.js";
import { isDirectory, isRegular, statisticsOf } from "./inode.js";
import { Listing } from "./listing.js";
import { type LockAsked, MountLocks } from "./locks.js";
import { Neighbours } from "./neighbours.js";
import { Nursery } from "./nursery.js";
import type { MountTrash } from "./trash.js";

import type { AttributeUpdate, Caller, DirectoryEntry, FileSystemStatistics, KernelCache, Opened } from "./types.js";
import { Watching } from "./watching.js";
import { checkXattrName } from "./xattr.js";

const { S_IFMT, S_IFREG, S_IFDIR, S_IFLNK, S_IXGRP, O_EXCL, O_WRONLY, O_RDWR, O_TRUNC } = constants;
const S_ISUID = 0o4000;
const S_ISGID = 0o2000;
const PERMISSIONS = 0o7777;

/** How long, at the end, the namenode is given to hear of access times, ms. */
const LAST_ACCESSES_MS = 2000;

/** What a file system is made of. */
export interface FileSystemParts {
  readonly client: CairnClient;
  /** How long a binding lets the kernel believe what it is told, at most, ms. */
  readonly kernelMs: number;
  readonly log: Logger;
  readonly clock?: Clock;
  /** Inodes to remember, at most. */
  readonly maxInodes?: number;
  /** Whose access times follow reads; all unless set. */
  readonly accessTimes?: AccessPolicy;
  /** Where what programs remove goes; it is removed for good unless set. */
  readonly trash?: MountTrash;
}

/**
 * The file system as the kernel sees it: operations on inode numbers and handles, on behalf of a caller. It knows nothing of how
 * requests come from the kernel (fuse/native/ does for libfuse 2). Inode numbers are the namenode's: 64 bits, never reused, so
 * they need no table. Permissions are the kernel's business (default_permissions). Every method throws CairnError with the errno
 * a local disk would give.
 */
export class FileSystem {
  readonly #client: CairnClient;
  readonly #cache: MetadataCache;
  readonly #files: FileHandles;
  readonly #holds: Holds;
  readonly #locks: MountLocks;
  readonly #accesses: AccessTimes;
  readonly #clock: Clock;
  readonly #watch: Watch;
  readonly #watching: Watching;
  readonly #trash: MountTrash | undefined;
  readonly #nursery: Nursery;
  readonly #neighbours: Neighbours;
  readonly #directories = new HandleTable<{ ino: number; stream: DirectoryStream }>();

  constructor(options: FileSystemParts) {
    const { client, kernelMs, log, clock = new RealClock() } = options;
    const evicted = (ino: number) => this.#watching.evicted(ino);
    this.#client = client;
    this.#trash = options.trash;
    this.#watch = client.watch;
    this.#cache = new MetadataCache(client.watch, evicted, options.maxInodes);
    const unpinned = (ino: number) => {
      if (!this.#cache.remembers(ino)) evicted(ino);
    };
    this.#holds = new Holds({ meta: client.meta, clock, log, unpinned });
    this.#watching = new Watching({ watch: client.watch, cache: this.#cache, holds: this.#holds, clock, kernelMs });
    const policy = options.accessTimes ?? { files: true, directories: true };
    this.#clock = clock;
    this.#accesses = new AccessTimes({ meta: client.meta, cache: this.#cache, clock, log, policy });
    const [cache, holds, accesses] = [this.#cache, this.#holds, this.#accesses];
    this.#neighbours = new Neighbours(client, cache, clock);
    this.#files = new FileHandles(client, { cache, holds, accesses, neighbours: this.#neighbours, log });
    this.#nursery = new Nursery({ meta: client.meta, cache: this.#cache, watching: this.#watching });
    const refresh = async (ino: number) => this.#files.refreshed(await this.#ask(ino));
    this.#locks = new MountLocks(client.locks, this.#files, refresh, log);
  }

  // ---- what the kernel may believe ----

  /** Has a binding's kernel told of changes from now on. */
  attach(kernel: KernelCache): void {
    this.#watching.kernel = kernel;
  }

  /** For how long, from now, the attributes of an inode may be believed that were just answered, ms; 0: not at all. */
  trustMs(ino: number): number {
    return this.#cache.inode(ino) === undefined || this.#files.isWritten(ino) ? 0 : this.#watch.trustMs();
  }

  /** As trustMs, for what a name was just said to mean. @param ino undefined: that there is no such name */
  trustNameMs(dir: number, name: Buffer, ino?: number): number {
    return this.#cache.dentry(dir, name) === (ino ?? "absent") ? this.#watch.trustMs() : 0;
  }

  // ---- names ----

  /** The inode of a name. ENOENT, ENOTDIR, ENAMETOOLONG. */
  async lookup(dir: number, name: Buffer, _caller: Caller): Promise<Inode> {
    checkName(name);
    const known = this.#cache.dentry(dir, name);
    if (known === "absent") throw new CairnError("ENOENT", `no such name in directory ${dir}`);
    if (known !== undefined) {
      const inode = await this.#attributes(known).catch(unlessStale);
      if (inode) return inode;
    }
    const question = this.#cache.question();
    let inode: Inode;
    try {
      inode = await this.#client.meta.lookup(dir, name);
    } catch (err) {
      if (codeOf(err) === "ENOENT") this.#cache.putDentry(dir, name, "absent", question);
      throw err;
    }
    this.#cache.putInode(inode, question);
    this.#cache.putDentry(dir, name, inode.ino, question);
    this.#saw(dir, name, inode);
    return this.#files.effective(inode);
  }

  /** The inode number of a name if it is known without asking the namenode. */
  known(dir: number, name: Buffer): number | undefined {
    const known = this.#cache.dentry(dir, name);
    return known === "absent" ? undefined : known;
  }

  /** What is known of a name turned out wrong (ESTALE): the next lookup asks the namenode. */
  distrust(dir: number, name: Buffer): void {
    this.#cache.distrustDentry(dir, name);
  }

  /** The kernel no longer knows this inode, and has no pages of it. What it is, is still remembered here. */
  forget(ino: number): void {
    this.#cache.unknownToKernel(ino);
  }

  /** Makes a file, FIFO, socket or device. EEXIST. */
  async mknod(dir: number, name: Buffer, mode: number, rdev: number, caller: Caller): Promise<Inode> {
    const type = (mode & S_IFMT) === 0 ? S_IFREG : mode & S_IFMT;
    return this.#make(dir, name, { mode: type | (mode & PERMISSIONS), rdev, uid: caller.uid, gid: caller.gid });
  }

  /** Makes a directory. EEXIST. */
  async mkdir(dir: number, name: Buffer, mode: number, caller: Caller): Promise<Inode> {
    return this.#make(dir, name, { mode: S_IFDIR | (mode & PERMISSIONS), uid: caller.uid, gid: caller.gid });
  }

  /** Makes a symlink. EEXIST. */
  async symlink(dir: number, name: Buffer, target: Buffer, caller: Caller): Promise<Inode> {
    return this.#make(dir, name, { mode: S_IFLNK | 0o777, target, uid: caller.uid, gid: caller.gid });
  }

  /** Removes a name that is no directory, or moves it to the trash, where there is one. EISDIR, ENOENT. */
  async unlink(dir: number, name: Buffer, caller: Caller): Promise<void> {
    checkName(name);
    const known = this.known(dir, name);
    const question = this.#cache.question();
    if (await this.#toTrash(dir, name, caller, question)) return;
    const removed = await this.#client.meta.unlink(dir, name, this.#holds.wanted(known));
    this.#removed(dir, name, known, question, removed);
  }

  /** Moves a name to the trash. False: it is to be removed for good. */
  async #toTrash(dir: number, name: Buffer, caller: Caller, question: Question): Promise<boolean> {
    const trash = this.#trash;
    const trashed = await trash?.take(dir, name, caller);
    if (trash === undefined || trashed === undefined) return false;
    this.#removed(dir, name, trashed.ino, question, {});
    // The kernel, too, is to learn of these names, as of those that others make.
    const names = trashed.places.map((place) => ({ dir: trash.shown(place.dir), name: place.name }));
    const attributes = names.map((place) => place.dir);
    this.#watching.changed({ names, attributes, contents: [], nameless: [], forgotten: [], accessed: [] });
    return true;
  }

  /** Removes an empty directory. ENOTEMPTY, ENOTDIR, ENOENT. */
  async rmdir(dir: number, name: Buffer, _caller: Caller): Promise<void> {
    checkName(name);
    const known = this.known(dir, name);
    const question = this.#cache.question();
    const removed = await this.#client.meta.rmdir(dir, name, this.#holds.wanted(known));
    this.#removed(dir, name, known, question, removed);
  }

  /** Moves a name, over an existing one where rename(2) may. */
  async rename(
    from: { dir: number; name: Buffer },
    to: { dir: number; name: Buffer },
    flags: { noReplace?: boolean; exchange?: boolean },
    _caller: Caller,
  ): Promise<void> {
    checkName(from.name);
    checkName(to.name);
    const hold = this.#holds.wanted(this.known(to.dir, to.name));
    const how = { ...flags, hold };
    const question = this.#cache.question();
    const renamed = await this.#client.meta.rename(from.dir, from.name, to.dir, to.name, how);
    const { moved, replaced } = renamed;
    if (hold && replaced?.nlink === 0) this.#holds.kept(replaced.ino);
    const left = replaced && flags.exchange ? replaced.ino : "absent";
    // Between two names of one inode nothing happens, and nothing says so.
    if (moved.nlink > 1 && !isDirectory(moved)) this.#cache.distrustDentry(from.dir, from.name);
    else this.#cache.setDentry(from.dir, from.name, left, question);
    this.#cache.setDentry(to.dir, to.name, moved.ino, question);
    this.#saw(to.dir, to.name, moved);
    this.#changed(to.dir, renamed.to, question);
    if (from.dir !== to.dir) this.#changed(from.dir, renamed.from, question);
    for (const inode of [moved, replaced])
      if (inode && !this.#cache.putInode(inode, question)) this.#cache.changed(inode.ino);
  }

  /** A further name for a file. EEXIST, EPERM on directories, EMLINK. */
  async link(ino: number, dir: number, name: Buffer, _caller: Caller): Promise<Inode> {
    checkName(name);
    const question = this.#cache.question();
    const inode = await this.#client.meta.link(ino, dir, name);
    this.#entered(dir, name, inode, question);
    return this.#files.effective(inode);
  }

  /** The target of a symlink. EINVAL when it is none. */
  async readlink(ino: number, _caller: Caller): Promise<Buffer> {
    const inode = this.#cache.inode(ino) ?? (await this.#ask(ino));
    if ((inode.mode & S_IFMT) !== S_IFLNK) throw new CairnError("EINVAL", `read inode ${ino} as a symlink`);
    this.#accesses.read(inode);
    return Buffer.from(inode.target);
  }

  async #make(dir: number, name: Buffer, node: NewInode): Promise<Inode> {
    checkName(name);
    const inherited = await this.#inheritGroup(dir, node);
    const question = this.#cache.question();
    const { inode, parent } = await this.#client.meta.create(dir, name, inherited);
    this.#entered(dir, name, inode, question, parent);
    if (isDirectory(inode)) this.#cache.completeDirectory(inode.ino, question);
    return this.#files.effective(inode);
  }

  /** In a directory with setgid, what is made gets its group, and directories the bit too. */
  async #inheritGroup(dir: number, node: NewInode): Promise<NewInode> {
    const parent = this.#cache.ownership(dir) ?? (await this.#ask(dir));
    if ((parent.mode & S_ISGID) === 0) return node;
    const mode = isDirectory(node) ? node.mode | S_ISGID : node.mode;
    return { ...node, gid: parent.gid, mode };
  }

  #entered(dir: number, name: Buffer, inode: Inode, question: Question, parent?: Inode): void {
    this.#cache.putInode(inode, question);
    this.#cache.setDentry(dir, name, inode.ino, question);
    this.#saw(dir, name, inode);
    this.#changed(dir, parent, question);
  }

  #saw(dir: number, name: Buffer, inode: Inode): void {
    if (isDirectory(inode)) this.#trash?.saw(dir, name, inode.ino);
  }

  /** This mount has changed a directory. The kernel asks for its attributes before the next name is used. */
  #changed(dir: number, now: Inode | undefined, question: Question): void {
    if (now === undefined || !this.#cache.putInode(now, question)) this.#cache.changed(dir);
  }

  /**
   * A name has been removed.
   * @param ino what it stood for, if that is known
   */
  #removed(dir: number, name: Buffer, ino: number | undefined, question: Question, { held, parent }: Removed): void {
    if (held !== undefined) this.#holds.kept(held);
    this.#cache.setDentry(dir, name, "absent", question);
    if (ino !== undefined) this.#cache.changed(ino);
    this.#changed(dir, parent, question);
  }

  // ---- attributes ----

  /** The attributes, unflushed writes of this mount included. ESTALE when the inode is gone. */
  async getattr(ino: number, _caller: Caller): Promise<Inode> {
    return this.#attributes(ino);
  }

  /** The attributes of an open file. EBADF. */
  async getattrOfHandle(handle: number, caller: Caller): Promise<Inode> {
    return this.getattr(this.#files.ino(handle), caller);
  }

  /**
   * Changes attributes. A size is set before the times are, so that these stay as given. No change at all is what the kernel
   * makes of a chown to nobody, and of a write that takes privileges (which then says so itself): ctime changes, and setuid and
   * setgid go where the caller could take them.
   */
  async setattr(ino: number, update: AttributeUpdate, caller: Caller): Promise<Inode> {
    const { size, ...change } = update;
    if (change.atime !== undefined) this.#accesses.set(ino);
    const nothing = size === undefined && Object.keys(change).length === 0;
    const given = change.uid !== undefined || change.gid !== undefined;
    const chown = given || (nothing && (await this.#mayChangeMode(ino, caller)));
    const left = chown && change.mode === undefined ? await this.#unprivileged(ino) : undefined;
    if (left !== undefined) change.mode = left;
    let inode: Inode | undefined;
    if (size !== undefined) inode = await this.#files.truncate(this.#cache.inode(ino) ?? (await this.#ask(ino)), size);
    if (nothing || Object.keys(change).length > 0) {
      if (change.mode !== undefined) change.mode &= PERMISSIONS;
      const changed = this.#files.setAttributes(ino, change);
      if (changed) return changed;
      const question = this.#cache.question();
      inode = await this.#client.meta.setAttributes(ino, change);
      this.#cache.putInode(inode, question);
    }
    return inode ? this.#files.effective(inode) : this.#attributes(ino);
  }

  /**
   * A file loses setuid, and setgid where its group may execute it: what a write by one without CAP_FSETID does. Resolves to
   * whether it had any of that.
   */
  async dropPrivileges(ino: number, caller: Caller): Promise<boolean> {
    const mode = await this.#unprivileged(ino);
    if (mode !== undefined) await this.setattr(ino, { mode }, caller);
    return mode !== undefined;
  }

  /** Whether a caller may change an inode's mode. */
  async #mayChangeMode(ino: number, { uid }: Caller): Promise<boolean> {
    return uid === 0 || uid === (this.#cache.ownership(ino) ?? (await this.#ask(ino))).uid;
  }

  /** The mode of a file without what dropPrivileges() takes; undefined when it has none of that. */
  async #unprivileged(ino: number): Promise<number | undefined> {
    const inode = this.#files.attributes(ino) ?? this.#cache.ownership(ino) ?? (await this.#ask(ino));
    const dropped = S_ISUID | ((inode.mode & S_IXGRP) === 0 ? 0 : S_ISGID);
    return isDirectory(inode) || (inode.mode & dropped) === 0 ? undefined : inode.mode & ~dropped;
  }

  /** Changes attributes of an open file. EBADF. */
  async setattrOfHandle(handle: number, update: AttributeUpdate, caller: Caller): Promise<Inode> {
    return this.setattr(this.#files.ino(handle), update, caller);
  }

  async #attributes(ino: number): Promise<Inode> {
    this.#files.settle(ino);
    const cached = this.#cache.inode(ino);
    if (cached) return this.#client.meta.withUnborn(this.#files.effective(cached));
    try {
      return this.#client.meta.withUnborn(this.#files.effective(await this.#ask(ino)));
    } catch (err) {
      const orphan = codeOf(err) === "ESTALE" && this.#files.orphan(ino);
      if (orphan) return orphan;
      throw err;
    }
  }

  async #ask(ino: number): Promise<Inode> {
    const question = this.#cache.question();
    const inode = await this.#client.meta.getInode(ino);
    this.#cache.putInode(inode, question);
    return inode;
  }

  /** Space, as `df` is to show it: the cluster's, or what the quotas on an inode leave of it. */
  async statfs(ino: number, _caller: Caller): Promise<FileSystemStatistics> {
    return statisticsOf(await this.#client.meta.capacity(ino));
  }

  // ---- files ----

  /**
   * Makes a file and opens it; one that exists is opened as open() would, unless `flags` have O_EXCL (EEXIST).
   * @param flags of open(2)
   */
  async create(
    dir: number,
    name: Buffer,
    mode: number,
    flags: number,
    caller: Caller,
  ): Promise<Opened & { existed: boolean }> {
    checkName(name);
    const node = { mode: S_IFREG | (mode & PERMISSIONS), uid: caller.uid, gid: caller.gid };
    const inherited = await this.#inheritGroup(dir, node);
    return this.#holds.opening(async () => {
      const question = this.#cache.question();
      const exclusive = (flags & O_EXCL) !== 0;
      const unborn = this.#nursery.bear(dir, name, inherited, question);
      const { inode, existed, parent } = unborn ?? (await this.#client.meta.create(dir, name, inherited, !exclusive));
      if (!unborn) this.#entered(dir, name, inode, question, parent);
      this.#files.effective(inode);
      const opened = await this.#files.open(inode, existed ? flags : flags & ~O_TRUNC);
      // Field by field: what `...opened` makes has another shape each time (docs/performance.md).
      const { handle, grown, resized, kept, accessed } = opened;
      return { handle, inode: opened.inode, grown, resized, kept, accessed, existed };
    });
  }

  /**
   * Opens a regular file: reads see everything that was committed before (close-to-open).
   * @param flags of open(2): access mode, O_APPEND and O_TRUNC are heeded. EISDIR, ESTALE; EROFS: to write what is in a snapshot.
   */
  async open(ino: number, flags: number, _caller: Caller): Promise<Opened> {
    if (isOfSnapshot(ino) && (flags & (O_WRONLY | O_RDWR | O_TRUNC)) !== 0)
      throw new CairnError("EROFS", `open inode ${ino}, which is in a snapshot, to write it`);
    this.#holds.pin(ino);
    try {
      this.#files.settle(ino);
      const inode = this.#cache.inode(ino) ?? (await this.#ask(ino));
      if (isDirectory(inode)) throw new CairnError("EISDIR", `open directory ${ino} as a file`);
      if (!isRegular(inode)) throw new CairnError("ENXIO", `open special file ${ino}, which is the kernel's to open`);
      return await this.#files.open(inode, flags);
    } finally {
      this.#holds.unpin(ino);
    }
  }

  /** Reads into target; resolves to the bytes read, less than asked only at the end of the file. EBADF, EIO. */
  read(handle: number, offset: number, target: Buffer, _caller: Caller): Promise<number> {
    return this.#files.read(handle, offset, target);
  }

  /** Writes all of data, at the end where the handle has O_APPEND. `data` may be reused once this resolves. */
  write(handle: number, offset: number, data: Buffer, _caller: Caller): Promise<void> {
    return this.#files.write(handle, offset, data);
  }

  /** Where data or a hole begins, at or after offset: SEEK_DATA and SEEK_HOLE of lseek(2). ENXIO. */
  lseek(handle: number, offset: number, kind: "data" | "hole", _caller: Caller): Promise<number> {
    return this.#files.seek(handle, offset, kind);
  }

  /** Punches a hole, zeroes a range or lets a file reach to its end, as fallocate(2). ENOSPC, EFBIG, EBADF. */
  async fallocate(handle: number, offset: number, length: number, how: Allocation, caller: Caller): Promise<void> {
    await this.#files.allocate(handle, offset, length, how);
    await this.#written(handle, caller);
  }

  /**
   * Copies a range from one open file to another, as references to the same blocks; resolves to the bytes copied, which may
   * be fewer than asked for. EBADF; EINVAL for ranges of one file that overlap.
   */
  async copyRange(
    from: { handle: number; offset: number },
    to: { handle: number; offset: number },
    length: number,
    caller: Caller,
  ): Promise<number> {
    const copied = await this.#files.copyRange(from.handle, from.offset, to.handle, to.offset, length);
    if (copied > 0) await this.#written(to.handle, caller);
    return copied;
  }

  /** The content was changed by other means than a write, for which the kernel says itself whether setuid and setgid go. */
  async #written(handle: number, caller: Caller): Promise<void> {
    if (caller.uid !== 0) await this.dropPrivileges(this.#files.ino(handle), caller);
  }

  /** Writes pages of a mapped file: they have their place, also where the handle has O_APPEND. */
  writePages(handle: number, offset: number, data: Buffer, _caller: Caller): Promise<void> {
    return this.#files.writePages(handle, offset, data);
  }

  /**
   * close(2) of one descriptor: commits what was written, and reports what went wrong with it. Ranges of the file that the process
   * has locked are unlocked.
   * @param owner the process as the owner of locks; undefined where the binding does not know it
   */
  async flush(handle: number, _caller: Caller, owner?: bigint): Promise<void> {
    const ino = this.#files.ino(handle);
    try {
      await this.#files.flush(handle);
    } finally {
      if (owner !== undefined) await this.#locks.closed(ino, owner);
    }
  }

  /** Everything written is on disks when this resolves. */
  fsync(handle: number, _caller: Caller): Promise<void> {
    return this.#files.fsync(handle);
  }

  /** The last descriptor of a handle is closed: what was locked through it is unlocked. Never throws but EBADF: nobody could hear it. */
  async release(handle: number): Promise<void> {
    const unlock = this.#locks.released(handle);
    await this.#files.release(handle);
    await unlock();
  }

  // ---- locks ----

  /** Whether ranges are locked in this mount, so that every close(2) must be told of. */
  get locksRanges(): boolean {
    return this.#locks.areUsed;
  }

  /** F_GETLK: the first lock in the way of one; undefined when that could be had. EBADF. */
  getlk(handle: number, lock: Omit<TakenLock, "ino">, _caller: Caller): Promise<TakenLock | undefined> {
    return this.#locks.test(handle, lock);
  }

  /**
   * F_SETLK, F_SETLKW, flock: what was written is committed before a lock is given up, and what others have committed is read after one
   * is taken. EAGAIN when another has it and `wait` is not set; EDEADLK, ENOLCK, EBADF; EINTR, with nothing locked, soon after the
   * signal is aborted. Resolves to whether the kernel's pages of the file may stay.
   */
  setlk(
    handle: number,
    lock: LockAsked,
    how: { wait: boolean; signal: AbortSignal },
    _caller: Caller,
  ): Promise<boolean> {
    return this.#locks.set(handle, lock, how);
  }

  // ---- directories ----

  /** Opens a directory for readdir. ENOTDIR, ESTALE. */
  async opendir(ino: number, _caller: Caller): Promise<number> {
    this.#directories.reserve();
    const inode = this.#cache.ownership(ino) ?? (await this.#ask(ino));
    if (!isDirectory(inode)) throw new CairnError("ENOTDIR", `open inode ${ino} as a directory`);
    const listing = new Listing(this.#client.meta, this.#cache, this.#neighbours, ino);
    const stream = new DirectoryStream((after) => listing.page(after));
    this.#holds.pin(ino);
    return this.#directories.add({ ino, stream });
  }

  /**
   * Hands out entries from a position on ("." and ".." first) until `take` returns false or the directory ends.
   * @param from 0, or `next` of an entry handed out earlier
   */
  async readdir(
    handle: number,
    from: number,
    take: (entry: DirectoryEntry) => boolean,
    _caller: Caller,
  ): Promise<void> {
    const { ino, stream } = this.#directories.get(handle);
    if (from === 0) {
      stream.rewind();
      const known = this.#cache.inode(ino);
      if (known !== undefined) this.#accesses.read(known);
    }
    const dots = { mode: S_IFDIR, attributes: () => undefined };
    if (from === 0 && !take({ ...dots, name: Buffer.from("."), ino, next: 1 })) return;
    if (from <= 1) {
      const parent = (this.#cache.ownership(ino) ?? (await this.#ask(ino))).parent || ROOT_INO;
      if (!take({ ...dots, name: Buffer.from(".."), ino: parent, next: 2 })) return;
    }
    for (let at = Math.max(from, 2); ; ) {
      const entries = await stream.from(at - 2);
      if (entries.length === 0) return;
      for (const { name, inode } of entries) {
        at++;
        const bytes = asBuffer(name);
        this.#saw(ino, bytes, inode);
        const attributes = () => this.#files.effective(this.#cache.inode(inode.ino) ?? inode);
        if (!take({ name: bytes, ino: inode.ino, mode: inode.mode, next: at, attributes })) return;
      }
    }
  }

  /** Closes a directory. EBADF. */
  releasedir(handle: number): void {
    this.#holds.unpin(this.#directories.remove(handle).ino);
  }

  /** The names in a directory, and all else done so far, are on the namenode's disk when this resolves. */
  async fsyncdir(_caller: Caller): Promise<void> {
    await this.#client.meta.sync();
  }

  // ---- extended attributes ----

  /** ENODATA; EOPNOTSUPP for names in a space that is not kept. */
  async getxattr(ino: number, name: Buffer, _caller: Caller): Promise<Buffer> {
    checkXattrName(name);
    if (await this.#isBare(ino)) throw new CairnError("ENODATA", `inode ${ino} has no extended attributes`);
    return asBuffer(await this.#client.meta.getXattr(ino, name));
  }

  /** EEXIST or ENODATA as `mode` demands. */
  async setxattr(
    ino: number,
    name: Buffer,
    value: Buffer,
    mode: "create" | "replace" | undefined,
    _caller: Caller,
  ): Promise<void> {
    checkXattrName(name);
    await this.#client.meta.setXattr(ino, name, Buffer.from(value), mode);
    this.#cache.distrust(ino);
  }

  async listxattr(ino: number, _caller: Caller): Promise<Buffer[]> {
    if (await this.#isBare(ino)) return [];
    return (await this.#client.meta.listXattrs(ino)).map(asBuffer);
  }

  /** Whether it is known, without asking the namenode, that an inode has no extended attributes. */
  isKnownBare(ino: number): boolean {
    return this.#cache.ownership(ino)?.xattrs === 0;
  }

  async #isBare(ino: number): Promise<boolean> {
    return this.isKnownBare(ino) || (await this.#attributes(ino)).xattrs === 0;
  }

  /** ENODATA. */
  async removexattr(ino: number, name: Buffer, _caller: Caller): Promise<void> {
    checkXattrName(name);
    await this.#client.meta.removeXattr(ino, name);
    this.#cache.distrust(ino);
  }

  /** Commits everything written through this mount. Throws the first error, after having tried all files. */
  async flushAll(): Promise<void> {
    const failures = await this.#files.flushAll();
    await within(this.#clock, LAST_ACCESSES_MS, this.#accesses.flush(), undefined);
    if (failures.length > 0) {
      const sentence = `commit ${failures.length} open files: ${failures.map(messageOf).join("; ")}`;
      throw new CairnError(codeOf(failures[0]), sentence);
    }
  }
}

function checkName(name: Buffer): void {
  if (name.length > MAX_NAME) {
    throw new CairnError("ENAMETOOLONG", `use a name of ${name.length} bytes; at most ${MAX_NAME} are allowed`);
  }
}

/** Lets ESTALE pass as undefined: what was remembered is gone, and the namenode is to be asked. */
function unlessStale(err: unknown): undefined {
  if (codeOf(err) !== "ESTALE") throw err;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
