import { spawn } from "node:child_process";
import type { CairnClient } from "../client/contract.js";
import { RealClock } from "../common/clock.js";
import { InvariantError } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import { signalled } from "../common/signals.js";
import { within } from "./deadline.js";
import { mount } from "./mount.js";
import { announce } from "./ready.js";
import type { MountSettings } from "./settings.js";
import { unmountCommands } from "./umount.js";

/** How long the client may take to close once everything is committed, or could not be, ms. */
const CLOSE_MS = 5000;

/** What of the settings a mount needs that already has its client. */
export type ServeSettings = Pick<
  MountSettings,
  "mountpoint" | "binding" | "allowOther" | "nonempty" | "cacheMs" | "readAhead" | "unmountTimeoutMs"
>;

/**
 * Mounts and serves until somebody unmounts, or SIGTERM or SIGINT come: then everything written is committed, the mount undone and
 * the client closed. Rejects when it cannot mount, and when something could not be committed. Whatever goes wrong beyond
 * understanding ends the process with status 1 and leaves no mount behind.
 */
export async function serve(client: CairnClient, settings: ServeSettings, source: string, log: Logger): Promise<void> {
  const clock = new RealClock();
  const stop = signalled(["SIGTERM", "SIGINT"]);
  const { mountpoint, allowOther = process.getuid?.() === 0, nonempty, cacheMs, readAhead, binding } = settings;
  const options = { source, binding, allowOther, nonempty, cacheMs, readAhead };
  try {
    const mounted = await mount({ client, mountpoint, options, clock, log });
    process.on("uncaughtException", (err) => die(mounted.mountpoint, log, err));
    log.info({ mountpoint: mounted.mountpoint, binding: mounted.binding }, "mounted");
    announce({ mountpoint: mounted.mountpoint, binding: mounted.binding });
    const signal = await Promise.race([stop, mounted.ended]);
    log.info({ mountpoint: mounted.mountpoint }, signal ? `${signal}: unmounting` : "unmounted by someone else");
    const how = await mounted.unmount(settings.unmountTimeoutMs);
    if (how === "lazy") log.warn({ mountpoint: mounted.mountpoint }, "unmounted while programs still used it");
  } finally {
    if ((await within(clock, CLOSE_MS, client.close(), "late")) === "late")
      log.error("the cluster did not say goodbye");
  }
  log.info("stopped");
}

/** Better down than wrong, but not with a mountpoint that hangs: it is taken away once this process is gone. */
function die(mountpoint: string, log: Logger, err: Error): never {
  log.fatal({ err }, err instanceof InvariantError ? "an invariant does not hold: stopping" : "stopping");
  for (const [program, args] of unmountCommands(mountpoint, true).slice(0, 1)) {
    spawn(program, args, { detached: true, stdio: "ignore" }).unref();
  }
  process.exit(1);
}
