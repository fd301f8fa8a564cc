import { existsSync, readdirSync, readFileSync, renameSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseReplicaName } from "../../datanode/replica-name.js";
import type { Random } from "../sim/random.js";
import { sh } from "../support/run.js";
import { until } from "../support/until.js";
import { DEAD_AFTER_MS, type FaultCluster, LEASE_MS } from "./cluster.js";
import type { Daemon } from "./daemon.js";
import { fullNamenode } from "./full-namenode.js";
import { kills } from "./kills.js";
import { addressOf } from "./network.js";
import { seconds } from "./table.js";

/** What a case is given. */
export interface Scene {
  readonly cluster: FaultCluster;
  readonly random: Random;
  readonly seed: number;
  /** How soon after a fault every file must be healthy, ms. */
  readonly healthyMs: number;
  /** How many SIGKILLs there are to be, in the case that spreads them. */
  readonly kills: number;
  /** Notes for the table: what was seen. */
  readonly seen: string[];
}

/** One kind of fault. */
export interface FaultCase {
  readonly name: string;
  /** What is done, for the table. */
  readonly what: string;
  /**
   * Which errors programs may see meanwhile: "none": they only wait; "any": their mount dies or loses its session, or there is no
   * room. Whatever they see, what was acknowledged stays.
   */
  readonly errors: "none" | "any";
  /** More environment of daemons, by kind or name. */
  readonly env?: (root: string) => Readonly<Record<string, NodeJS.ProcessEnv>>;
  /** Why it cannot be done here; undefined: it can. */
  readonly cannot?: () => string | undefined;
  /** Done before the daemons start. */
  readonly prepare?: (scene: Scene) => Promise<void>;
  /** Breaks something under load, and mends it again unless the cluster should live with it. */
  readonly run: (scene: Scene) => Promise<void>;
}

/** How much a load does while something is broken, if it can, steps. */
const SOME_STEPS = 15;
/** How long something stays broken after it is sure to have been noticed, ms. */
const LONGER_MS = 2_000;
/** How long something is away that should be back before anybody thinks it dead, ms. */
const MOMENT_MS = 500;
/** Room on a disk that is to become full. */
const SMALL_DISK_MIB = 48;
const FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

const killed = (of: (scene: Scene) => Daemon) => async (scene: Scene) => {
  for (let i = 0; i < 3; i++) {
    const daemon = of(scene);
    await daemon.kill();
    await sleep(MOMENT_MS);
    await daemon.start();
    await scene.cluster.progress(SOME_STEPS);
  }
};

const stopped = (of: (scene: Scene) => Daemon, ms: number) => async (scene: Scene) => {
  const daemon = of(scene);
  daemon.signal("SIGSTOP");
  await sleep(ms + LONGER_MS);
  daemon.signal("SIGCONT");
};

const cut = (of: (scene: Scene) => Daemon[], ms: number) => async (scene: Scene) => {
  await scene.cluster.network.cut(...new Set(of(scene).map((daemon) => daemon.machine)));
  await sleep(ms + LONGER_MS);
  await scene.cluster.network.heal();
};

const slowed = (of: (scene: Scene) => Daemon) => async (scene: Scene) => {
  await scene.cluster.network.slow(of(scene).machine, "4mbit");
  await sleep(2 * DEAD_AFTER_MS);
  await scene.cluster.network.heal();
};

const namenode = ({ cluster }: Scene) => cluster.namenode;
const datanode = ({ cluster, random }: Scene) => random.pick(cluster.datanodes);
const mount = ({ cluster, random }: Scene) => random.pick(cluster.mounts);
/** A mount on a machine without a datanode. */
const lonelyMount = ({ cluster }: Scene) => cluster.mounts.at(-1)!;

/** The clock of one daemon jumps an hour ahead, then an hour back, then right. */
function clockCase(name: string, of: (cluster: FaultCluster) => Daemon): FaultCase {
  const file = (cluster: FaultCluster) => join(cluster.root, "clock");
  return {
    name: `clock-${name}`,
    what: `the clock of a ${name} jumps by +1 h, then -1 h, then is right again (faketime)`,
    errors: "none",
    env: (root) => ({
      [name === "namenode" ? name : `${name}-1`]: {
        LD_PRELOAD: FAKETIME,
        FAKETIME_TIMESTAMP_FILE: join(root, "clock"),
        FAKETIME_NO_CACHE: "1",
        FAKETIME_DONT_FAKE_MONOTONIC: "1",
      },
    }),
    cannot: () => (existsSync(FAKETIME) ? undefined : `${FAKETIME} is not there (apt-get install faketime)`),
    prepare: async ({ cluster }) => writeFileSync(file(cluster), "+0\n"),
    run: async ({ cluster, seen }) => {
      for (const offset of ["+3600", "-3600", "+0"]) {
        writeFileSync(file(cluster), `${offset}\n`);
        await sleep(DEAD_AFTER_MS);
        await cluster.progress(SOME_STEPS);
      }
      const { datanodes } = await cluster.report();
      seen.push(`${datanodes.filter((d) => d.state === "live").length} datanodes live, ${of(cluster).name} went on`);
    },
  };
}

