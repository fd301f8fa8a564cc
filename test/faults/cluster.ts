import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cairn, type Fsck, type Report } from "../support/cluster.js";
import { run, sh } from "../support/run.js";
import { until } from "../support/until.js";
import { check, underWay } from "./check.js";
import { Daemon, type DaemonOptions } from "./daemon.js";
import { Load } from "./load.js";
import { addressOf, Network } from "./network.js";

const NAMENODE_PORT = 9870;
const DATANODE_PORT = 9864;
/** Volumes of one datanode. */
export const VOLUMES = 2;
/** How long a start, or anything that only takes long on a busy machine, may take, ms. */
const PATIENCE_MS = 120_000;
/** How long one look at a mount may take, ms. */
const LOOK_MS = 5_000;
/** How long loads may take to end what they are at, ms. */
const STOP_MS = 120_000;

/** Settings under which failures are noticed in seconds. */
const QUICK: NodeJS.ProcessEnv = {
  CAIRN_NAMENODE_HEARTBEAT_MS: "500",
  CAIRN_NAMENODE_DEAD_AFTER_MS: "3000",
  CAIRN_NAMENODE_LEASE_MS: "10000",
  CAIRN_NAMENODE_BLOCK_SIZE: "1m",
  CAIRN_NAMENODE_TRANSFER_TIMEOUT_MS: "10000",
  CAIRN_DATANODE_RESERVE: "8m",
};
/** A datanode silent for longer than this is dead, ms. */
export const DEAD_AFTER_MS = Number(QUICK["CAIRN_NAMENODE_DEAD_AFTER_MS"]);
/** A client silent for longer than this loses its session, ms. */
export const LEASE_MS = Number(QUICK["CAIRN_NAMENODE_LEASE_MS"]);
/** What a cluster under test is made of. */
export interface Size {
  readonly datanodes: number;
  readonly mounts: number;
  /** More environment for daemons, by their kind ("namenode", "datanode", "mount") or name. */
  readonly env?: Readonly<Record<string, NodeJS.ProcessEnv>>;
}

/**
 * A cluster of daemons on machines of their own: the namenode on machine 1, datanode n on machine 1 + n, the first mount beside
 * the first datanode, the others on the machines after. To be made in a sandbox.
 */
export class FaultCluster {
  readonly root: string;
  readonly network: Network;
  readonly namenode: Daemon;
  readonly datanodes: readonly Daemon[];
  readonly mounts: readonly Daemon[];
  readonly loads: Load[] = [];
  readonly #extra: Readonly<Record<string, NodeJS.ProcessEnv>>;

