import { existsSync, mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { CairnError } from "../../common/errors.js";
import { NAMENODE_PORT } from "../../common/limits.js";
import type { Started } from "../background.js";
import { type ClusterConfig, MAX_DATANODES, readConfigIfAny, writeConfig } from "./config.js";
import { type Daemon, daemonsOf, runningPid, startDaemon } from "./daemons.js";
import type { Layout } from "./layout.js";
import { withLock } from "./lock.js";
import { answers, clear, mountedAt } from "./mountpoint.js";
import { freePort, isFree } from "./ports.js";
import { ended, signal } from "./process.js";
import { datanodesReady, mountReady, namenodeReady, READY_MS } from "./ready.js";

/** Datanodes of a cluster that does not say how many. */
const DEFAULT_DATANODES = 3;

/** What a start may ask for; what it does not say stays as it was at the last start. */
export interface StartOptions {
  readonly datanodes?: number;
  readonly mount?: string;
  /** 0: a free one. */
  readonly httpPort?: number;
}

/** A cluster that is up. */
export interface Running {
  readonly config: ClusterConfig;
  /** The daemons that had to be started; the others ran already. */
  readonly started: readonly Daemon[];
  /** What the mount speaks to the kernel with; undefined when it ran already. */
  readonly binding: string | undefined;
}

/** Starts what is not running of the cluster in a root, and returns when all of it does its work. */
export function startCluster(layout: Layout, options: StartOptions, say: (line: string) => void): Promise<Running> {
  return withLock(layout, async () => {
    const config = await decide(layout, options, say);
    writeConfig(layout.root, config);
    const { namenode, datanodes, mount } = daemonsOf(layout, config);
    const started = new Map<Daemon, Started>();
    const start = (daemon: Daemon) => {
      if (runningPid(layout, daemon) !== undefined) return;
      const process = startDaemon(layout, daemon);
      started.set(daemon, process);
      say(`${daemon.name.padEnd(12)} started, process ${process.pid}`);
    };
    start(namenode);
    await namenodeReady(config.httpPort, { layout, daemons: [namenode], started });
    for (const [i, datanode] of datanodes.entries()) {
      const isNew = !existsSync(layout.data(datanode.name));
      start(datanode);
      // New ones one after the other: so the ids that the namenode gives out are the numbers in their names.
      const ports = config.datanodePorts.slice(i, i + 1);
      if (isNew) await datanodesReady(config.httpPort, ports, { layout, daemons: [datanode], started });
    }
    await datanodesReady(config.httpPort, config.datanodePorts, { layout, daemons: datanodes, started });
    await mendMountpoint(layout, config, mount, say);
    start(mount);
    await mountReady(config.mount, { layout, daemons: [mount], started });
    return { config, started: [...started.keys()], binding: bindingOf(started.get(mount)) };
  });
}

function bindingOf(mount: Started | undefined): string | undefined {
  const said = mount?.said();
  return said !== undefined && "binding" in said ? said.binding : undefined;
}

/** What the cluster is to be: the options, else what it was, else the defaults; with ports that can be had. */
async function decide(layout: Layout, options: StartOptions, say: (line: string) => void): Promise<ClusterConfig> {
  const known = readConfigIfAny(layout.root);
  const running = (name: "namenode" | "mount") =>
    known !== undefined && runningPid(layout, daemonsOf(layout, known)[name]) !== undefined;
  const mount = resolve(options.mount ?? known?.mount ?? layout.mount);
  if (running("mount") && mount !== known?.mount) {
    throw new CairnError(
      "EBUSY",
      `cannot mount on ${mount}: the cluster in ${layout.root} is mounted on ${known?.mount}`,
    );
  }
  const httpPort = await decideHttpPort(layout, options, known?.httpPort, running("namenode"));
  const datanodePorts = await decideDatanodePorts(layout, options, known, httpPort, say);
  return { httpPort, datanodePorts, mount };
}

async function decideHttpPort(
  layout: Layout,
  { httpPort: asked }: StartOptions,
  known: number | undefined,
  running: boolean,
): Promise<number> {
  if (running && known !== undefined) {
    if (asked === undefined || asked === 0 || asked === known) return known;
    throw new CairnError("EBUSY", `cannot move to port ${asked}: the cluster in ${layout.root} runs on port ${known}`);
  }
  if (asked === 0) return known !== undefined && (await isFree(known)) ? known : freePort([]);
  const port = asked ?? known ?? NAMENODE_PORT;
  if (await isFree(port)) return port;
  throw new CairnError(
    "EADDRINUSE",
    `cannot start the namenode: port ${port} is taken by another program (choose one with --http-port, 0 for any that is free)`,
  );
}

async function decideDatanodePorts(
  layout: Layout,
  { datanodes: asked }: StartOptions,
  known: ClusterConfig | undefined,
  httpPort: number,
  say: (line: string) => void,
): Promise<number[]> {
  const ports: number[] = [];
  const daemons = known === undefined ? [] : daemonsOf(layout, known).datanodes;
  for (const [i, port] of (known?.datanodePorts ?? []).entries()) {
    const daemon = daemons[i];
    const usable = (daemon !== undefined && runningPid(layout, daemon) !== undefined) || (await isFree(port));
    if (!usable) say(`${daemon?.name}: port ${port} is taken by another program now; it gets another one`);
    ports.push(usable ? port : await freePort([httpPort, ...ports]));
  }
  const count = Math.max(asked ?? (known === undefined ? DEFAULT_DATANODES : 0), ports.length);
  if (asked !== undefined && asked < count) {
    say(`The cluster has ${count} datanodes, and keeps them: their blocks would be missed.`);
  }
  while (ports.length < Math.min(count, MAX_DATANODES)) ports.push(await freePort([httpPort, ...ports]));
  return ports;
}

/**
 * Sees to it that the mount can be made: its folder exists, and nothing dead is mounted there. A mount that runs and does not
 * answer, although the rest of the cluster does, is woken (it may have been stopped), and in the end replaced.
 */
async function mendMountpoint(
  layout: Layout,
  config: ClusterConfig,
  mount: Daemon,
  say: (line: string) => void,
): Promise<void> {
  const there = await mountedAt(config.mount);
  const pid = runningPid(layout, mount);
  if (pid !== undefined) {
    if (there === undefined || (await wakes(pid, config.mount))) return;
    say(`mount        does not answer (process ${pid}); it is replaced`);
    signal(pid, "SIGKILL");
    await clear(config.mount);
    await ended(pid, READY_MS);
  } else if (there !== undefined) {
    if (!there.type.startsWith("fuse") || (await answers(config.mount))) {
      throw new CairnError(
        "EBUSY",
        `cannot mount on ${config.mount}: ${there.source} (${there.type}) is mounted there`,
      );
    }
    await clear(config.mount);
    say(`${config.mount} was left behind by a mount that died; it has been cleared`);
  }
  mkdirSync(config.mount, { recursive: true });
}

/** Whether a mount that runs answers, within READY_MS. */
async function wakes(pid: number, mountpoint: string): Promise<boolean> {
  const deadline = performance.now() + READY_MS;
  while (!(await answers(mountpoint))) {
    if (performance.now() > deadline) return false;
    signal(pid, "SIGCONT");
  }
  return true;
}
