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

/** Runs a program. Resolves to what it said on standard error and whether it succeeded; undefined when it does not exist. */
export function run(
  program: string,
  args: readonly string[],
  timeoutMs: number,
): Promise<{ ok: boolean; said: string } | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, LC_ALL: "C" },
      timeout: timeoutMs,
      killSignal: "SIGKILL",
    });
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      if (said.length < 4096) said += chunk.toString();
    });
    child.on("error", (err: NodeJS.ErrnoException) => {
      if (err.code === "ENOENT") resolve(undefined);
      else reject(new CairnError(err.code ?? "EIO", `run ${program}: ${messageOf(err)}`));
    });
    child.on("close", (code) => resolve({ ok: code === 0, said: said.trim() }));
  });
}
