import { spawn } from "node:child_process";
import type { Clock } from "../common/clock.js";
import { CairnError, messageOf } from "../common/errors.js";

/** Resolves as the promise does, or to `late` when that takes longer than ms. */
export async function within<T, L>(clock: Clock, ms: number, promise: Promise<T>, late: L): Promise<T | L> {
  let stop = (): void => {};
  const timeout = new Promise<L>((resolve) => {
    const timer = clock.after(ms, () => resolve(late));
    stop = () => timer.clear();
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    stop();
  }
}

/** How long a killed program may take to go, ms: one that hangs in the kernel is left to itself then. */
const KILLED_MS = 1000;

/** What came of running a program. */
export interface Ran {
  readonly ok: boolean;
  /** Its words on standard error. */
  readonly said: string;
  /** It took too long, and was killed. */
  readonly late: boolean;
}

/**
 * Runs a program, for a bounded time even where it hangs in the kernel and cannot be killed. Undefined when it does not exist;
 * rejects when it cannot be run.
 */
export function run(program: string, args: readonly string[], timeoutMs: number): Promise<Ran | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, LC_ALL: "C" } });
    let said = "";
    let late = false;
    child.stderr.on("data", (chunk: Buffer) => {
      if (said.length < 4096) said += chunk.toString();
    });
    const end = (ok: boolean) => {
      clearTimeout(timer);
      child.stderr.destroy();
      child.unref();
      resolve({ ok, said: said.trim(), late });
    };
    let timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
      timer = setTimeout(() => end(false), KILLED_MS);
    }, timeoutMs);
    child.on("error", (err: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      if (err.code === "ENOENT") resolve(undefined);
      else reject(new CairnError(err.code ?? "EIO", `run ${program}: ${messageOf(err)}`));
    });
    child.on("close", (code) => end(code === 0));
  });
}
