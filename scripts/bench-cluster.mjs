// Starts a cluster for scripts/bench in a root of its own, and clears it away whatever happened to it.
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { run } from "./bench-run.mjs";

/** How long a cluster may take to come up, or to go, ms. */
const CLUSTER_MS = 120_000;

const cli = (checkout) => join(checkout, "dist/cli/cairn.cjs");

/**
 * Starts a cluster with `cairn cluster start` on a free port and returns the folder where it is mounted.
 * @param {{ root: string, checkout: string, flags: string }} cluster flags: words, NAME=value ones go into the environment
 */
export async function startCluster({ root, checkout, flags }) {
  if (!existsSync(cli(checkout))) throw new Error(`${cli(checkout)} is missing: build it first (npm run build)`);
  const words = flags.split(/\s+/).filter(Boolean);
  const isVariable = (word) => /^[A-Z_0-9]+=/.test(word);
  const env = Object.fromEntries(
    words.filter(isVariable).map((w) => [w.slice(0, w.indexOf("=")), w.slice(w.indexOf("=") + 1)]),
  );
  const args = ["cluster", "start", "--root", root, "--http-port", "0", ...words.filter((w) => !isVariable(w))];
  await run(process.execPath, [cli(checkout), ...args], { deadlineMs: CLUSTER_MS, env });
  return join(root, "mnt");
}

/**
 * Stops a cluster and removes all of it; by force where it does not go by itself.
 * @param {{ root: string, checkout: string }} cluster
 */
export async function clearAway({ root, checkout }) {
  const force = { deadlineMs: CLUSTER_MS, clearing: true };
  try {
    await run(process.execPath, [cli(checkout), "cluster", "stop", "--root", root, "--wipe"], force);
  } catch (err) {
    console.error(`scripts/bench: ${err.message}`);
    killDaemons(root);
    // Fails where nothing is mounted any more, which is what is wanted.
    await run("umount", ["-l", join(root, "mnt")], force).catch(() => undefined);
  }
  rmSync(root, { recursive: true, force: true });
}

/** Kills the processes of a root's pid files, if they still are what the files say: their command lines name the root. */
function killDaemons(root) {
  const folder = join(root, "run");
  if (!existsSync(folder)) return;
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".pid"))) {
    const pid = Number.parseInt(readFileSync(join(folder, file), "utf8"), 10);
    try {
      if (readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(root)) process.kill(pid, "SIGKILL");
    } catch (err) {
      if (err.code !== "ENOENT" && err.code !== "ESRCH") throw err; // it has ended
    }
  }
}
