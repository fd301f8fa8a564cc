import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../sim/random.js";
import type { Scene } from "./cases.js";
import type { FaultCluster } from "./cluster.js";
import type { Daemon } from "./daemon.js";
import { seconds } from "./table.js";

/** Kills after which everything is compared. Then new loads start, in folders of their own. */
const ROUND = 20;
/** Between two kills, ms. */
const PAUSE_MS = [100, 2_500] as const;
/** Until a killed daemon is started again, ms: longer than the dead timeout now and then. */
const AWAY_MS = [50, 4_000] as const;
/** Steps of every load before the first kill of a round, and after the last. */
const STEPS = 10;

/** SIGKILLs at random moments, each daemon started again after a while, several of them away at a time now and then. */
export async function kills({ cluster, random, kills, healthyMs, seen }: Scene): Promise<void> {
  const counts = { namenode: 0, datanode: 0, mount: 0 };
  const restarts = new Set<Promise<void>>();
  let slowest = 0;
  for (let done = 0; done < kills; ) {
    if (done > 0) await cluster.load(done);
    await cluster.progress(STEPS);
    for (const end = Math.min(kills, done + ROUND); done < end; ) {
      await sleep(random.int(...PAUSE_MS));
      const [kind, daemon] = victim(cluster, random);
      if (daemon === undefined) continue;
      counts[kind] += 1;
      done += 1;
      await daemon.kill();
      const restart = sleep(random.int(...AWAY_MS)).then(() => daemon.start());
      restarts.add(restart);
      void restart.finally(() => restarts.delete(restart));
    }
    await Promise.all(restarts);
    await cluster.progress(STEPS);
    await cluster.stopLoads();
    const took = await cluster.healthy(healthyMs);
    slowest = Math.max(slowest, took);
    const { files, acknowledged } = await cluster.check();
    process.stderr.write(
      `${done} kills: healthy after ${seconds(took)}; ${files} files, ${acknowledged} promises: all kept\n`,
    );
  }
  const spread = Object.entries(counts).map(([kind, n]) => `${n} of ${kind}s`);
  seen.push(`${spread.join(", ")}; healthy after ${seconds(slowest)} at most`);
  await cluster.load(kills);
}

/**
 * Who is killed next; undefined when that one is away already. At most one datanode is away at a time: two may be, by the
 * promise, but what has been written with one replica left meanwhile would be the third.
 */
function victim(cluster: FaultCluster, random: Random): ["namenode" | "datanode" | "mount", Daemon | undefined] {
  const kind = random.weighted({ namenode: 1, datanode: 2, mount: 1 });
  const all = { namenode: [cluster.namenode], datanode: cluster.datanodes, mount: cluster.mounts }[kind];
  const daemon = random.pick(all);
  const usable = daemon.running && (kind !== "datanode" || all.every((d) => d.running));
  return [kind, usable ? daemon : undefined];
}
