import { existsSync, mkdirSync } from "node:fs";
import { type Started, startInBackground } from "../background.js";
import type { ClusterConfig } from "./config.js";
import { type DaemonName, datanodeName, type Layout } from "./layout.js";
import { readPidFile, writePidFile } from "./process.js";

/** One daemon of a cluster: how it is started, and by which words of its command line it is recognized. */
export interface Daemon {
  readonly name: DaemonName;
  readonly args: readonly string[];
  readonly words: readonly string[];
}

/** Copies of a block unless there are fewer datanodes, where more could never be made. */
const DEFAULT_REPLICAS = 3;

/** The daemons of a cluster, in the order of starting. */
export function daemonsOf(
  layout: Layout,
  config: ClusterConfig,
): { namenode: Daemon; datanodes: Daemon[]; mount: Daemon } {
  const url = `http://127.0.0.1:${config.httpPort}`;
  const count = config.datanodePorts.length;
  const fewer = count < DEFAULT_REPLICAS && process.env["CAIRN_NAMENODE_REPLICAS"] === undefined;
  const daemon = (kind: string, name: string, own: string[], flags: string[]): Daemon => ({
    name,
    args: [kind, ...own, ...flags, ...settingsFile(layout, kind)],
    words: [kind, ...own],
  });
  return {
    namenode: daemon(
      "namenode",
      "namenode",
      ["--data-dir", layout.data("namenode")],
      ["--port", String(config.httpPort), ...(fewer ? ["--replicas", String(count)] : [])],
    ),
    datanodes: config.datanodePorts.map((port, i) => {
      const name = datanodeName(i + 1);
      return daemon("datanode", name, ["--data-dirs", layout.data(name)], ["--namenode", url, "--port", String(port)]);
    }),
    mount: daemon("mount", "mount", [config.mount], ["--namenode", url]),
  };
}

function settingsFile(layout: Layout, kind: string): string[] {
  const path = layout.settings(kind);
  return existsSync(path) ? ["--config", path] : [];
}

/** The process id of a daemon, if it runs. */
export function runningPid(layout: Layout, daemon: Daemon): number | undefined {
  return readPidFile(layout.pidFile(daemon.name), daemon.words);
}

/** Starts a daemon in the background. */
export function startDaemon(layout: Layout, daemon: Daemon): Started {
  mkdirSync(layout.run, { recursive: true });
  const { CAIRN_NAMENODE: _, ...env } = process.env; // which cluster it belongs to is said by its flags
  const started = startInBackground(daemon.args, layout.log(daemon.name), env);
  writePidFile(layout.pidFile(daemon.name), started.pid);
  return started;
}
