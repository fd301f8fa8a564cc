// Decodes what the kernel sends: struct fuse_*_in of linux/fuse.h, in the order of its fields. Every read is checked against the
// request's end. Names and data share memory with the request.
import type { Timestamp } from "../../common/clock.js";
import { CairnError } from "../../common/errors.js";
import type { LockKind } from "../../common/lock.js";
import type { LockAsked } from "../locks.js";
import type { AttributeUpdate, Caller } from "../types.js";
import { F_RDLCK, F_UNLCK, F_WRLCK, IN_HEADER, LK_FLOCK, SetattrValid as Valid } from "./abi.js";

const TWO_32 = 2 ** 32;
/** Kinds of locks by fcntl's numbers. */
const KINDS = new Map<number, LockKind>([
  [F_RDLCK, "shared"],
  [F_WRLCK, "exclusive"],
]);
/** Entries of one BATCH_FORGET take so many bytes each. */
const FORGET_ONE = 16;

/** struct fuse_in_header. */
export interface Header {
  readonly opcode: number;
  /** Names the request in its reply, and in an INTERRUPT. */
  readonly unique: number;
  /** The inode it is about. */
  readonly ino: number;
  readonly caller: Caller;
}

/** Reads a request from front to back. EPROTO when it is shorter than its operation says. */
export class RequestReader {
  readonly #bytes: Buffer;
  #at: number;

  /** @param bytes the request, its header included; reading starts after that */
  constructor(bytes: Buffer, at = IN_HEADER) {
    this.#bytes = bytes;
    this.#at = at;
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }

  /** An unsigned number of 64 bits; beyond 2^53 it is rounded. */
  u64(): number {
    const at = this.#take(8);
    return this.#bytes.readUInt32LE(at) + this.#bytes.readUInt32LE(at + 4) * TWO_32;
  }

  /** An unsigned number of 64 bits, all of them. */
  u64Exact(): bigint {
    return this.#bytes.readBigUInt64LE(this.#take(8));
  }

  /** A signed number of 64 bits. */
  i64(): number {
    const at = this.#take(8);
    return this.#bytes.readUInt32LE(at) + this.#bytes.readInt32LE(at + 4) * TWO_32;
  }

  /** Passes over fields that say nothing. */
  skip(bytes: number): void {
    this.#take(bytes);
  }

