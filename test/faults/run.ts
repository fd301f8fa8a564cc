import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Random } from "../sim/random.js";
import type { FaultCase, Scene } from "./cases.js";
import { FaultCluster } from "./cluster.js";
import { type Row, seconds } from "./table.js";

/** How much the loads do before the fault and after it, steps. */
const STEPS = 15;
const DATANODES = 5;
const MOUNTS = 2;

/** How a case is run. */
export type RunOptions = Pick<Scene, "seed" | "kills" | "healthyMs">;

/**
 * Runs one case in the sandbox: a cluster, a load on every mount, the fault; then the loads must get on, every file must become
 * healthy, and everything that was acknowledged must be there.
 */
export async function runCase(fault: FaultCase, sandbox: string, options: RunOptions): Promise<Row> {
  const { name, what } = fault;
  const impossible = fault.cannot?.();
  if (impossible !== undefined) return { name, what, result: "skipped", notes: [impossible] };
  const root = join(sandbox, name);
  mkdirSync(root);
  const env = fault.env?.(root) ?? {};
  const cluster = new FaultCluster(root, { datanodes: DATANODES, mounts: MOUNTS, env });
  const scene: Scene = { cluster, random: new Random(options.seed), ...options, seen: [] };
  const started = performance.now();
  try {
    await fault.prepare?.(scene);
    await cluster.start();
    await cluster.load(options.seed);
    await cluster.progress(STEPS);
    await fault.run(scene);
    await cluster.progress(STEPS);
    await cluster.stopLoads();
    const healthy = await cluster.healthy(options.healthyMs);
    const { files, acknowledged, doubted } = await cluster.check();
    const notes = [
      ...scene.seen,
      `${acknowledged} promises on ${files} files, ${doubted} names in doubt`,
      errorsOf(cluster, fault.errors),
      `healthy after ${seconds(healthy)}`,
      `longest pause ${seconds(Math.max(...cluster.loads.map((load) => load.longestPauseMs)))}`,
      `${seconds(performance.now() - started)} in all`,
      ...cluster.daemons.filter((d) => d.endedByItself > 0).map((d) => `${d.name} ended by itself ${d.endedByItself}×`),
    ];
    return { name, what, result: "kept", notes };
  } catch (err) {
    return { name, what, result: "BROKEN", notes: [...scene.seen, String((err as Error).message)] };
  } finally {
    await cluster.destroy();
  }
}

/** The errors that programs saw; fails when they must not have. */
function errorsOf(cluster: FaultCluster, allowed: "none" | "any"): string {
  const sum = new Map<string, number>();
  for (const { progress } of cluster.loads) {
    for (const [what, n] of Object.entries(progress.errors)) sum.set(what, (sum.get(what) ?? 0) + n);
  }
  const text = [...sum].map(([what, n]) => `${n} ${what}`).join(", ");
  if (allowed === "none" && text !== "") throw new Error(`programs should only have waited, but saw errors: ${text}`);
  return text === "" ? "no errors" : `errors: ${text}`;
}
