// Encodes what the kernel is sent: struct fuse_*_out of linux/fuse.h, after room for the header, which `seal` fills in.
import { constants } from "node:fs";
import type { Timestamp } from "../../common/clock.js";
import type { Inode } from "../../proto/gen/types.js";
import type { TakenLock } from "../../proto/lock.js";
import type { DirectoryEntry, FileSystemStatistics } from "../types.js";
import { F_RDLCK, F_UNLCK, F_WRLCK, MAJOR, MAX_IO, MINOR, Notify, OUT_HEADER, PAGE } from "./abi.js";

const TWO_32 = 2 ** 32;
/** The unit of st_blocks. */
const SECTOR = 512;
const ENTRY_OUT = 40;
const ATTR = 88;
const DIRENT = 24;
const { S_IFMT } = constants;

/** Room for a reply whose data has so many bytes, all zero. */
export function newReply(bytes: number): Buffer {
  return Buffer.allocUnsafe(OUT_HEADER + bytes).fill(0);
}

/** Fills in the header of a reply: whose it is, and the (negative) errno. */
export function seal(reply: Buffer, unique: number, error = 0): Buffer {
  reply.writeUInt32LE(reply.length, 0);
  reply.writeInt32LE(error, 4);
  u64(reply, unique, 8);
  return reply;
}

/** What is agreed at INIT. */
export interface Agreement {
  /** Ability bits. */
  readonly abilities: number;
  /** Bytes the kernel may read ahead. */
  readonly maxReadahead: number;
  /** Requests under way that no program waits for (read-ahead), at most. */
  readonly maxBackground: number;
  readonly minor: number;
}

/** INIT: struct fuse_init_out. */
export function encodeInit({ abilities, maxReadahead, maxBackground, minor }: Agreement): Buffer {
  const out = newReply(64);
  out.writeUInt32LE(MAJOR, 16);
  out.writeUInt32LE(Math.min(minor, MINOR), 20);
  out.writeUInt32LE(maxReadahead, 24);
  out.writeUInt32LE(abilities >>> 0, 28);
  out.writeUInt16LE(maxBackground, 32);
  out.writeUInt16LE(Math.ceil((maxBackground * 3) / 4), 34); // congestion_threshold
  out.writeUInt32LE(MAX_IO, 36);
  out.writeUInt32LE(1, 40); // time_gran: nanoseconds
  out.writeUInt16LE(MAX_IO / PAGE, 44);
  return out;
}

/** How long the kernel may believe what it is told, ms. */
export interface Timeouts {
  readonly entryMs: number;
  readonly attributesMs: number;
}

/** LOOKUP and what makes names: struct fuse_entry_out. */
export function encodeEntry(inode: Inode, timeouts: Timeouts): Buffer {
  const out = newReply(ENTRY_OUT + ATTR);
  putEntry(out, OUT_HEADER, inode, timeouts);
  return out;
}

/** GETATTR and SETATTR: struct fuse_attr_out. */
export function encodeAttributes(inode: Inode, { attributesMs }: Timeouts): Buffer {
  const out = newReply(16 + ATTR);
  putTimeout(out, attributesMs, 16, 24);
  putAttributes(out, 32, inode);
  return out;
}

/** OPEN and OPENDIR: struct fuse_open_out. */
export function encodeOpen(handle: number, flags: number): Buffer {
  const out = newReply(16);
  putOpen(out, OUT_HEADER, handle, flags);
  return out;
}

/** CREATE: an entry and an open file. */
export function encodeCreate(inode: Inode, timeouts: Timeouts, handle: number, flags: number): Buffer {
  const out = newReply(ENTRY_OUT + ATTR + 16);
  putEntry(out, OUT_HEADER, inode, timeouts);
  putOpen(out, OUT_HEADER + ENTRY_OUT + ATTR, handle, flags);
  return out;
}

/** WRITE: the bytes taken. GETXATTR and LISTXATTR without room: the bytes there are. */
export function encodeSize(size: number): Buffer {
  const out = newReply(8);
  out.writeUInt32LE(size, 16);
  return out;
}

/** LSEEK: a place in a file. COPY_FILE_RANGE_64: bytes copied. */
export function encodeOffset(offset: number): Buffer {
  const out = newReply(8);
  u64(out, offset, 16);
  return out;
}

/** READLINK, GETXATTR: the bytes themselves. */
export function encodeBytes(bytes: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(OUT_HEADER + bytes.length);
  out.set(bytes, OUT_HEADER);
  return out;
}

/** STATFS: struct fuse_statfs_out. */
export function encodeStatistics(s: FileSystemStatistics): Buffer {
  const out = newReply(80);
  for (const [i, n] of [s.blocks, s.free, s.available, s.files, s.filesFree].entries()) u64(out, n, 16 + i * 8);
  out.writeUInt32LE(s.blockSize, 56);
  out.writeUInt32LE(s.nameMax, 60);
  out.writeUInt32LE(s.blockSize, 64);
  return out;
}

/** LOOKUP of a name that does not exist, which the kernel may believe. */
export function encodeAbsent(entryMs: number): Buffer {
  const out = newReply(ENTRY_OUT + ATTR);
  putTimeout(out, entryMs, OUT_HEADER + 16, OUT_HEADER + 32);
  return out; // nodeid stays 0
}

/** GETLK: struct fuse_lk_out with the lock that is in the way, or that none is. */
export function encodeLock(lock: TakenLock | undefined): Buffer {
  const out = newReply(24);
  if (lock !== undefined) {
    out.writeBigUInt64LE(lock.first, 16);
    out.writeBigUInt64LE(lock.last, 24);
    out.writeUInt32LE(lock.pid, 36);
  }
  out.writeUInt32LE(lock === undefined ? F_UNLCK : lock.kind === "shared" ? F_RDLCK : F_WRLCK, 32);
  return out;
}

