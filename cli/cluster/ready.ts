import { setTimeout as sleep } from "node:timers/promises";
import { CairnError, messageOf } from "../../common/errors.js";
import { Admin } from "../../proto/gen/services.js";
import type { StatusReply } from "../../proto/gen/types.js";
import { withNamenode } from "../admin/connect.js";
import { lastLines, type Started } from "../background.js";
import type { Daemon } from "./daemons.js";
import type { Layout } from "./layout.js";
import { answers, mountedAt } from "./mountpoint.js";

/** How long a daemon may take until it does its work, ms. */
export const READY_MS = 30_000;
const POLL_MS = 50;
/** How long the namenode may take to answer one question, ms. */
const STATUS_MS = 2_000;
/** Lines of a failed daemon's log that are shown. */
const SHOWN_LINES = 12;

/** What the namenode on a port of this machine says of the cluster. Rejects when it does not answer. */
export function askStatus(port: number): Promise<StatusReply> {
  return withNamenode({ host: "127.0.0.1", port }, undefined, (link) =>
    link.call(Admin.status, {}, { deadlineMs: STATUS_MS }),
  );
}

/** Waits until the namenode answers. */
export function namenodeReady(port: number, wait: Wait): Promise<void> {
  return until(wait, async () => {
    await askStatus(port);
    return undefined;
  });
}

/** Waits until the namenode counts the datanodes of these ports as live. */
export function datanodesReady(port: number, datanodePorts: readonly number[], wait: Wait): Promise<void> {
  return until(wait, async () => {
    const { datanodes } = await askStatus(port);
    const live = new Set(datanodes.filter((d) => d.state === "live").map((d) => d.address?.port));
    const absent = datanodePorts.filter((p) => !live.has(p));
    return absent.length === 0 ? undefined : `the namenode has no live datanode on port ${absent.join(", ")}`;
  });
}

/** Waits until the mountpoint has a file system that answers, and a mount started just now has said what it is. */
export function mountReady(mountpoint: string, wait: Wait): Promise<void> {
  return until(wait, async () => {
    const silent = [...wait.started].some(([daemon, { said }]) => wait.daemons.includes(daemon) && !said());
    if (silent || (await mountedAt(mountpoint)) === undefined) return `nothing is mounted on ${mountpoint} yet`;
    return (await answers(mountpoint)) ? undefined : `the file system on ${mountpoint} does not answer`;
  });
}

/** What is waited for, and the daemons it depends on. */
export interface Wait {
  readonly layout: Layout;
  readonly daemons: readonly Daemon[];
  /** Those that were started just now, to notice at once when one fails. */
  readonly started: ReadonlyMap<Daemon, Started>;
}

/** Polls until check finds nothing amiss. EIO, with the end of a log, when a daemon ends or READY_MS have passed. */
async function until(wait: Wait, check: () => Promise<string | undefined>): Promise<void> {
  const deadline = performance.now() + READY_MS;
  for (;;) {
    const amiss = await check().catch(messageOf);
    if (amiss === undefined) return;
    for (const daemon of wait.daemons) {
      const exit = wait.started.get(daemon)?.exit();
      if (exit !== undefined) throw failure(wait.layout, daemon, exit);
    }
    const [first] = wait.daemons;
    if (performance.now() > deadline && first !== undefined) {
      throw failure(wait.layout, first, `not ready after ${READY_MS / 1000} s: ${amiss}`);
    }
    await sleep(POLL_MS);
  }
}

function failure(layout: Layout, daemon: Daemon, why: string): CairnError {
  const lines = lastLines(layout.log(daemon.name), SHOWN_LINES).map((line) => `    ${line}`);
  return new CairnError(
    "EIO",
    `${daemon.name} failed: ${why}. The end of its log, ${layout.log(daemon.name)}:\n${lines.join("\n")}\n`,
  );
}
