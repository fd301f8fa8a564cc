import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CairnError } from "../../common/errors.js";
import { type ClusterConfig, readConfigIfAny } from "./config.js";
import { type Daemon, daemonsOf, runningPid } from "./daemons.js";
import { Layout } from "./layout.js";
import { withLock } from "./lock.js";
import { clear, mountedAt, mountsBelow } from "./mountpoint.js";
import { removePidFile, terminate } from "./process.js";

/** How long a daemon may take to end after SIGTERM, ms: a mount writes out what it still holds. */
const MOUNT_STOP_MS = 60_000;
const DAEMON_STOP_MS = 15_000;

/** Stops the cluster in a root: unmounts, then the datanodes, then the namenode. Its data stays, unless `wipe`. */
export async function stopCluster(root: string, wipe: boolean, say: (line: string) => void): Promise<void> {
  const layout = new Layout(root);
  const config = readConfigIfAny(root);
  if (config === undefined) {
    if (wipe && existsSync(layout.root)) {
      throw new CairnError("EINVAL", `cannot wipe ${layout.root}: it is not a cluster's root (it has no cluster.json)`);
    }
    say(`No cluster was started in ${layout.root}.`);
    return;
  }
  await withLock(layout, async () => {
    const { namenode, datanodes, mount } = daemonsOf(layout, config);
    await stopDaemon(layout, mount, MOUNT_STOP_MS, say);
    if ((await mountedAt(config.mount))?.type.startsWith("fuse")) {
      await clear(config.mount);
      say(`${config.mount} was still mounted; it has been cleared`);
    }
    await Promise.all(datanodes.map((datanode) => stopDaemon(layout, datanode, DAEMON_STOP_MS, say)));
    await stopDaemon(layout, namenode, DAEMON_STOP_MS, say);
    if (wipe) await removeData(layout, config);
  });
  if (wipe) {
    removeIfEmpty(layout.run);
    removeIfEmpty(layout.root);
    say(`Removed the data in ${layout.root}.`);
  }
}

async function stopDaemon(
  layout: Layout,
  daemon: Daemon,
  timeoutMs: number,
  say: (line: string) => void,
): Promise<void> {
  const pid = runningPid(layout, daemon);
  if (pid !== undefined) {
    const willing = await terminate(pid, timeoutMs);
    say(
      `${daemon.name.padEnd(12)} stopped${willing ? "" : `, by force: it had not ended after ${timeoutMs / 1000} s`}`,
    );
  }
  removePidFile(layout.pidFile(daemon.name));
}

/** Removes what clusters keep below a root, and nothing else that may lie there. EBUSY when something is mounted there. */
async function removeData(layout: Layout, config: ClusterConfig): Promise<void> {
  const mounted = await mountsBelow(layout.root);
  if (mounted.length > 0) {
    throw new CairnError("EBUSY", `cannot wipe ${layout.root}: ${mounted.join(", ")} is mounted below it`);
  }
  removeIfEmpty(config.mount);
  for (const entry of readdirSync(layout.root)) {
    if (/^(namenode|datanode-\d+|log|conf)$/.test(entry)) rmSync(join(layout.root, entry), { recursive: true });
  }
  rmSync(layout.config);
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "ENOENT") throw err;
  }
}