  /** Bytes up to a NUL, which is passed over. */
  name(): Buffer {
    const end = this.#bytes.indexOf(0, this.#at);
    if (end < 0) throw tooShort(this.#bytes.length);
    const name = this.#bytes.subarray(this.#at, end);
    this.#at = end + 1;
    return name;
  }

  bytes(length: number): Buffer {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (at + bytes > this.#bytes.length) throw tooShort(this.#bytes.length);
    this.#at = at + bytes;
    return at;
  }
}

function tooShort(length: number): CairnError {
  return new CairnError("EPROTO", `decode a request of the kernel: it ends after ${length} bytes`);
}

/** The header of a request. EPROTO when the bytes are not exactly one request. */
export function decodeHeader(bytes: Buffer): Header {
  const reader = new RequestReader(bytes, 0);
  if (reader.u32() !== bytes.length) throw tooShort(bytes.length);
  const opcode = reader.u32();
  const unique = reader.u64();
  const ino = reader.u64();
  const caller = { uid: reader.u32(), gid: reader.u32(), pid: reader.u32() };
  reader.skip(4);
  return { opcode, unique, ino, caller };
}

/** INIT: what the kernel speaks, and what it can do. */
export function decodeInit(reader: RequestReader) {
  return { major: reader.u32(), minor: reader.u32(), maxReadahead: reader.u32(), abilities: reader.u32() };
}

/** SETATTR: what is to change, and whether setuid and setgid go with it. */
export function decodeSetattr(reader: RequestReader): { update: AttributeUpdate; killPrivileges: boolean } {
  const valid = reader.u32();
  reader.skip(12); // padding, fh: the inode is named by the header
  const size = reader.u64();
  reader.skip(8); // lock_owner
  const [atime, mtime] = [reader.i64(), reader.i64()];
  reader.skip(8); // ctime: every change sets it
  const [atimeNsec, mtimeNsec] = [reader.u32(), reader.u32()];
  reader.skip(4);
  const mode = reader.u32();
  reader.skip(4);
  const [uid, gid] = [reader.u32(), reader.u32()];
  const update: AttributeUpdate = {};
  if (valid & Valid.MODE) update.mode = mode;
  if (valid & Valid.UID) update.uid = uid;
  if (valid & Valid.GID) update.gid = gid;
  if (valid & Valid.SIZE) update.size = size;
  if (valid & Valid.ATIME) update.atime = valid & Valid.ATIME_NOW ? "now" : time(atime, atimeNsec);
  if (valid & Valid.MTIME) update.mtime = valid & Valid.MTIME_NOW ? "now" : time(mtime, mtimeNsec);
  return { update, killPrivileges: (valid & Valid.KILL_SUIDGID) !== 0 };
}

function time(sec: number, nsec: number): Timestamp {
  return { sec, nsec };
}

/** MKNOD. The kernel has applied the umask. */
export function decodeMknod(reader: RequestReader) {
  const [mode, rdev] = [reader.u32(), reader.u32()];
  reader.skip(8);
  return { mode, rdev, name: reader.name() };
}

/** MKDIR. The kernel has applied the umask. */
export function decodeMkdir(reader: RequestReader) {
  const mode = reader.u32();
  reader.skip(4);
  return { mode, name: reader.name() };
}

/** RENAME, and RENAME2 with the flags of renameat2(2). */
export function decodeRename(reader: RequestReader, withFlags: boolean) {
  const dir = reader.u64();
  const flags = withFlags ? reader.u32() : 0;
  if (withFlags) reader.skip(4);
  const name = reader.name();
  return { from: name, to: { dir, name: reader.name() }, flags };
}

/** LINK: the inode, and its new name in the header's directory. */
export function decodeLink(reader: RequestReader) {
  return { ino: reader.u64(), name: reader.name() };
}

/** OPEN and OPENDIR: flags of open(2), and of the protocol. */
export function decodeOpen(reader: RequestReader) {
  return { flags: reader.u32(), openFlags: reader.u32() };
}

/** CREATE. The kernel has applied the umask. */
export function decodeCreate(reader: RequestReader) {
  const [flags, mode] = [reader.u32(), reader.u32()];
  reader.skip(4);
  return { flags, mode, openFlags: reader.u32(), name: reader.name() };
}

/** READ, READDIR and READDIRPLUS. */
export function decodeRead(reader: RequestReader) {
  const read = { handle: reader.u64(), offset: reader.u64(), size: reader.u32() };
  reader.skip(20);
  return read;
}

/** WRITE. */
export function decodeWrite(reader: RequestReader) {
  const [handle, offset, size, writeFlags] = [reader.u64(), reader.u64(), reader.u32(), reader.u32()];
  reader.skip(16);
  return { handle, offset, writeFlags, data: reader.bytes(size) };
}

/** LSEEK. */
export function decodeLseek(reader: RequestReader) {
  return { handle: reader.u64(), offset: reader.u64(), whence: reader.u32() };
}

/** FALLOCATE. */
export function decodeFallocate(reader: RequestReader) {
  return { handle: reader.u64(), offset: reader.u64(), length: reader.u64(), mode: reader.u32() };
}

/** COPY_FILE_RANGE. The source is the header's inode; the target's number is passed over, its handle names it. */
export function decodeCopyRange(reader: RequestReader) {
  const from = { handle: reader.u64(), offset: reader.u64() };
  reader.skip(8);
  return { from, to: { handle: reader.u64(), offset: reader.u64() }, length: reader.u64(), flags: reader.u64() };
}

/** FLUSH: the handle, and the process that closes it, as an owner of locks. */
export function decodeFlush(reader: RequestReader) {
  const handle = reader.u64();
  reader.skip(8);
  return { handle, owner: reader.u64Exact() };
}

/** GETLK, SETLK and SETLKW. EINVAL for a kind of lock that there is not. */
export function decodeLock(reader: RequestReader): { handle: number; lock: LockAsked } {
  const handle = reader.u64();
  const [owner, first, last] = [reader.u64Exact(), reader.u64Exact(), reader.u64Exact()];
  const [type, pid, flags] = [reader.u32(), reader.u32(), reader.u32()];
  const kind = KINDS.get(type);
  if (kind === undefined && type !== F_UNLCK) throw new CairnError("EINVAL", `lock a file in the way ${type}`);
  return { handle, lock: { space: (flags & LK_FLOCK) !== 0 ? "whole" : "range", owner, kind, first, last, pid } };
}

/** FSYNC, RELEASE, RELEASEDIR: the handle they begin with. */
export function decodeHandle(reader: RequestReader): number {
  return reader.u64();
}

/** SETXATTR, without FUSE_SETXATTR_EXT. */
export function decodeSetxattr(reader: RequestReader) {
  const [size, flags] = [reader.u32(), reader.u32()];
  const name = reader.name();
  return { name, flags, value: reader.bytes(size) };
}

/** GETXATTR and LISTXATTR: room for the answer; 0: how long it would be. */
export function decodeGetxattr(reader: RequestReader): number {
  const size = reader.u32();
  reader.skip(4);
  return size;
}

/** INTERRUPT: the request that nobody waits for any more. */
export function decodeInterrupt(reader: RequestReader): number {
  return reader.u64();
}

/** The inodes of a BATCH_FORGET. */
export function decodeBatchForget(reader: RequestReader): number[] {
  const count = reader.u32();
  reader.skip(4);
  const inos: number[] = [];
  const entries = new RequestReader(reader.bytes(count * FORGET_ONE), 0);
  for (let i = 0; i < count; i++) {
    inos.push(entries.u64());
    entries.skip(8); // nlookup: numbers of inodes are never used again, so nothing is counted
  }
  return inos;
}
