import { constants } from "node:fs";
import { CairnError, codeOf } from "../../common/errors.js";
import { MAX_NAME } from "../../common/limits.js";
import type { Inode } from "../../proto/gen/types.js";
import type { FileSystem } from "../core.js";
import type { Caller, DirectoryEntry } from "../types.js";
import {
  FallocateMode,
  MAX_COPY,
  MAX_IO,
  OPEN_KILL_SUIDGID,
  Opcode,
  OpenFlag,
  OUT_HEADER,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  SEEK_DATA,
  SEEK_HOLE,
  WRITE_CACHE,
  WRITE_KILL_SUIDGID,
  XATTR_CREATE,
  XATTR_REPLACE,
} from "./abi.js";
import { Buffers } from "./buffers.js";
import type { Handler, Handlers, Request } from "./connection.js";
import {
  DirectoryReply,
  encodeAbsent,
  encodeAttributes,
  encodeBytes,
  encodeCreate,
  encodeEntry,
  encodeLock,
  encodeOffset,
  encodeOpen,
  encodeSize,
  encodeStatistics,
  newReply,
  type Timeouts,
} from "./reply.js";
import {
  decodeBatchForget,
  decodeCopyRange,
  decodeCreate,
  decodeFallocate,
  decodeFlush,
  decodeGetxattr,
  decodeHandle,
  decodeLink,
  decodeLock,
  decodeLseek,
  decodeMkdir,
  decodeMknod,
  decodeOpen,
  decodeRead,
  decodeRename,
  decodeSetattr,
  decodeSetxattr,
  decodeWrite,
} from "./request.js";

/** Reads of more than this are answered from buffers that are used again, bytes. */
const SMALL_READ = 16_384;
/** Large reads under way, at most: 64 MiB. Further ones wait. */
const MAX_LARGE_READS = 64;
const NUL = Buffer.of(0);
/** The extended attribute that has a program's capabilities. */
const CAPABILITY = Buffer.from("security.capability");

/** What the handlers need beside the file system. */
export interface HandlerOptions {
  /** How long the kernel may believe what it is told, at most, ms. */
  readonly cacheMs: number;
  /** Has the kernel ask for an inode's attributes when it needs them next. */
  readonly forgetAttributes: (ino: number) => void;
  /** Has the kernel read a file's pages again, and ask for its attributes. Resolves when none of the old ones is left. */
  readonly forgetContent: (ino: number) => Promise<void>;
  /** Answers INIT. */
  readonly init: Handler;
}

/** How long the kernel may believe what it is told now. */
class Belief {
  readonly #fs: FileSystem;
  readonly #most: number;

  constructor(fs: FileSystem, { cacheMs }: HandlerOptions) {
    this.#fs = fs;
    this.#most = cacheMs;
  }

