import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** How far the clocks of /proc and of file times may be apart, ms. */
const CLOCK_SLACK_MS = 10_000;
/** Ticks per second of the times in /proc (USER_HZ, fixed on Linux). */
const TICKS_PER_SECOND = 100;
/** How long a process may take to go after SIGKILL, ms. */
const KILLED_MS = 10_000;
/** How often a process that should end is looked at, ms. */
const POLL_MS = 20;

/** A process as /proc shows it. */
export interface ProcessInfo {
  readonly argv: readonly string[];
  /** When it started, ms since 1970. */
  readonly startedMs: number;
}

/** A living process; undefined when there is none of that id, or only its remains (a zombie). */
export function processInfo(pid: number): ProcessInfo | undefined {
  try {
    const argv = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The fields after the name, which is in parentheses and may hold anything: state is the 3rd field, start the 22nd.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return undefined;
    const uptime = Number.parseFloat(readFileSync("/proc/uptime", "utf8"));
    return { argv, startedMs: Date.now() - uptime * 1000 + (Number(fields[19]) * 1000) / TICKS_PER_SECOND };
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw err;
  }
}

/** Records a process that was just started. The file holds the number only, so that `kill $(cat …)` works. */
export function writePidFile(path: string, pid: number): void {
  writeFileSync(path, `${pid}\n`);
}

/**
 * The process of a pid file, if it lives and is the one that was recorded: its command line has every word of `words` and it
 * started before the file was written. Ids are used again: a later process with the same one is not believed.
 */
export function readPidFile(path: string, words: readonly string[]): number | undefined {
  let text: string;
  let writtenMs: number;
  try {
    text = readFileSync(path, "utf8").trim();
    writtenMs = statSync(path).mtimeMs;
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw err;
  }
  if (!/^[1-9]\d{0,9}$/.test(text)) return undefined;
  const info = processInfo(Number(text));
  if (info === undefined || info.startedMs > writtenMs + CLOCK_SLACK_MS) return undefined;
  return words.every((word) => info.argv.includes(word)) ? Number(text) : undefined;
}

/** Removes a pid file; nothing happens when there is none. */
export function removePidFile(path: string): void {
  rmSync(path, { force: true });
}

/** Sends a signal; false when the process is gone. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw err;
  }
}

/** Resolves to whether the process has ended within a time, ms. */
export async function ended(pid: number, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (processInfo(pid) !== undefined) {
    if (performance.now() > deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}

/**
 * SIGTERM (also to a process that was stopped), and SIGKILL when it has not ended after a time, ms. Resolves to whether it ended
 * by itself. One that hangs in the kernel is not waited for beyond KILLED_MS.
 */
export async function terminate(pid: number, timeoutMs: number): Promise<boolean> {
  signal(pid, "SIGTERM");
  signal(pid, "SIGCONT");
  if (await ended(pid, timeoutMs)) return true;
  signal(pid, "SIGKILL");
  await ended(pid, KILLED_MS);
  return false;
}
