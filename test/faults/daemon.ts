import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { CAIRN, cleanEnv } from "../support/cluster.js";
import { until } from "../support/until.js";
import { namespaceOf } from "./network.js";

/** How long a killed process may take to go, ms. */
const GONE_MS = 30_000;
/** After how long one that ended by itself is started again, ms, as a service manager would. */
const RESTART_MS = 500;

/** A daemon of a cluster under test: which it is, and on which machine it runs. */
export interface DaemonOptions {
  readonly name: string;
  /** Of the network's machines, 1, 2, …. */
  readonly machine: number;
  /** Arguments of `cairn`. */
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly logPath: string;
  /** Done before every start. */
  readonly prepare?: () => Promise<void>;
}

/** A daemon and what looks after it: it is started again when it ends by itself, as often as that happens. */
export class Daemon {
  readonly name: string;
  readonly machine: number;
  /** How often it ended without having been killed by the test. */
  endedByItself = 0;
  readonly #options: DaemonOptions;
  #child: ChildProcess | undefined;
  #wanted = false;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.name = options.name;
    this.machine = options.machine;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  async start(): Promise<void> {
    const { machine, args, env, logPath, prepare } = this.#options;
    this.#wanted = true;
    if (this.#child !== undefined) return;
    await prepare?.();
    const log = openSync(logPath, "a");
    const enter = [`--net=${namespaceOf(machine)}`, process.execPath, CAIRN, ...args];
    const child = spawn("nsenter", enter, { env: cleanEnv(env), stdio: ["ignore", log, log], cwd: "/" });
    closeSync(log);
    this.#child = child;
    child.on("exit", () => this.#ended());
    child.on("error", () => this.#ended());
  }

  /** Kills it, and does not start it again. */
  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await until(() => !this.running, { timeoutMs: GONE_MS, what: `${this.name} to be gone` });
  }

  /** Sends a signal at once; SIGKILL means that it is not to be started again. */
  signal(signal: NodeJS.Signals): void {
    if (signal === "SIGKILL") this.#wanted = false;
    this.#child?.kill(signal);
  }

  #ended(): void {
    this.#child = undefined;
    if (!this.#wanted) return;
    this.endedByItself += 1;
    setTimeout(() => this.#wanted && void this.start(), RESTART_MS);
  }
}