  /** Of an inode's attributes, ms. */
  attributes(ino: number): number {
    return Math.min(this.#most, this.#fs.trustMs(ino));
  }

  /** Of a name and the attributes of what it stands for. */
  entry(dir: number, name: Buffer, ino: number): Timeouts {
    return {
      entryMs: Math.min(this.#most, this.#fs.trustNameMs(dir, name, ino)),
      attributesMs: this.attributes(ino),
    };
  }

  /** Of a name that does not exist, ms. */
  absence(dir: number, name: Buffer): number {
    return Math.min(this.#most, this.#fs.trustNameMs(dir, name));
  }
}

/** The handlers that serve the kernel's requests from the core. What is not here is ENOSYS: the kernel knows how to do without. */
export function makeHandlers(fs: FileSystem, options: HandlerOptions): Handlers {
  return new Map<number, Handler>([
    [Opcode.INIT, options.init],
    [Opcode.DESTROY, async () => {}],
    [Opcode.STATFS, async ({ ino, caller }) => encodeStatistics(await fs.statfs(ino, caller))],
    ...nameHandlers(fs, options),
    ...fileHandlers(fs, options),
    ...directoryHandlers(fs, options),
    ...attributeHandlers(fs, options),
    ...lockHandlers(fs, options),
  ]);
}

function nameHandlers(fs: FileSystem, options: HandlerOptions): [number, Handler][] {
  const belief = new Belief(fs, options);
  const entry = (dir: number, name: Buffer, inode: Inode) => encodeEntry(inode, belief.entry(dir, name, inode.ino));

  const lookup = async ({ ino: dir, body, caller }: Request) => {
    const name = Buffer.from(body.name());
    // Most names that are looked up and do not exist are about to be made: no error for those.
    const absentMs = name.length > MAX_NAME ? 0 : belief.absence(dir, name);
    if (absentMs > 0) return encodeAbsent(absentMs);
    try {
      return entry(dir, name, await fs.lookup(dir, name, caller));
    } catch (err) {
      const absentMs = codeOf(err) === "ENOENT" ? belief.absence(dir, name) : 0;
      if (absentMs === 0) throw err;
      return encodeAbsent(absentMs);
    }
  };
  const rename = async ({ ino, body, caller }: Request, withFlags: boolean) => {
    const { from, to, flags } = decodeRename(body, withFlags);
    if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) !== 0) {
      throw new CairnError("EINVAL", `rename with flags 0x${flags.toString(16)}`);
    }
    const how = { noReplace: (flags & RENAME_NOREPLACE) !== 0, exchange: (flags & RENAME_EXCHANGE) !== 0 };
    await fs.rename({ dir: ino, name: from }, to, how, caller);
  };
  return [
    [Opcode.LOOKUP, lookup],
    [Opcode.FORGET, async ({ ino }) => fs.forget(ino)],
    [
      Opcode.BATCH_FORGET,
      async ({ body }) => {
        for (const ino of decodeBatchForget(body)) fs.forget(ino);
      },
    ],
    [
      Opcode.MKNOD,
      async ({ ino, body, caller }) => {
        const { name, mode, rdev } = decodeMknod(body);
        return entry(ino, name, await fs.mknod(ino, name, mode, rdev, caller));
      },
    ],
    [
      Opcode.MKDIR,
      async ({ ino, body, caller }) => {
        const { name, mode } = decodeMkdir(body);
        return entry(ino, name, await fs.mkdir(ino, name, mode, caller));
      },
    ],
    [
      Opcode.SYMLINK,
      async ({ ino, body, caller }) => {
        const [name, target] = [body.name(), body.name()];
        return entry(ino, name, await fs.symlink(ino, name, target, caller));
      },
    ],
    [
      Opcode.LINK,
      async ({ ino: dir, body, caller }) => {
        const { ino, name } = decodeLink(body);
        return entry(dir, name, await fs.link(ino, dir, name, caller));
      },
    ],
    [Opcode.UNLINK, ({ ino, body, caller }) => fs.unlink(ino, body.name(), caller)],
    [Opcode.RMDIR, ({ ino, body, caller }) => fs.rmdir(ino, body.name(), caller)],
    [Opcode.RENAME, (request) => rename(request, false)],
    [Opcode.RENAME2, (request) => rename(request, true)],
    [Opcode.READLINK, async ({ ino, caller }) => encodeBytes(await fs.readlink(ino, caller))],
  ];
}

function fileHandlers(fs: FileSystem, options: HandlerOptions): [number, Handler][] {
  const { forgetAttributes } = options;
  const belief = new Belief(fs, options);
  const buffers = new Buffers(OUT_HEADER + MAX_IO, MAX_LARGE_READS);

  const dropPrivileges = async (ino: number, caller: Caller) => {
    if (await fs.dropPrivileges(ino, caller)) forgetAttributes(ino);
  };

  const read = async (request: Request) => {
    const { handle, offset, size } = decodeRead(request.body);
    const large = size > SMALL_READ;
    const length = OUT_HEADER + Math.min(size, MAX_IO);
    const buffer = large ? await buffers.wait() : Buffer.allocUnsafe(length);
    try {
      const bytes = await fs.read(handle, offset, buffer.subarray(OUT_HEADER, length), request.caller);
      request.answer(buffer.subarray(0, OUT_HEADER + bytes));
    } finally {
      if (large) buffers.give(buffer);
    }
  };

  return [
    [
      Opcode.OPEN,
      async (request) => {
        const { ino, body, caller } = request;
        const { flags, openFlags } = decodeOpen(body);
        if ((openFlags & OPEN_KILL_SUIDGID) !== 0) await dropPrivileges(ino, caller);
        const { handle, kept, resized, accessed } = await fs.open(ino, flags, caller);
        // It will then see the size, or the access time, that the file has now.
        if (accessed || (!kept && resized)) forgetAttributes(ino);
        const readOnly = (flags & constants.O_WRONLY) === 0 && (flags & constants.O_RDWR) === 0;
        const how = (kept ? OpenFlag.KEEP_CACHE : 0) | (readOnly && !fs.locksRanges ? OpenFlag.NOFLUSH : 0);
        if (!request.answer(encodeOpen(handle, how))) await fs.release(handle);
      },
    ],
    [
      Opcode.CREATE,
      async (request) => {
        const { ino: dir, body, caller } = request;
        const { flags, mode, openFlags, name } = decodeCreate(body);
        const { handle, inode, existed } = await fs.create(dir, name, mode, flags, caller);
        if (existed && (openFlags & OPEN_KILL_SUIDGID) !== 0) await dropPrivileges(inode.ino, caller);
        if (!request.answer(encodeCreate(inode, belief.entry(dir, name, inode.ino), handle, 0)))
          await fs.release(handle);
      },
    ],
    [Opcode.READ, read],
    [
      Opcode.WRITE,
      async ({ ino, body, caller }) => {
        const { handle, offset, writeFlags, data } = decodeWrite(body);
        if ((writeFlags & WRITE_CACHE) === 0) await fs.write(handle, offset, data, caller);
        else await fs.writePages(handle, offset, data, caller);
        if ((writeFlags & WRITE_KILL_SUIDGID) !== 0) await dropPrivileges(ino, caller);
        return encodeSize(data.length);
      },
    ],
    [
      Opcode.FLUSH,
      ({ body, caller }) => {
        const { handle, owner } = decodeFlush(body);
        return fs.flush(handle, caller, owner);
      },
    ],
    [Opcode.FSYNC, ({ body, caller }) => fs.fsync(decodeHandle(body), caller)],
    [Opcode.RELEASE, ({ body }) => fs.release(decodeHandle(body))],
    ...rangeHandlers(fs),
  ];
}

function rangeHandlers(fs: FileSystem): [number, Handler][] {
  const { KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE } = FallocateMode;
  const copyRange = ({ body, caller }: Request, most: number) => {
    const { from, to, length, flags } = decodeCopyRange(body);
    if (flags !== 0) throw new CairnError("EINVAL", `copy a range with flags 0x${flags.toString(16)}`);
    return fs.copyRange(from, to, Math.min(length, most), caller);
  };
  return [
    [
      Opcode.LSEEK,
      async ({ body, caller }) => {
        const { handle, offset, whence } = decodeLseek(body);
        if (whence !== SEEK_DATA && whence !== SEEK_HOLE) throw new CairnError("EINVAL", `seek from ${whence}`);
        return encodeOffset(await fs.lseek(handle, offset, whence === SEEK_DATA ? "data" : "hole", caller));
      },
    ],
    [
      Opcode.FALLOCATE,
      async ({ body, caller }) => {
        const { handle, offset, length, mode } = decodeFallocate(body);
        if ((mode & ~(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE)) !== 0) {
          throw new CairnError("EOPNOTSUPP", `allocate with mode 0x${mode.toString(16)}`);
        }
        const how = { zero: (mode & (PUNCH_HOLE | ZERO_RANGE)) !== 0, keepSize: (mode & KEEP_SIZE) !== 0 };
        await fs.fallocate(handle, offset, length, how, caller);
      },
    ],
    [Opcode.COPY_FILE_RANGE, async (request) => encodeSize(await copyRange(request, MAX_COPY))],
    [Opcode.COPY_FILE_RANGE_64, async (request) => encodeOffset(await copyRange(request, Number.MAX_SAFE_INTEGER))],
  ];
}

function directoryHandlers(fs: FileSystem, options: HandlerOptions): [number, Handler][] {
  const belief = new Belief(fs, options);
  const readdir = async ({ ino: dir, body, caller }: Request, plus: boolean) => {
    const { handle, offset, size } = decodeRead(body);
    const timeouts = ({ name, ino }: DirectoryEntry) => belief.entry(dir, name, ino);
    const out = new DirectoryReply(Math.min(size, MAX_IO), plus ? timeouts : undefined);
    await fs.readdir(handle, offset, (entry) => out.add(entry), caller);
    return out.reply;
  };
  return [
    [
      Opcode.OPENDIR,
      async (request) => {
        const handle = await fs.opendir(request.ino, request.caller);
        if (!request.answer(encodeOpen(handle, 0))) fs.releasedir(handle);
      },
    ],
    [Opcode.READDIR, (request) => readdir(request, false)],
    [Opcode.READDIRPLUS, (request) => readdir(request, true)],
    [Opcode.RELEASEDIR, async ({ body }) => fs.releasedir(decodeHandle(body))],
    [Opcode.FSYNCDIR, ({ caller }) => fs.fsyncdir(caller)],
  ];
}

function lockHandlers(fs: FileSystem, { forgetContent }: HandlerOptions): [number, Handler][] {
  const set = async (request: Request, wait: boolean) => {
    const { ino, body, caller, signal } = request;
    const { handle, lock } = decodeLock(body);
    const how = { wait, signal };
    const kept = await fs.setlk(handle, lock, how, caller);
    let isHeard = false;
    try {
      if (!kept) await forgetContent(ino);
      isHeard = request.answer(newReply(0));
    } finally {
      // A program that was told something else does not know that it has the lock.
      if (!isHeard && lock.kind !== undefined) await fs.setlk(handle, { ...lock, kind: undefined }, how, caller);
    }
  };
  return [
    [
      Opcode.GETLK,
      async ({ body, caller }) => {
        const { handle, lock } = decodeLock(body);
        const { kind } = lock;
        return encodeLock(kind && (await fs.getlk(handle, { ...lock, kind }, caller)));
      },
    ],
    [Opcode.SETLK, (request) => set(request, false)],
    [Opcode.SETLKW, (request) => set(request, true)],
  ];
}

function attributeHandlers(fs: FileSystem, options: HandlerOptions): [number, Handler][] {
  const belief = new Belief(fs, options);
  const attributes = (inode: Inode) =>
    encodeAttributes(inode, { entryMs: 0, attributesMs: belief.attributes(inode.ino) });
  /** A value for who has room for it, its length for who asks with none. ERANGE. */
  const handOver = (value: Buffer, room: number) => {
    if (room === 0) return encodeSize(value.length);
    if (value.length > room) throw new CairnError("ERANGE", `hand over ${value.length} bytes with room for ${room}`);
    return encodeBytes(value);
  };
  return [
    [Opcode.GETATTR, async ({ ino, caller }) => attributes(await fs.getattr(ino, caller))],
    [
      Opcode.SETATTR,
      async ({ ino, body, caller }) => {
        const { update, killPrivileges } = decodeSetattr(body);
        const inode = await fs.setattr(ino, update, caller);
        if (!killPrivileges) return attributes(inode);
        await fs.dropPrivileges(ino, caller);
        return attributes(await fs.getattr(ino, caller));
      },
    ],
    [
      Opcode.SETXATTR,
      async ({ ino, body, caller }) => {
        const { name, value, flags } = decodeSetxattr(body);
        const mode = flags === XATTR_CREATE ? "create" : flags === XATTR_REPLACE ? "replace" : undefined;
        await fs.setxattr(ino, name, value, mode, caller);
        return newReply(0);
      },
    ],
    [
      Opcode.GETXATTR,
      async (request) => {
        const { ino, body, caller } = request;
        const room = decodeGetxattr(body);
        const name = body.name();
        // The kernel asks for it before the first write to every file.
        if (name.equals(CAPABILITY) && fs.isKnownBare(ino)) return request.fail("ENODATA");
        return handOver(await fs.getxattr(ino, name, caller), room);
      },
    ],
    [
      Opcode.LISTXATTR,
      async ({ ino, body, caller }) => {
        const room = decodeGetxattr(body);
        const names = await fs.listxattr(ino, caller);
        return handOver(Buffer.concat(names.flatMap((name) => [name, NUL])), room);
      },
    ],
    [Opcode.REMOVEXATTR, ({ ino, body, caller }) => fs.removexattr(ino, body.name(), caller)],
  ];
}
