import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Set in the environment of who runs in a sandbox: the folder where it may leave things. */
const MARK = "CAIRN_FAULTS_SANDBOX";
/**
 * Mounts, networks and processes of its own: with the first process of it, the kernel takes everything away. That process dies
 * with unshare(1), and unshare with whoever started it.
 */
const ENTER = ["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];

/** The folder of the sandbox that this process runs in; undefined when it runs in none. */
export function sandbox(): string | undefined {
  return process.env[MARK];
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
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => child.kill("SIGKILL"));
  const status = await new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => resolve(code ?? 1));
  });
  if (process.env["KEEP_CLUSTERS"]) process.stderr.write(`kept: ${folder}\n`);
  else rmSync(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  return status;
}
