import { spawn } from "node:child_process";
import type { CairnClient } from "../client/contract.js";
import { RealClock } from "../common/clock.js";
import { InvariantError } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import { within } from "./deadline.js";
import type { MountFlags } from "./flags.js";
import { mount } from "./mount.js";
import { announce } from "./ready.js";
import type { MountSettings } from "./settings.js";
import type { Owner } from "./squash.js";
import { unmountCommands } from "./umount.js";

/** Signals that stop a mount. A second one has it end at once. */
const STOPPING: NodeJS.Signals[] = ["SIGTERM", "SIGINT"];
/** How long the client may take to close once everything is committed, or could not be, ms. */
const CLOSE_MS = 5000;

/** What of the settings a mount needs that already has its client. */
export type ServeSettings = MountFlags &
  Owner &
  Pick<
    MountSettings,
    | "mountpoint"
    | "subdir"
    | "binding"
    | "allowOther"
    | "nonempty"
    | "cacheMs"
    | "readAhead"
    | "nodiratime"
    | "trash"
    | "unmountTimeoutMs"
  >;

/**
 * Mounts and serves until somebody unmounts, or SIGTERM or SIGINT come: then everything written is committed, the mount undone and
 * the client closed. Rejects when it cannot mount, and when something could not be committed. Whatever goes wrong beyond
 * understanding, and a second signal, end the process with status 1; no mount is left behind.
 */
export async function serve(client: CairnClient, settings: ServeSettings, source: string, log: Logger): Promise<void> {
  const clock = new RealClock();
  const { first, second } = stopSignals();
  const { mountpoint, unmountTimeoutMs, allowOther = process.getuid?.() === 0, ...given } = settings;
  const options = { ...given, source, allowOther };
  try {
    const mounted = await mount({ client, mountpoint, options, clock, log });
    process.on("uncaughtException", (err) => {
      const why = err instanceof InvariantError ? "an invariant does not hold" : "an error that nobody expected";
      abandon(mounted.mountpoint, log, why, err);
    });
    log.info({ mountpoint: mounted.mountpoint, binding: mounted.binding }, "mounted");
    announce({ mountpoint: mounted.mountpoint, binding: mounted.binding });
    const signal = await Promise.race([first, mounted.ended]);
    void second.then((again) => abandon(mounted.mountpoint, log, `${again} while stopping`));
    log.info({ mountpoint: mounted.mountpoint }, signal ? `${signal}: unmounting` : "unmounted by someone else");
    const how = await mounted.unmount(unmountTimeoutMs);
    if (how === "lazy") log.warn({ mountpoint: mounted.mountpoint }, "unmounted while programs still used it");
  } finally {
    if ((await within(clock, CLOSE_MS, client.close(), "late")) === "late")
      log.error("the cluster did not say goodbye");
  }
  log.info("stopped");
}

/** Listens for the first signal that stops a mount, and the second. Later ones mean nothing: it is ending. */
function stopSignals(): { first: Promise<NodeJS.Signals>; second: Promise<NodeJS.Signals> } {
  const resolves: ((signal: NodeJS.Signals) => void)[] = [];
  const next = () => new Promise<NodeJS.Signals>((resolve) => resolves.push(resolve));
  const [first, second] = [next(), next()];
  for (const signal of STOPPING) process.on(signal, () => resolves.shift()?.(signal));
  return { first, second };
}

/**
 * Ends at once: better down than wrong. But not with a mountpoint that hangs: it is taken away once this process is gone. What was
 * not committed is lost.
 */
function abandon(mountpoint: string, log: Logger, why: string, err?: Error): never {
  log.fatal({ mountpoint, ...(err && { err }) }, `${why}: stopping at once`);
  for (const [program, args] of unmountCommands(mountpoint, true).slice(0, 1)) {
    spawn(program, args, { detached: true, stdio: "ignore" }).unref();
  }
  process.exit(1);
}
