import { constants } from "node:fs";
import { CairnError, InvariantError, messageOf } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import type { FileSystem } from "../core.js";
import type { AttributeUpdate, Caller } from "../types.js";
import { type Addon, HANDLERS, type Handler, OPERATIONS, type Operation, type Request } from "./addon.js";
import { callerOf, encodeStat, encodeStatistics, resultOf, timeOf, wide } from "./numbers.js";
import { Paths } from "./paths.js";

const { O_TRUNC } = constants;

/** chown's "leave it as it is". */
const UNCHANGED = 0xffff_ffff;
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;

/** The answer to a request: the result, and what the operation's signal function takes after it. */
type Answer = readonly [result: number, ...values: unknown[]];

/** Done, with nothing to hand over. */
const DONE: Answer = [0];

/**
 * The table of handlers that serves libfuse's operations from the core.
 * @param onInit called once, when the kernel and libfuse have agreed and requests may come
 */
export function makeHandlers(addon: Addon, fs: FileSystem, log: Logger, onInit: () => void): (Handler | undefined)[] {
  const paths = new Paths(fs);
  const handlers: (Handler | undefined)[] = new Array(HANDLERS).fill(undefined);

  /**
   * Serves one operation. `failed`: what the signal function needs after an error's number; the addon reads it either way.
   */
  function serve<A extends unknown[]>(
    operation: Operation,
    work: (caller: Caller, args: A, request: Request) => Promise<Answer>,
    failed: readonly unknown[] = [],
  ): void {
    const signal = addon[`fuse_native_signal_${operation}`];
    handlers[addon[`op_${operation}`]] = (request: Request, _operation: number, ...args: unknown[]) => {
      work(callerOf(request), args as A, request).then(
        (answer) => signal(request, ...answer),
        (err: unknown) => {
          if (err instanceof InvariantError) throw err;
          if (!(err instanceof CairnError)) log.error({ operation, stack: (err as Error).stack }, messageOf(err));
          else if (resultOf(err) === EIO) log.error({ operation }, err.message);
          signal(request, resultOf(err), ...failed);
        },
      );
    };
  }

  const setattr = (path: string, caller: Caller, update: AttributeUpdate): Promise<Answer> =>
    paths.inode(path, caller, async (ino) => {
      return [0, encodeStat(await fs.setattr(ino, update, caller))];
    });

  const start = addon.offsetof_fuse_thread_locals_t_data;
  const dataOf = (request: Request, length: number): Buffer => request.subarray(start, start + length);

  handlers[addon.op_init] = (request: Request) => {
    addon.fuse_native_signal_init(request, 0);
    onInit();
  };

  serve<[path: string]>("statfs", (caller, [path]) =>
    paths.inode(path, caller, async (ino) => [0, encodeStatistics(await fs.statfs(ino, caller))]),
  );
  serve<[path: string]>("getattr", (caller, [path]) =>
    paths.inode(path, caller, async (ino) => [0, encodeStat(await fs.getattr(ino, caller))]),
  );
  serve<[path: null, handle: number]>("fgetattr", async (caller, [, handle]) => [
    0,
    encodeStat(await fs.getattrOfHandle(handle, caller)),
  ]);
  serve<[path: string, uid: number, gid: number]>("chown", (caller, [path, uid, gid]) =>
    setattr(path, caller, { ...(uid !== UNCHANGED && { uid }), ...(gid !== UNCHANGED && { gid }) }),
  );
  serve<[path: string, mode: number]>("chmod", (caller, [path, mode]) => setattr(path, caller, { mode }));
  serve<[path: string, low: number, high: number]>("truncate", (caller, [path, low, high]) =>
    setattr(path, caller, { size: wide(low, high) }),
  );
  serve<[path: null, handle: number, low: number, high: number]>("ftruncate", async (caller, [, handle, low, high]) => {
    return [0, encodeStat(await fs.setattrOfHandle(handle, { size: wide(low, high) }, caller))];
  });
  serve<[path: string, as: number, an: number, ms: number, mn: number]>("utimens", (caller, [path, as, an, ms, mn]) => {
    const [atime, mtime] = [timeOf(as, an), timeOf(ms, mn)];
    return setattr(path, caller, { ...(atime && { atime }), ...(mtime && { mtime }) });
  });
  serve<[path: string]>(
    "readlink",
    (caller, [path]) =>
      paths.inode(path, caller, async (ino) => [0, (await fs.readlink(ino, caller)).toString("latin1")]),
    [""],
  );

  serve<[path: string, mode: number, rdev: number]>("mknod", (caller, [path, mode, rdev]) =>
    paths.place(path, caller, async ({ dir, name }) => {
      return [0, encodeStat(await fs.mknod(dir, name, mode, rdev, caller))];
    }),
  );
  serve<[path: string, mode: number]>("mkdir", (caller, [path, mode]) =>
    paths.place(path, caller, async ({ dir, name }) => {
      return [0, encodeStat(await fs.mkdir(dir, name, mode, caller))];
    }),
  );
  serve<[target: string, path: string]>("symlink", (caller, [target, path]) =>
    paths.place(path, caller, async ({ dir, name }) => {
      return [0, encodeStat(await fs.symlink(dir, name, Buffer.from(target, "latin1"), caller))];
    }),
  );
  serve<[path: string]>("unlink", (caller, [path]) =>
    paths.place(path, caller, async ({ dir, name }) => {
      await fs.unlink(dir, name, caller);
      return DONE;
    }),
  );
  serve<[path: string]>("rmdir", (caller, [path]) =>
    paths.place(path, caller, async ({ dir, name }) => {
      await fs.rmdir(dir, name, caller);
      return DONE;
    }),
  );
  serve<[from: string, to: string]>("rename", (caller, [from, to]) =>
    paths.places(from, to, caller, async (source, target) => {
      await fs.rename(source, target, {}, caller);
      return DONE;
    }),
  );
  serve<[from: string, to: string]>("link", (caller, [from, to]) =>
    paths.place(to, caller, ({ dir, name }) =>
      paths.inode(from, caller, async (ino) => {
        return [0, encodeStat(await fs.link(ino, dir, name, caller))];
      }),
    ),
  );

  serve<[path: string, mode: number, flags: number]>(
    "create",
    (caller, [path, mode, flags]) =>
      paths.place(path, caller, async ({ dir, name }) => {
        const { handle, inode } = await fs.create(dir, name, mode, flags, caller);
        return [0, handle, encodeStat(inode)];
      }),
    [0],
  );
  serve<[path: string, flags: number]>(
    "open",
    (caller, [path, flags]) =>
      paths.inode(path, caller, async (ino) => {
        // The kernel leaves it to who truncates at open; libfuse does not say whether the caller may keep privileges, as root may.
        if ((flags & O_TRUNC) !== 0 && caller.uid !== 0) await fs.dropPrivileges(ino, caller);
        const { handle, grown } = await fs.open(ino, flags, caller);
        // libfuse cannot tell the kernel of a new size. Reads that go past the kernel's cache see the file as it is.
        return [0, handle, grown ? 1 : 0];
      }),
    [0, 0],
  );
  serve<[path: null, handle: number, length: number, offset: number]>(
    "read",
    async (caller, [, handle, length, offset], request) => [
      await fs.read(handle, offset, dataOf(request, length), caller),
    ],
  );
  serve<[path: null, handle: number, length: number, offset: number]>(
    "write",
    async (caller, [, handle, length, offset], request) => {
      await fs.write(handle, offset, dataOf(request, length), caller);
      return [length];
    },
  );
  serve<[path: null, handle: number]>("flush", async (caller, [, handle]) => {
    await fs.flush(handle, caller);
    return DONE;
  });
  serve<[path: null, dataOnly: number, handle: number]>("fsync", async (caller, [, , handle]) => {
    await fs.fsync(handle, caller);
    return DONE;
  });
  serve<[path: null, handle: number]>("release", async (_caller, [, handle]) => {
    await fs.release(handle);
    return DONE;
  });

  serve<[path: string, handle: number, flags: number]>(
    "opendir",
    (caller, [path]) => paths.inode(path, caller, async (ino) => [0, await fs.opendir(ino, caller)]),
    [0],
  );
  serve<[path: null, handle: number, from: number]>("readdir", async (caller, [, handle, from], request) => {
    await fs.readdir(
      handle,
      from,
      ({ name, ino, mode, next }) => addon.fuse_native_fill(request, name.toString("latin1"), ino, mode, next) === 0,
      caller,
    );
    return DONE;
  });
  serve<[path: null, handle: number]>("releasedir", async (_caller, [, handle]) => {
    fs.releasedir(handle);
    return DONE;
  });
  serve<[path: null, dataOnly: number, handle: number]>("fsyncdir", async (caller) => {
    await fs.fsyncdir(caller);
    return DONE;
  });

  serve<[path: string, name: string, length: number, flags: number]>(
    "setxattr",
    (caller, [path, name, length, flags], request) =>
      paths.inode(path, caller, async (ino) => {
        const mode = flags === XATTR_CREATE ? "create" : flags === XATTR_REPLACE ? "replace" : undefined;
        await fs.setxattr(ino, Buffer.from(name, "latin1"), dataOf(request, length), mode, caller);
        return DONE;
      }),
  );
  serve<[path: string, name: string, room: number]>("getxattr", (caller, [path, name, room], request) =>
    paths.inode(path, caller, async (ino) => [
      handOver(await fs.getxattr(ino, Buffer.from(name, "latin1"), caller), dataOf(request, room)),
    ]),
  );
  serve<[path: string, room: number]>("listxattr", (caller, [path, room], request) =>
    paths.inode(path, caller, async (ino) => {
      const names = await fs.listxattr(ino, caller);
      return [handOver(Buffer.concat(names.flatMap((name) => [name, NUL])), dataOf(request, room))];
    }),
  );
  serve<[path: string, name: string]>("removexattr", (caller, [path, name]) =>
    paths.inode(path, caller, async (ino) => {
      await fs.removexattr(ino, Buffer.from(name, "latin1"), caller);
      return DONE;
    }),
  );
  return handlers;
}

/** Which operations libfuse may call, as the addon takes it. */
export function implemented(addon: Addon): Uint32Array {
  const flags = new Uint32Array(HANDLERS);
  for (const operation of OPERATIONS) flags[addon[`op_${operation}`]] = 1;
  return flags;
}

const NUL = Buffer.of(0);
const EIO = resultOf(new CairnError("EIO", ""));

/** Copies a value out, or says how long it is where the program asks just that. ERANGE when it does not fit. */
function handOver(value: Buffer, target: Buffer): number {
  if (target.length === 0) return value.length;
  if (value.length > target.length) {
    throw new CairnError("ERANGE", `hand over ${value.length} bytes where there is room for ${target.length}`);
  }
  value.copy(target);
  return value.length;
}
