// Runs the commands of scripts/bench: none outlives its deadline or the benchmark itself.
import { spawn } from "node:child_process";

/** Bytes of a command's output that are kept. */
const MAX_OUTPUT = 1 << 20;

const running = new Set();
let stopping;

/** Ends every command that runs; those that are tried afterwards fail, unless they are part of clearing away. */
export function stopAll(reason) {
  stopping = reason;
  for (const child of running) child.kill("SIGKILL");
}

/**
 * Runs a command. Resolves to its standard output and how long it took; rejects, with what it said, when it fails.
 * @param {string} command
 * @param {string[]} args
 * @param {{ deadlineMs: number, env?: NodeJS.ProcessEnv, clearing?: boolean }} options clearing: run even when stopping
 * @returns {Promise<{ output: string, seconds: number }>}
 */
export function run(command, args, { deadlineMs, env, clearing = false }) {
  return new Promise((resolve, reject) => {
    if (stopping && !clearing) return reject(new Error(`stopped by ${stopping}`));
    const start = performance.now();
    const what = `${command} ${args.join(" ")}`.slice(0, 300);
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
    let output = "";
    let errors = "";
    child.stdout.on("data", (s) => {
      if (output.length < MAX_OUTPUT) output += s;
    });
    child.stderr.on("data", (s) => {
      if (errors.length < MAX_OUTPUT) errors += s;
    });
    running.add(child);
    const timer = setTimeout(() => {
      errors += `given up after ${deadlineMs / 1000} s`;
      child.kill("SIGKILL");
    }, deadlineMs);
    const done = (failure) => {
      clearTimeout(timer);
      running.delete(child);
      if (failure) reject(new Error(`${what}: ${failure}\n${errors.trim()}`));
      else resolve({ output, seconds: (performance.now() - start) / 1000 });
    };
    child.on("error", (err) => done(err.message));
    child.on("close", (code, signal) => done(code === 0 ? undefined : `ended with ${signal ?? `status ${code}`}`));
  });
}
