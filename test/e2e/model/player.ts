import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Operation } from "./operations.js";

const PROGRAM = fileURLToPath(new URL("../../../../test/e2e/model/player.py", import.meta.url));
/** How long one sequence may take, ms: then the mount hangs. */
const SEQUENCE_MS = 60_000;

/** What came of a sequence. */
export interface Outcome {
  /** Of each operation: what it gave, or the name of its errno. */
  readonly results: unknown[];
  /** What was open at the end: attributes and contents. */
  readonly open: unknown[];
  /** Everything there was, before and after the open files were closed. */
  readonly tree: unknown[];
  readonly closed: unknown[];
}

/** A process that plays sequences in folders: a mount must not be touched by a process that tests wait in. */
export class Player {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #said = "";
  #ended = false;

  constructor() {
    this.#process = spawn("python3", [PROGRAM], { stdio: ["pipe", "pipe", "pipe"] });
    this.#process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#said = `${this.#said}${text}`.slice(-4000);
    });
    this.#process.stdin?.on("error", () => {}); // it has ended: its output says so
    this.#lines = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
  }

  /** Plays a sequence in an empty folder. @param hides the mount hides removed open files (libfuse 2) */
  play(folder: string, operations: readonly Operation[], hides: boolean): Promise<Outcome> {
    return this.#ask({ folder, operations, hides }) as Promise<Outcome>;
  }

  /** Everything there is in a folder, as Outcome.tree has it. */
  tree(folder: string): Promise<unknown[]> {
    return this.#ask({ folder, operations: null, hides: false }) as Promise<unknown[]>;
  }

  /** Whether it can play no more: the mount hangs, or the program failed. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Ends the process. */
  end(): void {
    this.#ended = true;
    this.#process.kill("SIGKILL");
  }

  async #ask(request: object): Promise<unknown> {
    this.#process.stdin?.write(`${JSON.stringify(request)}\n`);
    const timer = setTimeout(() => {
      this.#said += `not done after ${SEQUENCE_MS} ms`;
      this.end();
    }, SEQUENCE_MS);
    try {
      const { value, done } = await this.#lines.next();
      if (done) {
        this.#ended = true;
        throw new Error(`the player has ended: ${this.#said}`);
      }
      return JSON.parse(value);
    } finally {
      clearTimeout(timer);
    }
  }
}
