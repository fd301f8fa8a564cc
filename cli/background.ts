import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readSync, renameSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { NODE_FLAGS } from "../common/engine.js";
import { CairnError } from "../common/errors.js";
import type { Announcement, Delay, Refusal } from "../fuse/ready.js";

/** The program every daemon is started with. */
const CAIRN = fileURLToPath(new URL("cairn.cjs", import.meta.url));
/** A log larger than this is put aside (as .old) when its daemon starts, bytes. */
const MAX_LOG = 64 << 20;
/** How much of a log's end is looked at for its last lines, bytes. */
const TAIL_BYTES = 16 << 10;

/** A daemon that was started just now. */
export interface Started {
  readonly pid: number;
  /** Why the daemon has ended already; undefined while it runs. */
  exit(): string | undefined;
  /** What a mount has said of itself once it was there, or could not be; undefined before, and for other daemons. */
  said(): Announcement | Refusal | undefined;
  /** What a mount that is not there yet has said that it waits for. */
  waiting(): string | undefined;
}

/**
 * Starts `cairn` with arguments in the background, in a session of its own, its output at the end of a log. EAGAIN when no process
 * could be made.
 */
export function startInBackground(args: readonly string[], logPath: string, env: NodeJS.ProcessEnv): Started {
  mkdirSync(dirname(logPath), { recursive: true });
  if (existsSync(logPath) && statSync(logPath).size > MAX_LOG) renameSync(logPath, `${logPath}.old`);
  const log = openSync(logPath, "a", 0o640);
  const child = spawn(process.execPath, [...NODE_FLAGS, CAIRN, ...args], {
    detached: true,
    cwd: "/",
    env,
    stdio: ["ignore", log, log, "ipc"],
  });
  closeSync(log);
  let exit: string | undefined;
  let said: Announcement | Refusal | undefined;
  child.on("error", (err) => {
    exit = `it could not be started: ${err.message}`;
  });
  let waiting: string | undefined;
  child.on("message", (message: Announcement | Refusal | Delay) => {
    if ("waiting" in message) waiting = message.waiting;
    else said = message;
  });
  child.on("exit", (code, name) => {
    exit = name === null ? `it ended with status ${code}` : `it was killed by ${name}`;
  });
  if (child.pid === undefined)
    throw new CairnError("EAGAIN", `cannot start cairn ${args[0]}: no process could be made`);
  child.unref();
  child.channel?.unref();
  return { pid: child.pid, exit: () => exit, said: () => said, waiting: () => waiting };
}

/** The last lines of a log, for people. */
export function lastLines(path: string, count: number): string[] {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (err) {
    return [`(its log cannot be read: ${(err as Error).message})`];
  }
  try {
    const buffer = Buffer.alloc(TAIL_BYTES);
    const start = Math.max(0, statSync(path).size - TAIL_BYTES);
    const length = readSync(fd, buffer, 0, TAIL_BYTES, start);
    return buffer.toString("utf8", 0, length).trimEnd().split("\n").slice(-count);
  } finally {
    closeSync(fd);
  }
}
