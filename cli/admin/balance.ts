import { randomInt } from "node:crypto";
import { Admin } from "../../proto/gen/services.js";
import type { BalanceReply } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import { SaidFailure } from "../errors.js";
import { human } from "../fs/format.js";
import { print } from "../output.js";

/** How often the request is repeated, ms. */
const POLL_MS = 1_000;
/** How often a line says how far it is, ms. */
const SAY_MS = 10_000;
const MAX_RUN = 2 ** 48 - 1;

/**
 * `cairn admin balance`: has replicas moved from full datanodes to empty ones until none is further than the threshold from
 * the average. May be stopped (Ctrl-C) and started at any time. SaidFailure: no move would help any more.
 * @param thresholdPpm millionths of a datanode's space
 */
export async function balance(link: Link, thresholdPpm: number): Promise<void> {
  const run = randomInt(1, MAX_RUN);
  let stop = false;
  let wake = () => {};
  const onSignal = () => {
    stop = true;
    wake();
  };
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  try {
    for (let said = -SAY_MS; ; ) {
      const reply = await link.call(Admin.balance, { run, thresholdPpm, stop });
      const ended = reply.state !== "moving";
      if (ended || performance.now() - said >= SAY_MS) {
        await print(`${progress(reply)}\n`);
        said = performance.now();
      }
      if (reply.state === "stuck") throw new SaidFailure("no replica can be moved that would help");
      if (ended) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, POLL_MS);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

function progress(reply: BalanceReply): string {
  const { state, movedBlocks, movedBytes, moving, averagePpm, fullestPpm, emptiestPpm } = reply;
  const [average, fullest, emptiest] = [averagePpm, fullestPpm, emptiestPpm].map(
    (ppm) => `${(ppm / 10_000).toFixed(2)}%`,
  );
  const now = moving > 0 ? `, ${moving} on their way` : "";
  return `${state}: ${movedBlocks} blocks (${human(movedBytes)}) moved${now}; datanodes ${emptiest} to ${fullest} full, ${average} together`;
}
