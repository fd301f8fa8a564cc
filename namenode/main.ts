import { tuneForRequests, tuneForService } from "../common/engine.js";
import { InvariantError } from "../common/errors.js";
import { createLogger, type Logger } from "../common/log.js";
import { signalled } from "../common/signals.js";
import { Namenode } from "./namenode.js";
import type { NamenodeSettings } from "./settings.js";

/**
 * Runs a namenode until SIGTERM or SIGINT, then shuts it down safely. Rejects when it cannot start. Whatever goes wrong
 * beyond understanding ends the process with status 1, nothing more written: the journal has what was answered.
 */
export async function runNamenode(settings: NamenodeSettings): Promise<void> {
  tuneForService();
  tuneForRequests();
  const log = createLogger("namenode", settings.logLevel);
  process.on("uncaughtException", (err) => die(log, err));
  const stop = signalled(["SIGTERM", "SIGINT"]);
  const namenode = new Namenode({ settings, log });
  await namenode.start().catch((err: unknown) => {
    if (err instanceof InvariantError) die(log, err);
    throw err;
  });
  const signal = await stop;
  log.info({ signal }, "shutting down");
  await namenode.close();
  log.info("stopped");
}

function die(log: Logger, err: Error): never {
  log.fatal({ err }, err instanceof InvariantError ? "an invariant does not hold: stopping" : "stopping");
  process.exit(1);
}
