import { spawn } from "node:child_process";

/** What a program did. */
export interface Outcome {
  /** Its exit status; 128 + n when it was killed by a signal, as shells say it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** After this long the program is killed, and the outcome is an error, ms. */
  readonly timeoutMs?: number;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Written to its standard input. */
  readonly input?: string;
}

const DEFAULT_TIMEOUT_MS = 300_000;
/** Output kept of each stream, characters: the rest is dropped. */
const MAX_OUTPUT = 64 << 20;

/** Runs a program to its end. Rejects when it could not be started or took too long. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS, env, cwd, input } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { ...(env && { env }), ...(cwd && { cwd }), stdio: ["pipe", "pipe", "pipe"] });
    const output = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (text: string) => {
        if (output[name].length < MAX_OUTPUT) output[name] += text;
      });
    }
    child.stdin.on("error", () => {}); // it ended without reading: its exit status says what there is to say
    child.stdin.end(input ?? "");
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      const said = `${output.stdout.slice(-2000)}${output.stderr.slice(-2000)}`;
      if (late) reject(new Error(`${program} ${args.join(" ")}: not done after ${timeoutMs} ms\n${said}`));
      else resolve({ code: code ?? (signal === "SIGKILL" ? 137 : 143), ...output });
    });
  });
}

/** Runs a line of shell to its end; its standard output. Rejects when it fails, with what it said. */
export async function sh(line: string, options: RunOptions = {}): Promise<string> {
  const outcome = await run("bash", ["-c", `set -euo pipefail; ${line}`], options);
  if (outcome.code === 0) return outcome.stdout;
  throw new Error(`${line}: exit status ${outcome.code}\n${outcome.stdout.slice(-2000)}${outcome.stderr.slice(-2000)}`);
}

/** A word of a shell line, quoted. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
