import type { Logger } from "../../common/log.js";
import { ClientPush, Namenode } from "../../proto/gen/services.js";
import { Actor } from "./actor.js";
import { Arena } from "./arena.js";
import { Checker } from "./checker.js";
import { SimCluster } from "./cluster.js";
import { watchCommits, watchLocations } from "./commits.js";
import { type Fault, Faults } from "./faults.js";
import { checkHealth } from "./health.js";
import type { Process } from "./machine.js";
import { Random } from "./random.js";

/** Virtual time that one run may take, ms: a run that takes longer hangs. */
const MAX_RUN_MS = 4 * 3_600_000;
/** Virtual time that actors get to finish what they are doing, ms. */
const FINISH_MS = 600_000;

/** Bytes of each file at most, by runs: all of a block in one packet; or so much that memory gets short, and blocks go in several. */
const FILE_BYTES = [48 << 10, 3 << 20] as const;

export interface RunOptions {
  seed: number;
  /** Operations of all actors together, at least. */
  operations: number;
  /** The programs' own logs. */
  log?: (process: Process, tell: (what: string) => void) => Logger;
}

export interface RunResult {
  readonly seed: number;
  /** The broken promise; undefined when all were kept. */
  readonly violation: string | undefined;
  readonly history: readonly string[];
  readonly operations: number;
  readonly faults: ReadonlyMap<Fault, number>;
  readonly excused: ReadonlyMap<string, number>;
  /** How often what matters happened, by what it was. */
  readonly met: ReadonlyMap<string, number>;
  /** Virtual time, ms, and events. */
  readonly virtualMs: number;
  readonly events: number;
}

/** One run of a whole cluster: the same options give the same run. */
export async function run(options: RunOptions): Promise<RunResult> {
  const random = new Random(options.seed);
  const checker = new Checker();
  const { log } = options;
  const cluster = new SimCluster({
    random,
    datanodes: random.int(4, 5),
    tell: checker.tell,
    ...(log && { log: (process) => log(process, checker.tell) }),
  });
  checker.attach(cluster);
  watchCommits(cluster, checker);
  watchLocations(cluster, checker);
  cluster.network.observers.push(({ method }) => {
    if (method === ClientPush.recall.name) checker.meet("recalls");
    if (method === `error of ${Namenode.create.name}`) checker.meet("creates refused");
  });
  const fatal = (err: unknown) => checker.fatal(err);
  const release = takeUncaught(fatal);
  const actors: Actor[] = [];
  try {
    const faults = drive(cluster, checker, actors, random, options);
    const done = await cluster.time.until(() => faults.done || checker.violation !== undefined, MAX_RUN_MS);
    checker.check(done, `the run ends (actors: ${actors.map((a) => `${a.name} ${a.doing}`).join(", ")})`);
    return {
      seed: options.seed,
      violation: checker.violation?.message,
      history: checker.history,
      operations: checker.operations,
      faults: faults.counts,
      excused: checker.excused,
      met: checker.met,
      virtualMs: cluster.time.now,
      events: cluster.time.happened,
    };
  } finally {
    release();
  }
}

/** The course of a run: work under faults, then mending, then the last comparison. */
function drive(cluster: SimCluster, checker: Checker, actors: Actor[], random: Random, options: RunOptions) {
  const arena = new Arena(cluster, checker, random.fork());
  const maxBytes = random.pick(FILE_BYTES);
  const others = () => actors;
  for (let i = 1; i <= 3; i++) actors.push(new Actor({ cluster, checker, name: `c${i}`, arena, maxBytes, others }));
  const faults = new Faults(cluster, checker, actors, random.fork());
  const endsInTheDark = random.chance(0.5);
  const state = { done: false, counts: faults.counts };
  const course = async () => {
    await cluster.startNamenode();
    await Promise.all(cluster.datanodes.map((daemon) => cluster.startDatanode(daemon)));
    checker.begin(); // until the first datanodes have joined
    await cluster.time.sleep(3_000);
    checker.end();
    for (const actor of actors) actor.start();
    const faulting = faults.run().catch((err) => checker.fatal(err));
    await when(cluster, () => checker.operations >= options.operations || checker.violation !== undefined);
    faults.stop();
    await faulting;
    if (endsInTheDark) await faults.finale();
    await when(cluster, () => faults.underWay === 0);
    checker.tell("** no further faults");
    faults.mend();
    for (const actor of actors) actor.stopped = true;
    const finish = cluster.time.now + FINISH_MS;
    await when(cluster, () => actors.every(({ idle }) => idle) || cluster.time.now > finish);
    checker.check(
      actors.every(({ idle }) => idle),
      `everybody finishes once nothing is wrong any more (${actors.map((a) => `${a.name} ${a.doing}`).join(", ")})`,
    );
    await Promise.all(actors.map((actor) => actor.close()));
    checker.tell("** the last comparison");
    for (const actor of actors) actor.start(); // which compares everything, and stops
    await when(cluster, () => actors.every(({ idle }) => idle) || checker.violation !== undefined);
    await Promise.all(actors.map((actor) => actor.removeTainted()));
    await Promise.all(actors.map((actor) => actor.close()));
    const giveUp = async (ino: number) => {
      for (const actor of actors) await actor.giveUp(ino);
    };
    if (!checker.violation) await checkHealth(cluster, checker, giveUp);
    state.done = true;
  };
  course().catch((err) => checker.fatal(err));
  return state;
}

async function when(cluster: SimCluster, condition: () => boolean): Promise<void> {
  while (!condition()) await cluster.time.sleep(100);
}

/** Whatever is thrown outside of any promise, or rejected where nobody looks, is the run's. */
function takeUncaught(fatal: (err: unknown) => void): () => void {
  const kept = (["uncaughtException", "unhandledRejection"] as const).map((event) => {
    const listeners = process.listeners(event as "uncaughtException");
    process.removeAllListeners(event);
    process.on(event as "uncaughtException", fatal);
    return { event, listeners };
  });
  return () => {
    for (const { event, listeners } of kept) {
      process.removeListener(event, fatal);
      for (const listener of listeners) process.on(event as "uncaughtException", listener);
    }
  };
}
