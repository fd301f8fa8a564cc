import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readSync, renameSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CairnError } from "../../common/errors.js";
import type { Announcement } from "../../fuse/ready.js";
import type { ClusterConfig } from "./config.js";
import { type DaemonName, datanodeName, type Layout } from "./layout.js";
import { readPidFile, writePidFile } from "./process.js";

/** The program every daemon is started with. */
const CAIRN = fileURLToPath(new URL("../cairn.cjs", import.meta.url));
/** A log larger than this is put aside (as .old) when its daemon starts, bytes. */
const MAX_LOG = 64 << 20;
/** How much of a log's end is looked at for its last lines, bytes. */
const TAIL_BYTES = 16 << 10;

/** One daemon of a cluster: how it is started, and by which words of its command line it is recognized. */
export interface Daemon {
  readonly name: DaemonName;
  readonly args: readonly string[];
  readonly words: readonly string[];
}

/** A daemon that was started just now. */
export interface Started {
  readonly pid: number;
  /** Why the daemon has ended already; undefined while it runs. */
  exit(): string | undefined;
  /** What a mount has said of itself once it was there; undefined before, and for other daemons. */
  mounted(): Announcement | undefined;
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

/** Starts a daemon in the background, in a session of its own, its output in its log. */
export function startDaemon(layout: Layout, daemon: Daemon): Started {
  mkdirSync(layout.logs, { recursive: true });
  mkdirSync(layout.run, { recursive: true });
  const path = layout.log(daemon.name);
  if (existsSync(path) && statSync(path).size > MAX_LOG) renameSync(path, `${path}.old`);
  const log = openSync(path, "a");
  const { CAIRN_NAMENODE: _, ...env } = process.env; // which cluster it belongs to is said by its flags
  const child = spawn(process.execPath, [CAIRN, ...daemon.args], {
    detached: true,
    cwd: "/",
    env,
    stdio: ["ignore", log, log, "ipc"],
  });
  closeSync(log);
  let mounted: Announcement | undefined;
  child.on("message", (message) => {
    mounted = message as Announcement;
  });
  let exit: string | undefined;
  child.on("error", (err) => {
    exit = `it could not be started: ${err.message}`;
  });
  if (child.pid === undefined) throw new CairnError("EAGAIN", `cannot start ${daemon.name}: no process could be made`);
  writePidFile(layout.pidFile(daemon.name), child.pid);
  child.on("exit", (code, name) => {
    exit = name === null ? `it ended with status ${code}` : `it was killed by ${name}`;
  });
  child.unref();
  child.channel?.unref();
  return { pid: child.pid, exit: () => exit, mounted: () => mounted };
}

/** The last lines of a daemon's log, for people. */
export function lastLines(layout: Layout, name: DaemonName, count: number): string[] {
  let fd: number;
  try {
    fd = openSync(layout.log(name), "r");
  } catch (err) {
    return [`(its log cannot be read: ${(err as Error).message})`];
  }
  try {
    const buffer = Buffer.alloc(TAIL_BYTES);
    const start = Math.max(0, statSync(layout.log(name)).size - TAIL_BYTES);
    const length = readSync(fd, buffer, 0, TAIL_BYTES, start);
    return buffer.toString("utf8", 0, length).trimEnd().split("\n").slice(-count);
  } finally {
    closeSync(fd);
  }
}
