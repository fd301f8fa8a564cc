import { invariant } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import type { FileSystem } from "../core.js";
import { flagWords, type MountFlags } from "../flags.js";
import { ENDED, loadAddon, type Request } from "./addon.js";
import { implemented, makeHandlers } from "./handlers.js";

/** A FUSE request's data at most, bytes: what libfuse 2 can take. */
const MAX_REQUEST = 131_072;
/** Longest option string the addon takes. */
const MAX_OPTIONS = 1023;

/** What the kernel is told at mount time. */
export interface NativeOptions extends MountFlags {
  /** Shown as the source of the mount. */
  readonly source: string;
  /** Whether other users than the one who mounts may use it. */
  readonly allowOther: boolean;
  /** How long the kernel may believe names and attributes, ms. */
  readonly cacheMs: number;
  /** Mount over a directory that is not empty. */
  readonly nonempty: boolean;
}

/** How long the kernel may believe names and attributes at most, ms: libfuse 2 cannot tell it of changes. */
const MAX_CACHE_MS = 1000;

/** Threads of libfuse, and what they share with the addon, live as long as the process. */
const threads: { thread: Buffer; locals: Set<Request> }[] = [];

/**
 * Mounts with libfuse 2 (fuse-native). Returns at once; `ready` resolves when requests are served, `ended` when the mount has
 * gone, whoever undid it. Throws when libfuse refuses; it says why on standard error.
 *
 * libfuse starts a thread for every request under way and keeps ten spare ones, so one that waits holds up no other. None of
 * its options limits their number; the kernel does: one request per system call, and 12 in the background.
 */
export function mountNative(
  fs: FileSystem,
  mountpoint: string,
  options: NativeOptions,
  log: Logger,
): { ready: Promise<void>; ended: Promise<void> } {
  const addon = loadAddon();
  const [thread, locals] = [Buffer.alloc(addon.sizeof_fuse_thread_t), new Set<Request>()];
  let resolveReady = (): void => {};
  let resolveEnded = (): void => {};
  const ready = new Promise<void>((resolve) => {
    resolveReady = resolve;
  });
  const ended = new Promise<void>((resolve) => {
    resolveEnded = resolve;
  });
  const handlers: (ReturnType<typeof makeHandlers>[number] | (() => void))[] = makeHandlers(
    addon,
    fs,
    log,
    resolveReady,
  );
  handlers[ENDED] = resolveEnded;
  const allocate = (size: number): Request => {
    const request = Buffer.alloc(size);
    locals.add(request);
    return request;
  };
  const optionString = optionsOf(options);
  invariant(optionString.length <= MAX_OPTIONS, "mount options fit what the addon takes");
  addon.fuse_native_mount(
    Buffer.from(mountpoint).toString("latin1"),
    optionString,
    thread,
    {},
    allocate,
    handlers,
    implemented(addon),
  );
  threads.push({ thread, locals });
  return { ready, ended };
}

function optionsOf(given: NativeOptions): string {
  const { source, allowOther, cacheMs, nonempty } = given;
  const seconds = Math.min(cacheMs, MAX_CACHE_MS) / 1000;
  const options = [
    `fsname=${Buffer.from(source).toString("latin1").replaceAll("\\", "\\\\").replaceAll(",", "\\,")}`,
    "subtype=cairn",
    "default_permissions",
    "use_ino",
    // Pages may stay over open as long as size and mtime do: close-to-open. Both are looked at afresh at every open.
    "auto_cache",
    "ac_attr_timeout=0",
    `attr_timeout=${seconds}`,
    `entry_timeout=${seconds}`,
    "big_writes",
    "atomic_o_trunc",
    `max_read=${MAX_REQUEST}`,
    ...flagWords(given),
  ];
  if (allowOther) options.push("allow_other");
  if (nonempty) options.push("nonempty");
  return `-o${options.join(",")}`;
}
