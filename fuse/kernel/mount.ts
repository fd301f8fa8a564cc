import { endianness } from "node:os";
import type { Clock } from "../../common/clock.js";
import { CairnError } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import type { FileSystem } from "../core.js";
import { flagWords, type MountFlags } from "../flags.js";
import { READ_AHEAD } from "../readahead.js";
import { Ability, MAJOR, OLDEST_MINOR } from "./abi.js";
import { Connection, type Handler } from "./connection.js";
import { FuseDevice } from "./device.js";
import { makeHandlers } from "./handlers.js";
import { Notifier, writerOf } from "./notifier.js";
import { encodeInit } from "./reply.js";
import { decodeInit } from "./request.js";

/** Requests of read-ahead that may be under way. */
const MAX_BACKGROUND = 64;

/** What is asked of the kernel, as far as it can. */
const WANTED =
  Ability.ASYNC_READ |
  Ability.POSIX_LOCKS |
  Ability.FLOCK_LOCKS |
  Ability.ATOMIC_O_TRUNC |
  Ability.BIG_WRITES |
  Ability.DO_READDIRPLUS |
  Ability.READDIRPLUS_AUTO |
  Ability.ASYNC_DIO |
  Ability.PARALLEL_DIROPS |
  Ability.MAX_PAGES |
  Ability.CACHE_SYMLINKS |
  // Without it the kernel asks for security.capability before every write.
  Ability.HANDLE_KILLPRIV_V2;

/** What the kernel is told at mount time. */
export interface KernelOptions extends MountFlags {
  /** Shown as the source of the mount. */
  readonly source: string;
  /** Whether other users than the one who mounts may use it. */
  readonly allowOther: boolean;
  /** How long the kernel may believe names and attributes, ms. */
  readonly cacheMs: number;
  /** How far the kernel reads ahead in a file, bytes; READ_AHEAD unless set. */
  readonly readAhead?: number | undefined;
}

/**
 * Mounts by speaking the kernel's own protocol: for root. `ready` resolves when requests are served, `ended` when the mount has
 * gone, whoever undid it. EPERM where mounting is not allowed; ENOENT, EACCES of /dev/fuse; ENOSYS where this cannot be.
 */
export async function mountKernel(
  fs: FileSystem,
  mountpoint: string,
  options: KernelOptions,
  { clock, log }: { clock: Clock; log: Logger },
): Promise<{ ready: Promise<void>; ended: Promise<void> }> {
  if (endianness() !== "LE") throw new CairnError("ENOSYS", "speak the FUSE protocol on a big-endian machine");
  const device = new FuseDevice();
  try {
    await device.mount(mountpoint, options.source, [
      "default_permissions",
      ...flagWords(options),
      ...(options.allowOther ? ["allow_other"] : []),
    ]);
  } catch (err) {
    device.close();
    throw err;
  }
  let resolveReady!: () => void;
  let rejectReady!: (err: CairnError) => void;
  const ready = new Promise<void>((resolve, reject) => {
    resolveReady = resolve;
    rejectReady = reject;
  });
  const init: Handler = async (request) => {
    const { major, minor, maxReadahead, abilities } = decodeInit(request.body);
    if (major !== MAJOR || minor < OLDEST_MINOR) {
      const err = new CairnError("EPROTO", `speak FUSE ${major}.${minor}; at least ${MAJOR}.${OLDEST_MINOR} is needed`);
      rejectReady(err);
      throw err;
    }
    log.debug({ minor, abilities: abilities.toString(16) }, "the kernel agrees");
    const agreed = {
      abilities: abilities & WANTED,
      maxReadahead: Math.max(maxReadahead, options.readAhead ?? READ_AHEAD.kernel),
      maxBackground: MAX_BACKGROUND,
      minor,
    };
    request.answer(encodeInit(agreed));
    resolveReady();
  };
  const { cacheMs } = options;
  const kernel = new Notifier(writerOf(device.fd), (message) => device.write(message), log);
  fs.attach(kernel);
  const handlers = makeHandlers(fs, {
    cacheMs,
    forgetAttributes: (ino) => kernel.forgetAttributes(ino),
    forgetContent: (ino) => kernel.contentForgotten(ino),
    init,
  });
  const connection = new Connection(device, handlers, { clock, log });
  device.read(connection);
  void connection.ended.then(() => kernel.close());
  return { ready, ended: connection.ended };
}
