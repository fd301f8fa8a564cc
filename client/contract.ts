// The file system as a library: what the mount, the command line and gateways use. Implemented in this room.

import type { Timestamp } from "../common/clock.js";
import type { Dentry, Inode, Policy, PolicyInit } from "../proto/gen/types.js";
import type { FileLock, TakenLock } from "../proto/lock.js";

/** A name in a directory, as bytes: 1..255 of them, no '/' and no NUL. */
export type Name = Uint8Array;

/** What a new inode is to be. */
export interface NewInode {
  /** Type bits (S_IFMT) and permission bits, the umask applied. */
  mode: number;
  uid: number;
  gid: number;
  /** Of device nodes. */
  rdev?: number;
  /** Of symlinks. */
  target?: Uint8Array;
  /** Instead of what the directory hands down; zero fields inherit. */
  policy?: PolicyInit;
}

/** Attributes to change; absent ones stay. */
export interface AttributeChange {
  /** Permission bits. */
  mode?: number;
  uid?: number;
  gid?: number;
  /** "now" is the namenode's clock. */
  atime?: Timestamp | "now";
  mtime?: Timestamp | "now";
  policy?: PolicyInit;
}

/** That an inode was read. */
export interface InodeAccess {
  readonly ino: number;
  /** When. */
  readonly atime: Timestamp;
  /** The access time that it had before: only instead of this one it is given another. */
  readonly before: Timestamp;
}

/** How a name is moved. */
export interface RenameFlags {
  /** EEXIST when the target name exists. */
  noReplace?: boolean;
  /** Both names change places. */
  exchange?: boolean;
  /** What the target name held is kept if that was its last name (nlink is 0 then), as unlink does. */
  hold?: boolean;
}

/** What came of a create. */
export interface Created {
  inode: Inode;
  /** It was there already. */
  existed: boolean;
  /** The directory with the new name, where the namenode said. */
  parent?: Inode | undefined;
}

/** What came of the removal of a name. */
export interface Removed {
  /** The inode that is kept. */
  held?: number | undefined;
  /** The directory without the name, where the namenode said. */
  parent?: Inode | undefined;
}

/** What came of a rename. */
export interface Renamed {
  /** What has the new name now. */
  readonly moved: Inode;
  /** What had it before. */
  readonly replaced?: Inode | undefined;
  /** The directory that the name has left, if it is another than `to`, and where the namenode said. */
  readonly from?: Inode | undefined;
  /** The directory that the name is in, where the namenode said. */
  readonly to?: Inode | undefined;
}

/** Told what becomes of the files that this client made by itself. */
export interface BirthWatcher {
  /** The namenode knows of a file by now: this is what it is, and its directory where that was said. */
  born(inode: Inode, dir: number, parent: Inode | undefined): void;
  /** A file could not be made at the namenode. Whoever writes to it is told why. */
  stillborn(ino: number, dir: number, name: Name): void;
}

/** One page of a directory. */
export interface DirectoryPage {
  entries: Dentry[];
  more: boolean;
  /** Nothing will be told of changes of these entries: they may not be remembered. */
  unwatched?: boolean;
}

/** How much may be below a directory. */
export interface QuotaRoom {
  /** Names that are allowed; 0: any number. */
  names: number;
  usedNames: number;
  /** Bytes that are allowed; 0: any number. */
  bytes: number;
  usedBytes: number;
}

/** Space of the whole cluster, bytes. */
export interface Capacity {
  capacity: number;
  used: number;
  available: number;
  inodes: number;
  /** Copies of a byte under the default policy. */
  replicas: number;
  /** That hold for the inode that was asked about. */
  quotas: QuotaRoom[];
}

/**
 * Names and attributes. Every call survives the loss of the namenode for as long as the client's patience (a setting): it
 * is repeated, and done once. Errors are CairnErrors with the errno a local disk would give.
 */
