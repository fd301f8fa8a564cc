import type { Clock } from "../common/clock.js";
import { CairnError, codeOf, messageOf, wrap } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import type { FileSystem } from "./core.js";
import { within } from "./deadline.js";
import type { MountFlags } from "./flags.js";
import { mountKernel } from "./kernel/mount.js";
import { mountAt } from "./mountinfo.js";
import { checkFusermount } from "./native/fusermount.js";
import { mountNative } from "./native/mount.js";
import { unmount } from "./umount.js";

/** What drives the core: the kernel's protocol spoken by ourselves, or libfuse 2. */
export const BINDINGS = ["auto", "kernel", "fuse-native"] as const;
export type Binding = (typeof BINDINGS)[number];

/** How long the kernel may take to send its first request, ms. */
const READY_MS = 10_000;

/** What a binding is told. */
export interface BindingOptions extends MountFlags {
  readonly binding: Binding;
  readonly source: string;
  readonly allowOther: boolean;
  readonly cacheMs: number;
  readonly readAhead?: number | undefined;
  readonly nonempty: boolean;
}

/** A binding that serves requests. */
export interface Bound {
  readonly binding: Exclude<Binding, "auto">;
  /** Resolves when the mount has gone. */
  readonly ended: Promise<void>;
}

/**
 * Mounts with the binding that is asked for; "auto": with the kernel's, and where that fails, saying so, with fuse-native. Resolves
 * when requests are served; leaves no mount behind when it rejects.
 */
export async function bind(
  fs: FileSystem,
  mountpoint: string,
  options: BindingOptions,
  tools: { clock: Clock; log: Logger },
): Promise<Bound> {
  const { binding } = options;
  const native = async () => {
    await checkFusermount(options.allowOther);
    return attempt("fuse-native", mountpoint, tools.clock, () => mountNative(fs, mountpoint, options, tools.log));
  };
  if (binding === "fuse-native") return native();
  try {
    if (process.getuid?.() !== 0) throw new CairnError("EPERM", "only root may mount with the kernel binding");
    return await attempt("kernel", mountpoint, tools.clock, () => mountKernel(fs, mountpoint, options, tools));
  } catch (err) {
    if (binding === "kernel") throw err;
    tools.log.warn(`mounting with fuse-native, which is slower: ${messageOf(err)} (${codeOf(err)})`);
    return native();
  }
}

async function attempt(
  binding: Bound["binding"],
  mountpoint: string,
  clock: Clock,
  start: () => { ready: Promise<void>; ended: Promise<void> } | Promise<{ ready: Promise<void>; ended: Promise<void> }>,
): Promise<Bound> {
  try {
    const { ready, ended } = await start();
    if ((await within(clock, READY_MS, ready, "late")) === "late") {
      throw new CairnError("ETIMEDOUT", `mount on ${mountpoint}: the kernel sent no request for ${READY_MS} ms`);
    }
    return { binding, ended };
  } catch (err) {
    // libfuse mounts first and looks at its options then.
    if (await mountAt(mountpoint)) await unmount(mountpoint, { clock, timeoutMs: 0 });
    if (err instanceof CairnError) throw err;
    throw wrap(err, `mount on ${mountpoint} (libfuse says more on standard error)`);
  }
}
