// A mount of an in-memory cluster, served by a process of its own. Used by the tests on real mounts.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, readlink, rm, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ServeSettings } from "../../fuse/daemon.js";
import { mountAt } from "../../fuse/mountinfo.js";
import { until } from "../support/until.js";

const SERVER = fileURLToPath(new URL("serve-memory.js", import.meta.url));
/** How long a shell command on a mount may take, ms. */
const COMMAND_MS = 240_000;

/** The bindings that every test on a real mount is run with. */
export const BOTH = ["kernel", "fuse-native"] as const;

/** Settings of the mount, and what goes wrong in its cluster. */
export interface TestSettings extends Partial<ServeSettings> {
  /** Log to standard output. */
  log?: boolean;
  /** This call to the namenode is never answered; "read": no content is ever read. */
  hang?: string;
  /** Files f000000, … in the root to begin with. */
  populate?: number;
  /** A directory in the root to begin with, with the file "inside" of user 12 and group 34. */
  folder?: string;
  /** An invariant breaks so long after the start, ms. */
  breakAfterMs?: number;
}

export interface TestMount {
  readonly dir: string;
  readonly server: ChildProcess;
  /** What the server has written to standard error. */
  readonly said: () => string;
  /** Resolves to the server's exit status, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals | null>;
  /** Unmounts, whatever state things are in, and removes the directory. */
  remove(): Promise<void>;
}

/** Starts a server on a directory of its own (or the one given) and waits until it is mounted, or has ended. */
export async function startMount(settings: TestSettings = {}): Promise<TestMount> {
  const dir = settings.mountpoint ?? (await mkdtemp(join(tmpdir(), "cairn-fuse-")));
  const server = spawn(process.execPath, [SERVER, dir, JSON.stringify(settings)], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  server.stderr?.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  let ended = false;
  const exited = new Promise<number | NodeJS.Signals | null>((resolve) => {
    server.once("close", (code, signal) => {
      ended = true;
      resolve(code ?? signal);
    });
  });
  const mount: TestMount = {
    dir,
    server,
    said: () => said,
    exited,
    async remove() {
      server.kill("SIGKILL");
      await exited;
      if (await mountAt(dir)) await shell(`umount -l --no-canonicalize '${dir}'`);
      await rmdir(dir).catch(() => rm(dir, { recursive: true, force: true }));
    },
  };
  try {
    await until(async () => ended || (await mountAt(dir)), { timeoutMs: 240_000, what: `a mount on ${dir}` });
  } catch (err) {
    await mount.remove();
    throw err;
  }
  return mount;
}

/** Runs a shell command; resolves to its standard output. Rejects with its standard error when it fails or takes too long. */
export function shell(command: string, cwd?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { cwd, timeout: COMMAND_MS, killSignal: "SIGKILL" as const, maxBuffer: 64 << 20 };
    execFile("/bin/sh", ["-ec", command], options, (err, stdout, stderr) => {
      if (err) reject(new Error(`${command}: ${stderr || err.message}`));
      else resolve(stdout);
    });
  });
}

/** The processes that have a text in their command line. */
async function processes(text: string): Promise<string[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "")));
  return pids.filter((_, i) => lines[i]!.includes(text));
}

/** How many processes have a folder as their working directory. */
export async function countProcessesIn(folder: string): Promise<number> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const folders = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => "")));
  return folders.filter((at) => at === folder).length;
}

/** How many processes have a text in their command line. */
export async function countProcesses(text: string): Promise<number> {
  return (await processes(text)).length;
}

/** How many threads the processes have that have a text in their command line. */
export async function countThreads(text: string): Promise<number> {
  const tasks = (await processes(text)).map((pid) => readdir(`/proc/${pid}/task`).catch(() => []));
  return (await Promise.all(tasks)).flat().length;
}