  constructor(root: string, { datanodes, mounts, env = {} }: Size) {
    this.root = root;
    this.#extra = env;
    this.network = new Network(datanodes + mounts);
    mkdirSync(join(root, "log"), { recursive: true });
    writeFileSync(this.#secret, "a secret of the fault tests\n");
    const namenode = `http://${addressOf(1)}:${NAMENODE_PORT}`;
    const secret = ["--secret-file", this.#secret];
    this.namenode = this.#daemon("namenode", "namenode", 1, [
      ...["--host", addressOf(1), "--port", String(NAMENODE_PORT), "--data-dir", join(root, "namenode"), ...secret],
    ]);
    const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
    this.datanodes = numbers(datanodes).map((n) =>
      this.#daemon("datanode", `datanode-${n}`, 1 + n, [
        ...["--host", addressOf(1 + n), "--port", String(DATANODE_PORT), "--namenode", namenode, ...secret],
        ...["--data-dirs", this.volumesOf(n).join(",")],
      ]),
    );
    this.mounts = numbers(mounts).map((n) =>
      this.#daemon(
        "mount",
        `mount-${n}`,
        n === 1 ? 2 : datanodes + n,
        [this.mountOf(n), "--namenode", namenode, "--binding", "kernel", ...secret],
        () => this.#clear(this.mountOf(n)),
      ),
    );
  }

  get daemons(): readonly Daemon[] {
    return [this.namenode, ...this.datanodes, ...this.mounts];
  }
  /** The folders in which a datanode (1, 2, …) keeps blocks. */
  volumesOf(datanode: number): string[] {
    return Array.from({ length: VOLUMES }, (_, i) => join(this.root, `datanode-${datanode}`, `volume-${i + 1}`));
  }
  mountOf(n: number): string {
    return join(this.root, `mnt-${n}`);
  }
  get #secret(): string {
    return join(this.root, "secret");
  }

  /** Starts everything, and waits until it works. */
  async start(): Promise<void> {
    await this.network.make();
    for (let n = 1; n <= this.datanodes.length; n++)
      for (const v of this.volumesOf(n)) mkdirSync(v, { recursive: true });
    for (let n = 1; n <= this.mounts.length; n++) mkdirSync(this.mountOf(n), { recursive: true });
    mkdirSync(join(this.root, "namenode"), { recursive: true });
    await this.startAll();
    await this.working();
    for (const daemon of this.daemons) daemon.endedByItself = 0; // a mount may have come before its namenode
  }

  /** Starts what does not run. */
  async startAll(): Promise<void> {
    for (const daemon of this.daemons) await daemon.start();
  }

  /** Waits until every datanode is live and every mount answers. */
  async working(): Promise<void> {
    let seen = "nothing";
    await until(
      async () => {
        const report = await this.report().catch((err: Error) => {
          seen = err.message;
          return undefined;
        });
        if (report === undefined) return false;
        seen = report.datanodes.map((d) => `${d.address} ${d.state}`).join(", ");
        return report.datanodes.filter((d) => d.state === "live").length === this.datanodes.length;
      },
      { timeoutMs: PATIENCE_MS, what: "all datanodes to be live" },
    ).catch((err: Error) => {
      throw new Error(`${err.message}: ${seen}`);
    });
    for (let n = 1; n <= this.mounts.length; n++) {
      await until(() => this.#answers(this.mountOf(n)), { timeoutMs: PATIENCE_MS, what: `mount-${n} to answer` });
    }
  }

  /** Runs `cairn` with the arguments, as somebody who is on no machine of the cluster. */
  async cairn(args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const env = { CAIRN_NAMENODE: `http://${addressOf(1)}:${NAMENODE_PORT}`, CAIRN_SECRET_FILE: this.#secret };
    return cairn(args, { env: { ...process.env, ...env }, timeoutMs: PATIENCE_MS });
  }

  async report(): Promise<Report> {
    return JSON.parse((await this.cairn(["admin", "report", "--json"])).stdout) as Report;
  }

  async fsck(): Promise<Fsck> {
    const { stdout, stderr } = await this.cairn(["admin", "fsck", "--json", "/"]);
    if (stdout === "") throw new Error(`fsck: ${stderr}`);
    return JSON.parse(stdout) as Fsck;
  }

  /** Waits until every block has its replicas; how long that took, ms. */
  async healthy(timeoutMs: number): Promise<number> {
    const started = performance.now();
    let last = "";
    await until(
      async () => {
        const { summary } = await this.fsck();
        last = JSON.stringify(summary);
        return summary.healthy;
      },
      { timeoutMs, what: "every file to be healthy" },
    ).catch((err: Error) => {
      throw new Error(`${err.message}; last seen: ${last}`);
    });
    return performance.now() - started;
  }

  /** Starts a load on every mount, in a folder of its own. */
  async load(seed: number): Promise<void> {
    const first = this.loads.length;
    for (let n = 1; n <= this.mounts.length; n++) {
      const name = `load-${first + n}`;
      const folder = join(this.mountOf(n), name);
      await sh(`mkdir -p ${Load.foldersOf(folder).join(" ")}`, { timeoutMs: PATIENCE_MS });
      this.loads.push(new Load(folder, join(this.root, `${name}.journal`), seed * 100 + first + n));
    }
  }

  /** Waits until every running load has done a number of steps more. */
  async progress(steps: number, timeoutMs = PATIENCE_MS): Promise<void> {
    const goals = this.loads.filter((load) => !load.stopped).map((load) => [load, load.steps + steps] as const);
    await until(() => goals.every(([load, goal]) => load.steps >= goal), {
      timeoutMs,
      what: `the loads to get ${steps} steps further`,
    });
  }

  /** Ends all loads. */
  async stopLoads(): Promise<void> {
    for (const load of this.loads) load.stop();
    await until(() => this.loads.every((load) => load.stopped), {
      timeoutMs: STOP_MS,
      what: "the loads to end",
    }).catch((err: Error) => {
      throw new Error(
        `${err.message}; not answered: ${JSON.stringify(this.loads.flatMap((load) => underWay(load.journal)))}`,
      );
    });
    for (const load of this.loads) if (load.violation !== undefined) throw new Error(load.violation);
  }

  /** Compares everything with what was promised, through another mount than the one it was written through, if there is one. */
  async check(): Promise<{ files: number; bytes: number; acknowledged: number; doubted: number }> {
    await sh("echo 3 > /proc/sys/vm/drop_caches");
    const sum = { files: 0, bytes: 0, acknowledged: 0, doubted: 0 };
    for (const [i, load] of this.loads.entries()) {
      const through = this.mountOf(1 + ((i + 1) % this.mounts.length));
      const report = await check(load.journal, join(through, `load-${i + 1}`));
      if (report.problems.length > 0) {
        throw new Error(`broken promises of load-${i + 1}:\n  ${report.problems.slice(0, 20).join("\n  ")}`);
      }
      for (const key of ["files", "bytes", "acknowledged", "doubted"] as const) sum[key] += report[key];
    }
    return sum;
  }

  /** Ends everything. What cannot be ended goes with the sandbox. */
  async destroy(): Promise<void> {
    for (const load of this.loads) load.kill();
    for (const daemon of this.daemons) {
      daemon.signal("SIGCONT");
      daemon.signal("SIGKILL");
    }
    for (const daemon of this.daemons) await daemon.kill();
    for (let n = 1; n <= this.mounts.length; n++) await this.#clear(this.mountOf(n));
    await this.network.destroy();
  }

  #daemon(kind: string, name: string, machine: number, args: string[], prepare?: () => Promise<void>): Daemon {
    const options: DaemonOptions = {
      name,
      machine,
      args: [kind, ...args],
      env: { ...QUICK, ...this.#extra[kind], ...this.#extra[name] },
      logPath: join(this.root, "log", `${name}.log`),
    };
    return new Daemon(prepare === undefined ? options : { ...options, prepare });
  }

  /** Takes away what a mount that died has left, as `cairn cluster start` does. */
  async #clear(mountpoint: string): Promise<void> {
    if (!isMounted(mountpoint)) return;
    const { code, stderr } = await cairn(["umount", "--force", mountpoint]);
    if (isMounted(mountpoint)) throw new Error(`cairn umount --force ${mountpoint}: ${code} ${stderr}`);
  }

  async #answers(mountpoint: string): Promise<boolean> {
    if (!isMounted(mountpoint)) return false;
    const looked = await run("ls", [mountpoint], { timeoutMs: LOOK_MS }).catch(() => undefined);
    return looked?.code === 0;
  }
}

function isMounted(mountpoint: string): boolean {
  return readFileSync("/proc/self/mountinfo", "utf8").includes(` ${mountpoint} `);
}
