import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** What the program tells: files written so far, the error it met, or the answer to the last order. */
export type LoadReport = { written: number } | { failed: string } | { done: "stop" | "verify" };
/** What the program is told. */
export type LoadOrder = "stop" | "verify";

const PROGRAM = fileURLToPath(new URL("load-program.js", import.meta.url));

/**
 * A program that writes and reads in a folder until told to stop, and knows every byte it was promised (load-program.ts).
 * A process of its own: a test that had files of the mount open itself could not start programs while the namenode is away,
 * because a child closes what it inherits before it runs, and that close waits for the namenode.
 */
export class Load {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #failure: Error | undefined;
  #written = 0;
  #answered: ((order: LoadOrder) => void) | undefined;

  constructor(folder: string) {
    this.#child = fork(PROGRAM, [folder]);
    this.#child.on("message", (report: LoadReport) => {
      if ("written" in report) this.#written = report.written;
      else if ("failed" in report) this.#failure = new Error(`the load in ${folder}: ${report.failed}`);
      else this.#answered?.(report.done);
    });
    this.#exited = new Promise((resolve) => this.#child.once("exit", () => resolve()));
  }

  /** Files written so far. Throws what the program saw, if that was an error. */
  get written(): number {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#written;
  }

  /** Ends the writing; rejects with the error the program saw. */
  stop(): Promise<void> {
    return this.#order("stop");
  }

  /** Has everything that was promised read again and compared. */
  verify(): Promise<void> {
    return this.#order("verify");
  }

  /** Ends the program. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async #order(order: LoadOrder): Promise<void> {
    const answered = new Promise<void>((resolve) => {
      this.#answered = (done) => done === order && resolve();
    });
    this.#child.send(order);
    await Promise.race([answered, this.#exited]);
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#child.exitCode !== null) throw new Error(`the load ended with status ${this.#child.exitCode}`);
  }
}
