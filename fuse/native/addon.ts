import { createRequire } from "node:module";
import { dirname } from "node:path";
import { CairnError, messageOf } from "../../common/errors.js";

/**
 * What libfuse's thread waits with for its answer: the buffer that stands for it, handed to the handler and back to the
 * signal function. Its first twelve bytes are uid, gid and pid of the caller; from `offsetof_fuse_thread_locals_t_data` on it
 * has the data that is written, and takes what is read.
 */
export type Request = Buffer;

/** The operations of libfuse 2 that the binding serves, in fuse-native's names. */
export const OPERATIONS = [
  "init",
  "statfs",
  "fgetattr",
  "getattr",
  "flush",
  "fsync",
  "fsyncdir",
  "readdir",
  "truncate",
  "ftruncate",
  "utimens",
  "readlink",
  "chown",
  "chmod",
  "mknod",
  "setxattr",
  "getxattr",
  "listxattr",
  "removexattr",
  "open",
  "opendir",
  "read",
  "write",
  "release",
  "releasedir",
  "create",
  "unlink",
  "rename",
  "link",
  "symlink",
  "mkdir",
  "rmdir",
] as const;

export type Operation = (typeof OPERATIONS)[number];

/** Answers a request: a result (bytes, 0, or a negative errno) and what the operation returns beside it. Wakes libfuse's thread. */
export type Signal = (request: Request, result: number, ...values: unknown[]) => void;

/** Called for every request: which operation, and its arguments. Strings hold bytes, one per character (Latin-1). */
export type Handler = (request: Request, operation: number, ...args: never[]) => void;

/** The handler after those of the operations: called once when the mount has gone. */
export const ENDED = 34;
/** Length of the table of handlers. */
export const HANDLERS = 35;

/** The addon of fuse-native, as scripts/patch-fuse-native.mjs builds it. */
export type Addon = {
  readonly sizeof_fuse_thread_t: number;
  readonly offsetof_fuse_thread_locals_t_data: number;
  fuse_native_mount(
    mountpoint: string,
    options: string,
    thread: Buffer,
    context: object,
    allocate: (size: number) => Buffer,
    handlers: (Handler | (() => void) | undefined)[],
    implemented: Uint32Array,
  ): void;
  /** Adds one entry to the answer of the readdir that `request` is; 1: it did not fit. */
  fuse_native_fill(request: Request, name: string, ino: number, mode: number, next: number): number;
} & { readonly [K in Operation as `op_${K}`]: number } & {
  readonly [K in Operation as `fuse_native_signal_${K}`]: Signal;
};

/** Loads the addon. ENOENT says which library is missing, ENOEXEC that the addon lacks our patch. */
export function loadAddon(): Addon {
  const require = createRequire(import.meta.url);
  let addon: Partial<Addon>;
  try {
    const load = require("node-gyp-build") as (directory: string) => Partial<Addon>;
    addon = load(dirname(require.resolve("fuse-native/package.json")));
  } catch (err) {
    if (messageOf(err).includes("libfuse.so.2")) {
      throw new CairnError("ENOENT", "mount with fuse-native: libfuse.so.2 is missing; apt-get install libfuse2", err);
    }
    throw new CairnError("ENOEXEC", "load the addon of fuse-native; node scripts/patch-fuse-native.mjs builds it", err);
  }
  if (!addon.fuse_native_fill) {
    throw new CairnError("ENOEXEC", "use fuse-native as published; run node scripts/patch-fuse-native.mjs first");
  }
  return addon as Addon;
}
