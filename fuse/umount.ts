import { realpath } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Clock } from "../common/clock.js";
import { CairnError } from "../common/errors.js";
import { abortConnection } from "./abort.js";
import { type Ran, run } from "./deadline.js";
import { mountAt } from "./mountinfo.js";

/** How long an unmount waits for programs to let go unless told otherwise, ms. */
export const UNMOUNT_TIMEOUT_MS = 10_000;
/** Pause between two tries while the mount is in use, ms. */
const RETRY_MS = 100;
/** How long one run of umount(8) or fusermount(1) may take, ms. */
const PROGRAM_MS = 5000;

/** How a mount came to an end: "clean": nobody used it any more; "lazy": taken out of sight while still in use. */
export type Unmounted = "clean" | "lazy";

/** An absolute path without symlinks, the last part taken as it is: it may be a mountpoint that does not answer. */
export async function mountpointPath(path: string): Promise<string> {
  const absolute = resolve(path);
  return absolute === "/" ? absolute : join(await realpath(dirname(absolute)), basename(absolute));
}

/**
 * Unmounts a path: tries until it is no longer in use, and lazily when the time is up (programs that still have files open keep
 * them until the daemon ends). EINVAL when nothing is mounted there; EPERM where it is not allowed; ETIMEDOUT when the kernel
 * does not say.
 * @param options.timeoutMs how long to wait for programs; 0: lazily at once
 * @param options.force cut it off from its daemon first, which may hang, and do not wait
 */
export async function unmount(
  path: string,
  options: { clock: Clock; timeoutMs?: number; force?: boolean },
): Promise<Unmounted> {
  const { clock, force = false, timeoutMs = UNMOUNT_TIMEOUT_MS } = options;
  const mountpoint = await mountpointPath(path);
  const entry = await mountAt(mountpoint);
  if (!entry) throw new CairnError("EINVAL", `unmount ${mountpoint}: nothing is mounted there`);
  if (force) await abortConnection(entry);
  const deadline = clock.monotonic() + (force ? 0 : timeoutMs);
  while (clock.monotonic() < deadline) {
    const { said, late } = await attempt(mountpoint, false);
    if (!(await mountAt(mountpoint))) return "clean";
    if (late) throw new CairnError("ETIMEDOUT", `unmount ${mountpoint}: it hangs (cairn umount --force takes it away)`);
    if (!/busy/i.test(said)) throw new CairnError("EPERM", `unmount ${mountpoint}: ${said}`);
    await new Promise<void>((go) => clock.after(RETRY_MS, go));
  }
  const { said } = await attempt(mountpoint, true);
  if (await mountAt(mountpoint)) throw new CairnError("EBUSY", `unmount ${mountpoint}, lazily: ${said}`);
  return "lazy";
}

/** The commands that unmount, best first: umount(8) is root's, fusermount everybody's. */
export function unmountCommands(mountpoint: string, lazy: boolean): [program: string, args: string[]][] {
  const commands: [string, string[]][] = [];
  // Not canonicalized: that would ask the mounted file system, which may be dead.
  if (process.getuid?.() === 0) commands.push(["umount", [...(lazy ? ["-l"] : []), "--no-canonicalize", mountpoint]]);
  for (const program of ["fusermount", "fusermount3"])
    commands.push([program, [lazy ? "-uz" : "-u", "--", mountpoint]]);
  return commands;
}

/** One try, with the first command there is. */
async function attempt(mountpoint: string, lazy: boolean): Promise<Ran> {
  for (const [program, args] of unmountCommands(mountpoint, lazy)) {
    const result = await run(program, args, PROGRAM_MS);
    if (result) return result;
  }
  throw new CairnError(
    "ENOENT",
    `unmount ${mountpoint}: neither umount nor fusermount is installed (apt-get install fuse)`,
  );
}