/** Fills a disk to the last byte, waits, and makes room again. */
async function fillDisk(scene: Scene, disk: string): Promise<void> {
  await sh(`head -c 1G /dev/zero > ${disk}/filler || true`);
  await sleep(2 * DEAD_AFTER_MS);
  const { bavail } = statfsSync(disk);
  await sh(`rm ${disk}/filler`);
  scene.seen.push(`${bavail} blocks were free`);
}

const smallDisk = (disk: string) => sh(`mkdir -p ${disk}; mount -t tmpfs -o size=${SMALL_DISK_MIB}m small ${disk}`);

/** The files of replicas that a datanode (1, 2, …) keeps, with the number of their block. */
function replicasOf(cluster: FaultCluster, datanode: number): { path: string; block: number }[] {
  return cluster.volumesOf(datanode).flatMap((volume) =>
    readdirSync(volume, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => ({ path: join(entry.parentPath, entry.name), block: parseReplicaName(entry.name)?.id ?? -1 }))
      .filter(({ block }) => block >= 0),
  );
}

/** Changes bytes of one replica of every block that is found, on each datanode in turn; what was changed. */
function flipBytes({ cluster, random }: Scene): Map<string, Buffer> {
  const spoilt = new Map<string, Buffer>();
  const met = new Set<number>();
  for (const n of cluster.datanodes.keys()) {
    for (const { path, block } of replicasOf(cluster, n + 1)) {
      if (met.has(block) || random.chance(0.5)) continue;
      const bytes = contentsOf(path);
      if (bytes === undefined || bytes.length === 0) continue;
      met.add(block);
      const at = random.int(0, bytes.length - 1);
      bytes[at] = ~(bytes[at] ?? 0);
      overwrite(path, bytes);
      spoilt.set(path, bytes);
    }
  }
  return spoilt;
}

/** Changes the bytes of a file that is there; one that has been removed meanwhile is not made again. */
function overwrite(path: string, bytes: Buffer): void {
  try {
    writeFileSync(path, bytes, { flag: "r+" });
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== "ENOENT") throw err;
  }
}

function contentsOf(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw err;
  }
}

/** The two datanodes that have the most blocks in common. */
async function closest(cluster: FaultCluster): Promise<[Daemon, Daemon]> {
  const [ids, fsck] = [(await cluster.report()).datanodes, await cluster.fsck()];
  const common = (a: number, b: number) =>
    fsck.files.flatMap((f) => f.blocks).filter((x) => x.liveReplicas.includes(a) && x.liveReplicas.includes(b)).length;
  const idOf = (daemon: Daemon) => ids.find((d) => d.address.startsWith(`${addressOf(daemon.machine)}:`))?.id ?? -1;
  const pairs = cluster.datanodes.flatMap((a, i) =>
    cluster.datanodes.slice(i + 1).map((b) => [a, b] as [Daemon, Daemon]),
  );
  return pairs.reduce((best, pair) =>
    common(idOf(pair[0]), idOf(pair[1])) > common(idOf(best[0]), idOf(best[1])) ? pair : best,
  );
}