/** A notification: the kernel forgets an inode's attributes. Not its pages: that could wait for a reply of ours. */
export function encodeForgetAttributes(ino: number): Buffer {
  const out = newReply(24);
  u64(out, ino, 16);
  i64(out, -1, 24); // off < 0: no pages
  return sealNotification(out, Notify.INVAL_INODE);
}

/** A notification: the kernel forgets an inode's attributes and pages. It waits until nobody reads them. */
export function encodeForgetContent(ino: number): Buffer {
  const out = newReply(24);
  u64(out, ino, 16); // off and len stay 0: all
  return sealNotification(out, Notify.INVAL_INODE);
}

/** A notification: the kernel forgets what a name means. It waits until nobody changes the directory. */
export function encodeForgetName(dir: number, name: Buffer): Buffer {
  const out = newReply(16 + name.length + 1);
  u64(out, dir, 16);
  out.writeUInt32LE(name.length, 24);
  out.set(name, 32); // with a NUL after it
  return sealNotification(out, Notify.INVAL_ENTRY);
}

/** A notification: the kernel forgets what all names mean. */
export function encodeForgetNames(): Buffer {
  return sealNotification(newReply(0), Notify.INC_EPOCH);
}

/** Fills in the header; unique stays 0, which tells a notification from a reply. */
function sealNotification(out: Buffer, code: number): Buffer {
  out.writeUInt32LE(out.length, 0);
  out.writeInt32LE(code, 4);
  return out;
}

/**
 * Fills a reply to READDIR or READDIRPLUS with as many entries as there is room for.
 */
export class DirectoryReply {
  readonly #out: Buffer;
  readonly #plus: ((entry: DirectoryEntry) => Timeouts) | undefined;
  #at = OUT_HEADER;

  /**
   * @param size bytes that the kernel asked for
   * @param plus for READDIRPLUS: how long what an entry says may be believed
   */
  constructor(size: number, plus: ((entry: DirectoryEntry) => Timeouts) | undefined) {
    this.#out = Buffer.allocUnsafe(OUT_HEADER + size);
    this.#plus = plus;
  }

  /** Adds an entry: false when there is no room for it. */
  add(entry: DirectoryEntry): boolean {
    const { name, ino, mode, next } = entry;
    const entryOut = this.#plus === undefined ? 0 : ENTRY_OUT + ATTR;
    const dirent = this.#at + entryOut;
    const end = dirent + align(DIRENT + name.length);
    if (end > this.#out.length) return false;
    const out = this.#out.fill(0, this.#at, end);
    if (this.#plus !== undefined) {
      const inode = entry.attributes();
      if (inode !== undefined) putEntry(out, this.#at, inode, this.#plus(entry));
    }
    u64(out, ino, dirent);
    u64(out, next, dirent + 8);
    out.writeUInt32LE(name.length, dirent + 16);
    out.writeUInt32LE((mode & S_IFMT) >>> 12, dirent + 20);
    out.set(name, dirent + DIRENT);
    this.#at = end;
    return true;
  }

  /** The reply so far; empty: the directory's end. */
  get reply(): Buffer {
    return this.#out.subarray(0, this.#at);
  }
}

function align(bytes: number): number {
  return (bytes + 7) & ~7;
}

function putEntry(out: Buffer, at: number, inode: Inode, { entryMs, attributesMs }: Timeouts): void {
  u64(out, inode.ino, at);
  putTimeout(out, entryMs, at + 16, at + 32);
  putTimeout(out, attributesMs, at + 24, at + 36);
  putAttributes(out, at + ENTRY_OUT, inode);
}

function putTimeout(out: Buffer, ms: number, secAt: number, nsecAt: number): void {
  const sec = Math.floor(ms / 1000);
  u64(out, sec, secAt);
  out.writeUInt32LE((ms - sec * 1000) * 1_000_000, nsecAt);
}

function putOpen(out: Buffer, at: number, handle: number, flags: number): void {
  u64(out, handle, at);
  out.writeUInt32LE(flags, at + 8);
}

/** struct fuse_attr. */
function putAttributes(out: Buffer, at: number, inode: Inode): void {
  u64(out, inode.ino, at);
  u64(out, inode.size, at + 8);
  u64(out, Math.ceil(inode.allocated / SECTOR), at + 16);
  putTime(out, inode.atime, at + 24, at + 48);
  putTime(out, inode.mtime, at + 32, at + 52);
  putTime(out, inode.ctime, at + 40, at + 56);
  out.writeUInt32LE(inode.mode, at + 60);
  out.writeUInt32LE(inode.nlink, at + 64);
  out.writeUInt32LE(inode.uid, at + 68);
  out.writeUInt32LE(inode.gid, at + 72);
  out.writeUInt32LE(inode.rdev, at + 76);
  out.writeUInt32LE(MAX_IO, at + 80); // st_blksize: what is good to read and write at once
}

function putTime(out: Buffer, { sec, nsec }: Timestamp, secAt: number, nsecAt: number): void {
  i64(out, sec, secAt);
  out.writeUInt32LE(nsec, nsecAt);
}

function u64(out: Buffer, n: number, at: number): void {
  out.writeUInt32LE(n % TWO_32, at);
  out.writeUInt32LE(Math.floor(n / TWO_32), at + 4);
}

function i64(out: Buffer, n: number, at: number): void {
  const high = Math.floor(n / TWO_32);
  out.writeUInt32LE(n - high * TWO_32, at);
  out.writeInt32LE(high, at + 4);
}
