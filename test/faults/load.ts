import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** How far a load is: steps of its workers, promises it got, and errors it saw, by what failed and how ("fsync EIO"). */
export interface Progress {
  readonly steps: number;
  readonly acknowledged: number;
  readonly errors: Readonly<Record<string, number>>;
}

/** What the program tells. */
export type LoadReport = { progress: Progress } | { synced: string } | { violation: string } | { stopped: true };

const PROGRAM = fileURLToPath(new URL("load-program.js", import.meta.url));
const WORKERS = 4;
/** Threads of the program: a call of the file system that hangs takes one. */
const THREADS = 16;

/** A program that works in a folder and writes down every promise it gets (load-program.ts). */
export class Load {
  /** What it did and was answered, for the checker. */
  readonly journal: string;
  readonly folder: string;
  progress: Progress = { steps: 0, acknowledged: 0, errors: {} };
  /** A promise that it saw broken itself. */
  violation: string | undefined;
  /** Longest time without anything getting done, ms. */
  longestPauseMs = 0;
  /** Told whenever an fsync has returned. */
  onSynced: () => void = () => {};
  readonly #child: ChildProcess;
  #lastStep = performance.now();
  #stopped = false;

  /** The folder has a subfolder for each of the WORKERS (foldersOf). */
  constructor(folder: string, journal: string, seed: number) {
    this.folder = folder;
    this.journal = journal;
    const args = [folder, journal, String(seed), String(WORKERS)];
    this.#child = fork(PROGRAM, args, { env: { ...process.env, UV_THREADPOOL_SIZE: String(THREADS) } });
    this.#child.on("message", (report: LoadReport) => this.#told(report));
    this.#child.on("exit", (code, signal) => {
      if (!this.#stopped) this.violation ??= `the load ended by itself (${code ?? signal})`;
      this.#stopped = true;
    });
  }

  /** The folders that a load in a folder needs. */
  static foldersOf(folder: string): string[] {
    return Array.from({ length: WORKERS }, (_, i) => `${folder}/${i}`);
  }

  get steps(): number {
    if (this.violation !== undefined) throw new Error(`the load in ${this.folder}: ${this.violation}`);
    return this.progress.steps;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Has the workers end what they are at, and the program. See `stopped`. */
  stop(): void {
    if (this.#child.connected) this.#child.send("stop");
  }

  kill(): void {
    this.#stopped = true;
    this.#child.kill("SIGKILL");
  }

  #told(report: LoadReport): void {
    if ("progress" in report) {
      const now = performance.now();
      this.longestPauseMs = Math.max(this.longestPauseMs, now - this.#lastStep);
      this.#lastStep = now;
      this.progress = report.progress;
    } else if ("synced" in report) this.onSynced();
    else if ("violation" in report) this.violation ??= report.violation;
    else this.#stopped = true;
  }
}
