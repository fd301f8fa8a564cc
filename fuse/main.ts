import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { connectClient } from "../client/index.js";
import { tuneForRequests, tuneForService, tuneForStreams } from "../common/engine.js";
import { messageOf, wrap } from "../common/errors.js";
import { createLogger } from "../common/log.js";
import { serve } from "./daemon.js";
import { announceDelay, endWithStarter } from "./ready.js";
import type { MountSettings } from "./settings.js";

/**
 * Runs a mount until it is unmounted, or SIGTERM or SIGINT come. Rejects when it cannot start, or could not commit everything.
 * The process's thread pool should be larger than Node's default (UV_THREADPOOL_SIZE, set before the start).
 */
export async function runMount(settings: MountSettings): Promise<void> {
  tuneForService();
  tuneForRequests();
  tuneForStreams();
  const log = createLogger("mount", settings.logLevel);
  const { namenode, secretFile, mountpoint, subdir, waitMs, patienceMs } = settings;
  endWithStarter();
  const secret = secretFile === undefined ? undefined : await readSecret(secretFile);
  const client = await connectClient({
    namenode,
    ...(secret !== undefined && { secret }),
    name: `mount ${mountpoint} on ${hostname()} (pid ${process.pid})`,
    log,
    watch: true,
    startPatienceMs: waitMs,
    waiting: (why) => {
      const waiting = `waiting up to ${waitMs / 1000} s for the namenode at ${namenode}: ${messageOf(why)}`;
      log.warn(waiting);
      announceDelay({ waiting });
    },
    patienceMs,
  });
  await serve(client, settings, settings.source ?? (subdir === "/" ? namenode : `${namenode}:${subdir}`), log);
  // Threads of libfuse that wait for programs which never let go must not keep the process.
  process.exit();
}

async function readSecret(path: string): Promise<string> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (err) {
    throw wrap(err, `read the cluster's secret in ${path}`);
  }
}
