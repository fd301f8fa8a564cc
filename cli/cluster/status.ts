import { readConfig } from "./config.js";
import { type Daemon, daemonsOf, runningPid } from "./daemons.js";
import type { Layout } from "./layout.js";
import { answers, mountedAt } from "./mountpoint.js";
import { askStatus } from "./ready.js";

/** One daemon of a cluster on this machine. */
export interface DaemonState {
  readonly name: string;
  readonly pid: number | null;
  /** "running", "not running", or what is wrong with one that runs. */
  readonly state: string;
}

/** What runs of a cluster on this machine. */
export interface ClusterState {
  readonly root: string;
  readonly mount: string;
  readonly statusPage: string;
  readonly daemons: readonly DaemonState[];
  /** Whether every daemon runs and does its work. */
  readonly up: boolean;
}

/** Looks at every daemon of the cluster in a root. ENOENT when none was started there. */
export async function clusterState(layout: Layout): Promise<ClusterState> {
  const config = readConfig(layout.root);
  const { namenode, datanodes, mount } = daemonsOf(layout, config);
  const known = await askStatus(config.httpPort).catch(() => undefined);
  const mounted = (await mountedAt(config.mount)) !== undefined && (await answers(config.mount));
  const state = (daemon: Daemon, complaint: string | undefined): DaemonState => {
    const pid = runningPid(layout, daemon) ?? null;
    return { name: daemon.name, pid, state: pid === null ? "not running" : (complaint ?? "running") };
  };
  const daemons = [
    state(namenode, known === undefined ? "does not answer" : undefined),
    ...datanodes.map((datanode, i) => {
      const seen = known?.datanodes.find((d) => d.address?.port === config.datanodePorts[i] && d.state === "live");
      return state(datanode, known === undefined || seen ? undefined : "not live in the namenode's eyes");
    }),
    state(mount, mounted ? undefined : `${config.mount} does not answer`),
  ];
  return {
    root: layout.root,
    mount: config.mount,
    statusPage: `http://127.0.0.1:${config.httpPort}/`,
    daemons,
    up: daemons.every((d) => d.state === "running"),
  };
}
