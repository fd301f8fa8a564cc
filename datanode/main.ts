import { tuneForService, tuneForStreams } from "../common/engine.js";
import { InvariantError } from "../common/errors.js";
import { createLogger, type Logger } from "../common/log.js";
import { signalled } from "../common/signals.js";
import { Datanode } from "./datanode.js";
import type { DatanodeSettings } from "./settings.js";

/**
 * Runs a datanode until SIGTERM or SIGINT, then shuts it down safely. Rejects when it cannot start, or cannot go on: its
 * volumes belong to another cluster, or the last of them has failed. Whatever goes wrong beyond understanding ends the
 * process with status 1: finalized replicas are whole, and unfinished ones are garbage.
 */
export async function runDatanode(settings: DatanodeSettings): Promise<void> {
  tuneForService();
  tuneForStreams();
  const log = createLogger("datanode", settings.logLevel);
  process.on("uncaughtException", (err) => die(log, err));
  const stop = signalled(["SIGTERM", "SIGINT"]);
  const datanode = new Datanode({ settings, log });
  await datanode.start();
  const end = await Promise.race([stop, datanode.failed]);
  if (typeof end === "string") log.info({ signal: end }, "shutting down");
  else log.error({ err: end.message }, "cannot go on");
  await datanode.close();
  log.info("stopped");
  if (typeof end !== "string") throw end;
}

function die(log: Logger, err: Error): never {
  log.fatal({ err }, err instanceof InvariantError ? "an invariant does not hold: stopping" : "stopping");
  process.exit(1);
}
