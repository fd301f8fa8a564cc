import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { processInfo } from "../../cli/cluster/process.js";
import { type Outcome, type RunOptions, run } from "./run.js";
import { until } from "./until.js";

/** The built command. */
export const CAIRN = fileURLToPath(new URL("../../cli/cairn.cjs", import.meta.url));

/** Of `cairn admin report --json`, what tests look at. */
export interface Report {
  cluster: string;
  capacity: number;
  used: number;
  files: number;
  blocks: number;
  underReplicated: number;
  missing: number;
  corrupt: number;
  pendingReplications: number;
  datanodes: {
    id: number;
    address: string;
    rack: string;
    state: string;
    blocks: number;
    used: number;
    free: number;
    lastHeartbeat: string | null;
  }[];
}

/** `cairn admin fsck --json`. */
export interface Fsck {
  files: {
    path: string;
    size: number;
    blockSize: number;
    wantedReplicas: number;
    blocks: { id: number; length: number; liveReplicas: number[]; corruptReplicas: number[] }[];
  }[];
  summary: {
    files: number;
    blocks: number;
    missing: number;
    corrupt: number;
    underReplicated: number;
    overReplicated: number;
    healthy: boolean;
  };
}

/** Settings under which failures are noticed in seconds. A test may set others. */
const QUICK: NodeJS.ProcessEnv = {
  CAIRN_NAMENODE_HEARTBEAT_MS: "500",
  CAIRN_NAMENODE_DEAD_AFTER_MS: "3000",
  // Should a test be killed while its namenode is down, whoever has files open must not hang for a day.
  CAIRN_MOUNT_PATIENCE_MS: "120000",
};

const START_MS = 300_000;

/** Environment of programs under test: none of our own variables but those given. */
export function cleanEnv(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("CAIRN_"));
  return { ...Object.fromEntries(own), ...extra };
}

/** Runs the built `cairn` command. */
export function cairn(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return run(process.execPath, [CAIRN, ...args], { env: cleanEnv(), ...options });
}

/** Clusters that have not been destroyed: cleared away when the process ends, whatever the tests did. */
const alive = new Set<TestCluster>();
process.on("exit", () => {
  for (const cluster of alive) cluster.destroy();
});
for (const [signal, number] of [
  ["SIGHUP", 1],
  ["SIGINT", 2],
  ["SIGTERM", 15],
] as const) {
  process.once(signal, () => process.exit(128 + number));
}

/** A real cluster for a test: real processes of the built command, in a folder of its own, on free ports, mounted. */
export class TestCluster {
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;

  constructor(env: NodeJS.ProcessEnv = {}) {
    this.root = mkdtempSync(join(tmpdir(), "cairn-e2e-"));
    this.env = cleanEnv({ ...QUICK, ...env });
    alive.add(this);
  }

  /** Makes a cluster and starts it. */
  static async start(options: { datanodes?: number; env?: NodeJS.ProcessEnv } = {}): Promise<TestCluster> {
    const cluster = new TestCluster(options.env);
    const { datanodes } = options;
    await cluster.up("--http-port", "0", ...(datanodes === undefined ? [] : ["--datanodes", String(datanodes)]));
    return cluster;
  }

  get mount(): string {
    return join(this.root, "mnt");
  }
  get port(): number {
    return (JSON.parse(readFileSync(join(this.root, "cluster.json"), "utf8")) as { httpPort: number }).httpPort;
  }
  get datanodePorts(): number[] {
    return (JSON.parse(readFileSync(join(this.root, "cluster.json"), "utf8")) as { datanodePorts: number[] })
      .datanodePorts;
  }

  /** `cairn cluster start`; returns what it printed. */
  async up(...flags: string[]): Promise<string> {
    const args = ["cluster", "start", "--root", this.root, ...flags];
    const { code, stdout, stderr } = await cairn(args, { env: this.env, timeoutMs: START_MS });
    if (code !== 0) throw new Error(`the cluster did not start:\n${stdout}${stderr}`);
    return stdout;
  }

  /** `cairn cluster stop`. */
  async down(): Promise<void> {
    await this.ok(["cluster", "stop"]);
  }

  /** Mounts it once more, in another folder of the root and by a daemon of its own; resolves to the folder. */
  async mountAlso(name: string): Promise<string> {
    const dir = join(this.root, name);
    mkdirSync(dir);
    const args = [CAIRN, "mount", dir, "--root", this.root];
    spawn(process.execPath, args, { env: this.env, stdio: "ignore" });
    await until(() => mountpointsBelow(this.root).includes(dir), { what: `a mount on ${dir}`, timeoutMs: START_MS });
    return dir;
  }

  /** Runs a command on this cluster. */
  cairn(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return cairn([...args, "--root", this.root], { env: this.env, ...options });
  }