/** All faults, in the order of the table. */
export const CASES: readonly FaultCase[] = [
  { name: "kill-namenode", what: "SIGKILL of the namenode, three times", errors: "none", run: killed(namenode) },
  { name: "kill-datanode", what: "SIGKILL of a datanode, three times", errors: "none", run: killed(datanode) },
  { name: "kill-mount", what: "SIGKILL of a mount, three times", errors: "any", run: killed(mount) },
  {
    name: "kill-two-replicas",
    what: "SIGKILL of two of the three datanodes that share most blocks; all is read without them; they come back",
    errors: "none",
    run: async ({ cluster, healthyMs, seen }) => {
      const victims = await closest(cluster);
      for (const victim of victims) victim.signal("SIGKILL");
      await sleep(DEAD_AFTER_MS);
      await cluster.progress(SOME_STEPS);
      await cluster.stopLoads();
      await cluster.check();
      seen.push(
        `healthy on the other ${cluster.datanodes.length - 2} after ${seconds(await cluster.healthy(healthyMs))}`,
      );
      for (const victim of victims) await victim.start();
      await cluster.load(2);
    },
  },
  {
    name: "kill-all",
    what: "SIGKILL of everything at once, right after an fsync has returned, three times",
    errors: "any",
    run: async ({ cluster }) => {
      for (let i = 0; i < 3; i++) {
        await new Promise<void>((resolve) => {
          for (const load of cluster.loads) {
            load.onSynced = () => {
              for (const daemon of cluster.daemons) daemon.signal("SIGKILL");
              resolve();
            };
          }
        });
        for (const load of cluster.loads) load.onSynced = () => {};
        for (const daemon of cluster.daemons) await daemon.kill();
        await cluster.startAll();
        await cluster.working();
        await cluster.progress(SOME_STEPS);
      }
    },
  },
  {
    name: "stop-namenode",
    what: "SIGSTOP of the namenode for 5 s",
    errors: "none",
    run: stopped(namenode, DEAD_AFTER_MS),
  },
  {
    name: "stop-datanode",
    what: "SIGSTOP of a datanode for longer than the dead timeout",
    errors: "none",
    run: stopped(datanode, DEAD_AFTER_MS),
  },
  {
    name: "stop-mount",
    what: "SIGSTOP of a mount for longer than its lease",
    errors: "any",
    run: stopped(mount, LEASE_MS),
  },
  {
    name: "cut-datanode",
    what: "a datanode's machine is cut off for longer than the dead timeout",
    errors: "none",
    run: cut((scene) => [scene.cluster.datanodes.at(-1) ?? datanode(scene)], DEAD_AFTER_MS),
  },
  {
    name: "cut-mount",
    what: "a mount's machine is cut off for longer than its lease",
    errors: "any",
    run: cut((scene) => [lonelyMount(scene)], LEASE_MS),
  },
  {
    name: "cut-namenode",
    what: "the namenode's machine is cut off from all others",
    errors: "none",
    run: cut((scene) => [namenode(scene)], DEAD_AFTER_MS),
  },
  {
    name: "cut-half",
    what: "two datanodes and a mount are cut off from the rest together",
    errors: "any",
    run: cut(({ cluster }) => [...cluster.datanodes.slice(-2), cluster.mounts.at(-1)!], LEASE_MS),
  },
  {
    name: "cut-often",
    what: "a datanode's machine is cut off and connected again ten times, half a second each",
    errors: "none",
    run: async (scene) => {
      for (let i = 0; i < 10; i++) {
        await scene.cluster.network.cut(scene.cluster.datanodes.at(-1)!.machine);
        await sleep(MOMENT_MS);
        await scene.cluster.network.heal();
        await sleep(MOMENT_MS);
      }
    },
  },
  {
    name: "slow-datanode",
    what: "a datanode's link carries 4 Mbit/s only (tc tbf)",
    errors: "none",
    run: slowed(datanode),
  },
  {
    name: "slow-mount",
    what: "a mount's link carries 4 Mbit/s only (tc tbf)",
    errors: "none",
    run: slowed(lonelyMount),
  },
  {
    name: "full-datanode",
    what: "the disks of a datanode (two small tmpfs) become full, and have room again",
    errors: "none",
    prepare: async ({ cluster }) => {
      for (const volume of cluster.volumesOf(1)) await smallDisk(volume);
    },
    run: async (scene) => {
      await Promise.all(scene.cluster.volumesOf(1).map((volume) => fillDisk(scene, volume)));
    },
  },
  fullNamenode,
  {
    name: "flipped-bytes",
    what: "a byte of one replica of half the blocks is changed on the disks; replicas are scrubbed every 5 s",
    errors: "none",
    env: () => ({ datanode: { CAIRN_DATANODE_SCRUB_PERIOD_MS: "5000", CAIRN_DATANODE_SCRUB_RATE: "0" } }),
    run: async (scene) => {
      const spoilt = flipBytes(scene);
      await scene.cluster.progress(SOME_STEPS);
      const bad = () => [...spoilt].filter(([path, bytes]) => contentsOf(path)?.equals(bytes)).length;
      await until(() => bad() === 0, { timeoutMs: scene.healthyMs, what: "every changed replica to be gone" });
      scene.seen.push(`${spoilt.size} replicas changed, all replaced`);
    },
  },
  {
    name: "lost-volume",
    what: "one of a datanode's two volumes is taken away, and does not come back",
    errors: "none",
    run: async (scene) => {
      const { cluster } = scene;
      const [volume = ""] = cluster.volumesOf(1);
      renameSync(volume, `${volume}.gone`);
      await sleep(2 * DEAD_AFTER_MS);
      scene.seen.push(`the datanode ended ${cluster.datanodes[0]?.endedByItself} times`);
    },
  },
  clockCase("namenode", (cluster) => cluster.namenode),
  clockCase("datanode", (cluster) => cluster.datanodes[0]!),
  clockCase("mount", (cluster) => cluster.mounts[0]!),
  {
    name: "kills",
    what: "SIGKILLs at random moments spread over namenode, datanodes and mounts",
    errors: "any",
    run: kills,
  },
];
