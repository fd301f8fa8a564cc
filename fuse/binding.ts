import type { Clock } from "../common/clock.js";
import { CairnError, codeOf, messageOf, wrap } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import type { FileSystem } from "./core.js";
import { mountKernel } from "./kernel/mount.js";
import { mountAt } from "./mountinfo.js";
import { mountNative } from "./native/mount.js";
import { unmount } from "./umount.js";

/** What drives the core: the kernel's protocol spoken by ourselves, or libfuse 2. */
export const BINDINGS = ["auto", "kernel", "fuse-native"] as const;
export type Binding = (typeof BINDINGS)[number];

/** What a binding is told. */
export interface BindingOptions {
  readonly binding: Binding;
  readonly source: string;
  readonly allowOther: boolean;
  readonly cacheMs: number;
  readonly readAhead: number;
  readonly nonempty: boolean;
}

/** A binding at work. */
export interface Bound {
  readonly binding: Exclude<Binding, "auto">;
  /** Resolves when requests are served. */
  readonly ready: Promise<void>;
  /** Resolves when the mount has gone. */
  readonly ended: Promise<void>;
}

/** Mounts with the binding that is asked for; "auto": with the kernel's, and where that fails, saying so, with fuse-native. */
export async function bind(
  fs: FileSystem,
  mountpoint: string,
  options: BindingOptions,
  tools: { clock: Clock; log: Logger },
): Promise<Bound> {
  const { binding } = options;
  if (binding === "fuse-native") return native(fs, mountpoint, options, tools);
  const why = process.getuid?.() === 0 ? undefined : "only root may mount with it";
  try {
    if (why !== undefined) throw new CairnError("EPERM", `use the kernel binding: ${why}`);
    return { binding: "kernel", ...(await mountKernel(fs, mountpoint, options, tools)) };
  } catch (err) {
    if (binding === "kernel") throw err;
    tools.log.warn(`mounting with fuse-native, which is slower: ${messageOf(err)} (${codeOf(err)})`);
    return native(fs, mountpoint, options, tools);
  }
}

async function native(
  fs: FileSystem,
  mountpoint: string,
  options: BindingOptions,
  { clock, log }: { clock: Clock; log: Logger },
): Promise<Bound> {
  try {
    return { binding: "fuse-native", ...mountNative(fs, mountpoint, options, log) };
  } catch (err) {
    // libfuse mounts first and looks at its options then.
    if (await mountAt(mountpoint)) await unmount(mountpoint, { clock, timeoutMs: 0 });
    if (err instanceof CairnError) throw err;
    throw wrap(err, `mount on ${mountpoint} (libfuse says more on standard error)`);
  }
}
