import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Set in the environment of who runs in a sandbox: the folder where it may leave things. */
const MARK = "CAIRN_FAULTS_SANDBOX";
/**
 * Mounts, networks and processes of its own: with the first process of it, the kernel takes everything away. That process dies
 * with unshare(1), and unshare with whoever started it.
 */
const ENTER = ["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];

/**
 * Readies the sandbox that this process runs in; returns its folder. Throws when it runs in none. It has a /dev/shm of its own, because
 * libfaketime leaves things there when its process is killed.
 */
export function readySandbox(): string {
  const folder = process.env[MARK];
  if (folder === undefined) throw new Error("not in a sandbox: start main.js");
  execFileSync("mount", ["-t", "tmpfs", "tmpfs", "/dev/shm"]);
  return folder;
}

/**
 * Runs a program of Node in a sandbox, and resolves to its exit status. However it ends, also when this process is killed, no
 * process, mount or network is left; nor is the folder, unless this process is killed by SIGKILL, or KEEP_CLUSTERS is set.
 */
export async function inSandbox(program: string, args: readonly string[]): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "cairn-faults-"));
  const child = spawn("setpriv", [...ENTER, process.execPath, program, ...args], {
    env: { ...process.env, [MARK]: folder },
    stdio: "inherit",
  });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => end(child));
  const status = await new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => resolve(code ?? 1));
  });
  if (process.env["KEEP_CLUSTERS"]) process.stderr.write(`kept: ${folder}\n`);
  else rmSync(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  return status;
}

/** Kills the first process of a sandbox: unshare(1) ends when the kernel has ended all others of it, so that nobody writes any more. */
function end(unshare: ChildProcess): void {
  const [first] = readFileSync(`/proc/${unshare.pid}/task/${unshare.pid}/children`, "utf8").split(" ");
  if (first) process.kill(Number(first), "SIGKILL");
  else unshare.kill("SIGKILL");
}