export interface Metadata {
  /** ENOENT, ENOTDIR, ENAMETOOLONG. */
  lookup(dir: number, name: Name): Promise<Inode>;
  /** Resolves an absolute path ("/a/b"), following symlinks (all but the last, unless followLast). ELOOP. */
  resolve(path: string | Uint8Array, followLast?: boolean): Promise<Inode>;
  /** ESTALE when it is gone. */
  getInode(ino: number): Promise<Inode>;
  readDirectory(dir: number, after: Name, limit: number): Promise<DirectoryPage>;
  /** EEXIST; with openExisting an existing regular file is returned instead. */
  create(dir: number, name: Name, node: NewInode, openExisting?: boolean): Promise<Created>;
  /**
   * Makes a regular file without asking, under a name that is known not to exist, where the namenode lets this client do so: others see
   * it, and it is safe from the death of this process, from its first commit on, or half a second later. Undefined: to be made by create().
   * @param parent the directory, as it is known to be
   */
  bear(parent: Inode, name: Name, node: NewInode): Inode | undefined;
  /** A directory with the effect of what bear() made in it, and the namenode does not know yet. */
  withUnborn(directory: Inode): Inode;
  /** Has one told what becomes of what bear() made. */
  onBirth(watcher: BirthWatcher): void;
  setAttributes(ino: number, change: AttributeChange): Promise<Inode>;
  link(ino: number, dir: number, name: Name): Promise<Inode>;
  /**
   * Removes a name. With `hold`, an inode that has lost its last name is kept (readable, writable) until release() or the end of
   * the client.
   */
  unlink(dir: number, name: Name, hold?: boolean): Promise<Removed>;
  /** As unlink, for a directory. ENOTEMPTY. */
  rmdir(dir: number, name: Name, hold?: boolean): Promise<Removed>;
  /** Gives up inodes that unlink, rmdir or rename have kept. */
  release(inos: readonly number[]): Promise<void>;
  /**
   * Sets access times, and nothing else, of at most MAX_ACCESSES inodes that were read. Resolves to those of which nothing was noted:
   * their access times were set meanwhile, or they are gone.
   */
  noteAccesses(accesses: readonly InodeAccess[]): Promise<number[]>;
  rename(fromDir: number, fromName: Name, toDir: number, toName: Name, flags?: RenameFlags): Promise<Renamed>;
  setXattr(ino: number, name: Name, value: Uint8Array, mode?: "create" | "replace"): Promise<void>;
  /** ENODATA when there is none. */
  getXattr(ino: number, name: Name): Promise<Uint8Array>;
  listXattrs(ino: number): Promise<Uint8Array[]>;
  removeXattr(ino: number, name: Name): Promise<void>;
  /** @param ino whose quotas are wanted as well */
  capacity(ino?: number): Promise<Capacity>;
  /**
   * Resolves when every edit this client has the reply of is on the namenode's disk. EIO, once, when some are lost: the namenode's machine
   * has lost its power.
   */
  sync(): Promise<void>;
}

/** What fallocate(2) does to a range. */
export interface Allocation {
  /** The range reads as zeros afterwards: it is a hole. */
  zero?: boolean;
  /** A range beyond the end does not make the file longer. */
  keepSize?: boolean;
}

/** What came of FileContent.copyFrom. */
export interface Copied {
  /** Bytes. */
  copied: number;
  /** The file copied to, as it is now. */
  inode: Inode;
}

/**
 * The content of one open file, shared by all its handles in this client, so that they see each other's writes at once
 * (POSIX within one mount). Others see what has been committed.
 */
export interface FileContent {
  readonly ino: number;
  /** Bytes, unflushed writes included. */
  readonly size: number;
  /** Whether anything is unflushed: writes, or attributes that go along with them. */
  readonly dirty: boolean;
  /** Time of the last unflushed write; undefined when all are committed. */
  readonly dirtyMtime: Timestamp | undefined;
  /**
   * Copies up to target.length bytes at offset into target; resolves to their number, less only at the end of the file. Holes
   * are zeros. EIO when no replica can be read. The error of a failed write that no flush or fsync has thrown yet, while there is one.
   */
  read(offset: number, target: Buffer): Promise<number>;
  /**
   * Takes a copy of the data (the caller may reuse it once this resolves) and sends it on in the background. Resolves when
   * there is room, so that a writer is as fast as the cluster. A failure of earlier data is thrown by the next flush or fsync.
   * EFBIG. offset undefined: at the end of the file.
   */
  write(offset: number | undefined, data: Buffer): Promise<void>;
  /**
   * Changes attributes together with unflushed writes: attributes() shows them at once, the next flush or fsync commits both, in one
   * edit; what is lost is lost together. False, and nothing is done, when nothing is unflushed: the change is the namenode's.
   */
  setAttributes(change: AttributeChange): boolean;
  /** Sets the size, committed when this resolves. Unflushed writes before it are committed first. The error of lost ones, as write(). */
  truncate(size: number): Promise<Inode>;
  /**
   * Commits everything written so far, in the order of writing. What goes wrong is thrown by the next flush or fsync, and takes with it
   * what was written after it: nobody sees a later write without the earlier ones.
   */
  settle(): Promise<void>;
  /**
   * Where data begins, or a hole, at or after offset, uncommitted writes included: the first byte that is of that kind. What was never
   * written, or was punched out, is a hole; so is what lies beyond the end. ENXIO: none up to the end, or offset is beyond it.
   */
  seek(offset: number, kind: "data" | "hole"): Promise<number>;
  /**
   * What is not committed is not to be: it is lost, and the next flush or fsync throws EIO. Of a commit under way it is not known whether
   * it was done.
   */
  discard(): void;
  /** Makes a range a hole, or has the file reach to its end; committed when this resolves. See Allocation. ENOSPC, EFBIG. */
  allocate(offset: number, length: number, how: Allocation): Promise<Inode>;
  /**
   * Copies a range of another file of this client (or of this one; EINVAL where they overlap) to `offset` here, as references to its
   * blocks: no byte moves. Unflushed writes of either are committed first. Resolves to the bytes copied: fewer than asked for
   * at the source's end, 0 beyond it, and when a range is in very many pieces.
   */
  copyFrom(source: FileContent, from: number, offset: number, length: number): Promise<Copied>;
  /** Commits everything written so far. Throws, once, the first error since the last flush or fsync. */
  flush(): Promise<void>;
  /** As flush, and everything is on the disks of datanodes and namenode. */
  fsync(): Promise<void>;
  /** The inode's attributes with the effect of what is unflushed. */
  attributes(committed: Inode): Inode;
  /** The file is about to be read: what must be asked of the namenode for that is asked now. */
  willRead(): void;
  /** The file is this by now: from now on reads see what others have committed. */
  refreshed(inode: Inode): void;
  /** Gives the content up: one call for each open(). The last one flushes, and throws what flush throws. */
  close(): Promise<void>;
}