  /** Runs a command on this cluster that must succeed; its standard output. */
  async ok(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.cairn(args, options);
    if (code !== 0) throw new Error(`cairn ${args.join(" ")}: exit status ${code}\n${stdout.slice(-2000)}${stderr}`);
    return stdout;
  }

  /** `cairn admin report --json`. */
  async report(): Promise<Report> {
    return JSON.parse(await this.ok(["admin", "report", "--json"])) as Report;
  }

  /** `cairn admin fsck --json`, healthy or not. */
  async fsck(path = "/"): Promise<Fsck> {
    const { stdout, stderr, code } = await this.cairn(["admin", "fsck", "--json", path]);
    const fsck = code <= 1 && stdout !== "" ? (JSON.parse(stdout) as Fsck) : undefined;
    if (fsck === undefined || fsck.summary.healthy !== (code === 0)) {
      throw new Error(`fsck ${path}: exit status ${code}\n${stdout.slice(-2000)}${stderr}`);
    }
    return fsck;
  }

  /** The namenode's page as JSON. */
  async status(): Promise<Report & { health: unknown; events: { severity: string; message: string }[] }> {
    const reply = await fetch(`http://127.0.0.1:${this.port}/api/status`, { signal: AbortSignal.timeout(60_000) });
    return (await reply.json()) as Awaited<ReturnType<TestCluster["status"]>>;
  }

  /** Waits until every block below the root has all its replicas. */
  async healthy(timeoutMs = 300_000): Promise<Fsck> {
    return until(
      async () => {
        const fsck = await this.fsck();
        return fsck.summary.healthy && fsck;
      },
      { timeoutMs, what: "every block to have its replicas" },
    );
  }

  /** Waits until the namenode shows a datanode (by its number, 1, 2, …) in a state. */
  async datanodeIs(number: number, state: string, timeoutMs = 300_000): Promise<void> {
    const address = `:${this.datanodePorts[number - 1]}`;
    await until(
      async () => (await this.report()).datanodes.some((d) => d.address.endsWith(address) && d.state === state),
      { timeoutMs, what: `datanode-${number} to be ${state}` },
    );
  }

  /** The process id of a daemon: "namenode", "datanode-1", …, "mount". */
  pid(name: string): number {
    return Number(readFileSync(join(this.root, "run", `${name}.pid`), "utf8"));
  }

  /** When a daemon was started, ms since 1970 (to a hundredth of a second); undefined while it does not run. */
  startedMs(name: string): number | undefined {
    const pid = this.pid(name);
    return isOurs(pid, this.root) ? processInfo(pid)?.startedMs : undefined;
  }

  /** Sends a signal to a daemon, and for SIGKILL waits until it is gone. */
  async kill(name: string, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const pid = this.pid(name);
    process.kill(pid, signal);
    if (signal !== "SIGKILL") return;
    await until(() => !isOurs(pid, this.root), { what: `${name} to be gone` });
  }

  /** Kills a daemon and starts it again (with whatever else is not running). */
  async restart(name: string): Promise<void> {
    await this.kill(name);
    await this.up();
  }

  /** A daemon's log. */
  log(name: string): string {
    return readFileSync(join(this.root, "log", `${name}.log`), "utf8");
  }

  /** Kills and removes everything of this cluster, at once and whatever state it is in. KEEP_CLUSTERS=1 keeps the files. */
  destroy(): void {
    if (!alive.delete(this)) return;
    for (const entry of readdirSync("/proc")) {
      if (/^\d+$/.test(entry) && isOurs(Number(entry), this.root)) process.kill(Number(entry), "SIGKILL");
    }
    for (const mountpoint of mountpointsBelow(this.root)) detach(mountpoint, this.root);
    if (process.env["KEEP_CLUSTERS"]) process.stderr.write(`kept: ${this.root}\n`);
    else rmSync(this.root, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

/** Whether a process is a living daemon of the cluster in a root: its command line names a folder below it. */
function isOurs(pid: number, root: string): boolean {
  const argv = processInfo(pid)?.argv ?? [];
  return argv.includes(CAIRN) && argv.some((word) => word.startsWith(`${root}/`));
}

/** Takes a mount away. Some go by themselves when their daemons are killed. */
function detach(mountpoint: string, root: string): void {
  try {
    execFileSync("umount", ["-l", "--no-canonicalize", mountpoint], { stdio: "pipe" });
  } catch (err) {
    if (mountpointsBelow(root).includes(mountpoint)) throw err;
  }
}

function mountpointsBelow(root: string): string[] {
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "");
  return points.filter((at) => at.startsWith(`${root}/`)).reverse();
}

/** Fails where there is no FUSE: a test of the mount must not pass by not running. */
export function requireFuse(): void {
  if (!existsSync("/dev/fuse")) throw new Error("/dev/fuse is missing: the mount cannot be tested here");
}
