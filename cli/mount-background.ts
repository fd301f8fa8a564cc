import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CairnError } from "../common/errors.js";
import { flagOf } from "../common/settings.js";
import type { MountSettings } from "../fuse/settings.js";
import { lastLines, startInBackground } from "./background.js";
import { DEFAULT_ROOT } from "./cluster/layout.js";
import { terminate } from "./cluster/process.js";

/**
 * How long it may take until a folder is mounted, beside waiting for the namenode, ms: with the default of --wait-ms it is less than the
 * 90 s that init systems wait.
 */
const MOUNTED_MS = 50_000;
/** How long a mount that comes too late may take to end, ms. */
const STOP_MS = 5000;
const POLL_MS = 20;

/**
 * Starts the mount in a process of its own, and returns when it is there. Throws what that process could not do; ETIMEDOUT when the
 * namenode does not answer in time.
 */
export async function mountInBackground(settings: MountSettings): Promise<void> {
  const { mountpoint, secretFile, logFile, ...others } = settings;
  const path = resolve(mountpoint);
  const log = resolve(logFile ?? join(logFolder(), `mount${path.replaceAll("/", "-")}.log`));
  const flags = Object.entries({ ...others, ...(secretFile !== undefined && { secretFile: resolve(secretFile) }) })
    .filter(([, value]) => value !== undefined)
    .flatMap(([key, value]) => [flagOf(key), String(value)]);
  // Every setting is said by a flag: nothing is to come from the environment a second time.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("CAIRN_")));
  const daemon = startInBackground(["mount", path, ...flags], log, env);
  const limitMs = MOUNTED_MS + settings.waitMs;
  const deadline = performance.now() + limitMs;
  let told = false;
  while (daemon.said() === undefined && daemon.exit() === undefined) {
    const waiting = daemon.waiting();
    if (waiting !== undefined && !told) {
      process.stderr.write(`cairn: mount on ${path}: ${waiting}\n`);
      told = true;
    }
    if (performance.now() > deadline) {
      await terminate(daemon.pid, STOP_MS);
      const [last] = lastLines(log, 1);
      throw new CairnError(
        "ETIMEDOUT",
        `mount on ${path}: not there after ${limitMs / 1000} s; its log, ${log}: ${last}`,
      );
    }
    await sleep(POLL_MS);
  }
  const said = daemon.said();
  if (said === undefined) throw new CairnError("EIO", `mount on ${path}: ${daemon.exit()}; its log is ${log}`);
  if ("refused" in said) throw new CairnError(said.code, said.refused);
}

/** Where mounts in the background log. */
function logFolder(): string {
  return process.getuid?.() === 0 ? "/var/log/cairn" : join(DEFAULT_ROOT, "log");
}