/** What others have changed of what a client was told. */
export interface Changes {
  /** Inodes whose attributes are others now. */
  readonly attributes: readonly number[];
  /** Files whose content, and attributes, are others now. */
  readonly contents: readonly number[];
  /** Names that came, went, or stand for another inode. */
  readonly names: readonly { readonly dir: number; readonly name: Name }[];
  /** Inodes that lost their last name, and are kept for this client until it releases them. */
  readonly nameless: readonly number[];
  /** Inodes of which, and of the names in which, nothing more will be told. */
  readonly forgotten: readonly number[];
  /** Inodes of which nothing but the access time is another now. */
  readonly accessed: readonly { readonly ino: number; readonly atime: Timestamp }[];
}

/** One that caches what the namenode says. */
export interface ChangeWatcher {
  /** Others have changed something. An answer to a question asked before this may be older. */
  changed(changes: Changes): void;
  /** Changes may have been missed: nothing that was learned so far may be believed. */
  missed(): void;
  /** The inodes that are open: none of them may be lost with its last name. */
  openInodes(): number[];
}

/**
 * How far the namenode's answers may be believed. It tells of every change by others, so they hold until it does, for as long
 * as the connection is the same and its last sign of life is not older than the lease.
 */
export interface Watch {
  /** The number of the connection: an answer to a question that was asked under another one may not be believed. */
  readonly epoch: number;
  /** For how long, from now, answers may be believed if no change is told, ms; 0: not now. */
  trustMs(): number;
  /** Takes part in what is told. */
  attach(watcher: ChangeWatcher): void;
  /** Nothing of these inodes, nor of names in them, is cached any more: the namenode need not tell. At most MAX_BLOCKS_PAGE. */
  forget(inos: readonly number[]): void;
}

/** Whose locks, on which file. */
export type LockPlace = Pick<FileLock, "ino" | "space" | "owner">;

/** An owner's locks on a file that are lost. */
export interface LostLocks extends LockPlace {
  /** Any of them was exclusive: what was written under it may be others' to write by now. */
  readonly exclusive: boolean;
}

/**
 * Locks on files, which hold against the owners of all clients. They end with this client's session; if it ended without this
 * client's doing (no connection for longer than the lease), its locks are lost.
 */
export interface FileLocks {
  /** The first lock in the way of one; undefined when it could be had. */
  test(lock: TakenLock): Promise<TakenLock | undefined>;
  /**
   * Locks a range, changes its lock, or unlocks it. EAGAIN when another has it and `wait` is not set; else resolves when it is
   * free. EDEADLK, ENOLCK. EINTR, soon, when the signal is aborted: then nothing has been locked.
   */
  set(lock: FileLock, how?: { wait?: boolean; signal?: AbortSignal }): Promise<void>;
  /** Whether an owner may have anything locked of a file. */
  holds(place: LockPlace): boolean;
  /** Called with the owners whose locks are lost, before anything else is sent over the new connection. */
  onLost(listener: (lost: readonly LostLocks[]) => void): void;
}

/** A client of one cluster. */
export interface CairnClient {
  readonly meta: Metadata;
  readonly watch: Watch;
  readonly locks: FileLocks;
  /** The cluster's id and default policy. */
  readonly cluster: string;
  readonly policy: Policy;
  /** How long the trash keeps what a person removes, ms; 0: there is none. */
  readonly trashMs: number;
  /** The content of a regular file: the same object for the same inode, counted. Close-to-open: sees all commits so far. */
  open(inode: Inode): FileContent;
  /**
   * These small files are likely to be opened and read soon: what must be asked for that is asked now, in one call for all of them, and
   * kept in memory that is bounded until one is opened or changes. A hint, which never fails. At most MAX_AHEAD + 1.
   */
  readAhead(inodes: readonly Inode[]): void;
  /** Flushes every open file, ends the session, closes all connections. */
  close(): Promise<void>;
}
