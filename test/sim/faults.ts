import { parseReplicaName } from "../../datanode/replica-name.js";
import type { Actor } from "./actor.js";
import type { Checker } from "./checker.js";
import type { Daemon, DatanodeMachine, SimCluster } from "./cluster.js";
import type { Random } from "./random.js";

/** Time between two faults, ms. */
const PAUSE_MS = [200, 6_000] as const;
/** How long a daemon stays down, or a fault lasts, ms. Longer than until a datanode counts as dead, at times. */
const SHORT_MS = [100, 6_000] as const;
const LONG_MS = [6_000, 30_000] as const;
/** Time between two faults that take replicas away for good, ms: enough to repair, and for what was written to be synced. */
const REPAIR_MS = 90_000;

/** Every kind of fault, with how often it comes. */
export const FAULTS = {
  killNamenode: 4,
  restartNamenode: 2,
  killDatanode: 6,
  killClient: 4,
  stopNamenode: 2,
  stopDatanode: 4,
  stopClient: 2,
  cutBothWays: 4,
  cutOneWay: 3,
  breakConnections: 4,
  readErrors: 3,
  fullDisk: 2,
  clockJump: 2,
  datanodeLosesPower: 5,
  brokenDisk: 4,
  flippedBits: 6,
  everythingLosesPower: 5,
} as const;

export type Fault = keyof typeof FAULTS;

/** What a fault that takes replicas away needs before it may come. */
const DESTRUCTIVE: ReadonlySet<Fault> = new Set<Fault>([
  "datanodeLosesPower",
  "brokenDisk",
  "flippedBits",
  "everythingLosesPower",
]);

/** Breaks things, and mends them. */
export class Faults {
  readonly counts = new Map<Fault, number>();
  readonly #cluster: SimCluster;
  readonly #checker: Checker;
  readonly #actors: readonly Actor[];
  readonly #random: Random;
  #running = true;
  #lastDestruction = Number.NEGATIVE_INFINITY;
  #underWay = 0;

  constructor(cluster: SimCluster, checker: Checker, actors: readonly Actor[], random: Random) {
    this.#cluster = cluster;
    this.#checker = checker;
    this.#actors = actors;
    this.#random = random;
  }

  /** Makes one fault after the other until stop(). */
  async run(): Promise<void> {
    while (this.#running) {
      await this.#cluster.time.sleep(this.#between(PAUSE_MS));
      if (this.#running && !this.#checker.violation) this.#strike();
    }
  }

  /** No further faults; those under way end by themselves. */
  stop(): void {
    this.#running = false;
  }

  get underWay(): number {
    return this.#underWay;
  }

  /** Everything is mended and runs. */
  mend(): void {
    const { network, datanodes } = this.#cluster;
    network.mend();
    network.breakChance = 0;
    for (const { platter } of datanodes) {
      platter.broken.clear();
      platter.readErrorChance = 0;
      platter.capacity = 1 << 30;
    }
    for (const daemon of this.#cluster.daemons) {
      daemon.machine.on = true;
      daemon.process.cont();
    }
    for (const { daemon } of this.#actors) daemon.process.cont();
    this.#revive();
  }

  /** Starts all daemons and clients that are down; a datanode that has given up a volume again, as its operator would. */
  #revive(): void {
    const { namenode, datanodes } = this.#cluster;
    if (!namenode.process.alive) this.#start(() => this.#cluster.startNamenode());
    for (const daemon of datanodes) {
      const isWhole = daemon.running?.figures().volumes.every(({ failed }) => !failed);
      if (!daemon.process.alive || isWhole === false) this.#start(() => this.#cluster.startDatanode(daemon));
    }
    for (const actor of this.#actors) if (!actor.daemon.process.alive) actor.start();
  }

  #strike(): void {
    const fault = this.#random.weighted(FAULTS);
    if (DESTRUCTIVE.has(fault)) {
      const { now } = this.#cluster.time;
      if (now - this.#lastDestruction < REPAIR_MS || this.#underWay > 0) return;
      this.#lastDestruction = now;
    }
    this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1);
    this.#checker.begin();
    this.#underWay++;
    this[fault]()
      .catch((err) => this.#checker.fatal(err))
      .finally(() => {
        this.#underWay--;
        this.#checker.end();
      });
  }

  // ---- processes ----

  async killNamenode(): Promise<void> {
    await this.#down(this.#cluster.namenode, "killed", () => this.#cluster.startNamenode());
  }

  async restartNamenode(): Promise<void> {
    const { namenode, time } = this.#cluster;
    const { process } = namenode;
    if (!process.alive) return;
    this.#tell("namenode is told to end");
    // It may be stopped or cut off meanwhile; a supervisor would not wait forever.
    await Promise.race([this.#cluster.closeNamenode(), time.sleep(20_000)]);
    if (namenode.process !== process) return;
    process.kill();
    this.#start(() => this.#cluster.startNamenode());
  }

  async killDatanode(): Promise<void> {
    const daemon = this.#datanode();
    await this.#down(daemon, "killed", () => this.#cluster.startDatanode(daemon));
  }

  async killClient(): Promise<void> {
    const actor = this.#random.pick(this.#actors);
    await this.#down(actor.daemon, `killed while it does ${actor.doing}`, async () => actor.start());
  }

  stopNamenode(): Promise<void> {
    return this.#stopped(this.#cluster.namenode);
  }

  stopDatanode(): Promise<void> {
    return this.#stopped(this.#datanode());
  }

  stopClient(): Promise<void> {
    return this.#stopped(this.#random.pick(this.#actors).daemon);
  }

  async #down(daemon: Daemon, how: string, start: () => Promise<void>): Promise<void> {
    const { process } = daemon;
    if (!process.alive) return;
    this.#tell(`${process.name} ${how}`);
    process.kill();
    await this.#last();
    if (daemon.process === process) this.#start(start);
  }

  /** Starts a program; nobody waits until it serves: it may be killed before. */
  #start(start: () => Promise<void>): void {
    start().catch((err) => this.#checker.fatal(err));
  }

  async #stopped(daemon: Daemon): Promise<void> {
    const { process } = daemon;
    this.#tell(`${process.name} stops`);
    process.stop();
    await this.#last();
    this.#tell(`${process.name} goes on`);
    process.cont();
  }

  // ---- network ----

  async cutBothWays(): Promise<void> {
    const [a, b] = this.#pair();
    this.#tell(`cut ${a} off from ${b}`);
    this.#cluster.network.cut(a, b);
    this.#cluster.network.cut(b, a);
    await this.#last();
    this.#tell("network mended");
    this.#cluster.network.mend();
  }

  async cutOneWay(): Promise<void> {
    const [a, b] = this.#pair();
    this.#tell(`nothing gets from ${a} to ${b}`);
    this.#cluster.network.cut(a, b);
    await this.#last();
    this.#tell("network mended");
    this.#cluster.network.mend();
  }

  async breakConnections(): Promise<void> {
    const { network } = this.#cluster;
    this.#tell("connections break");
    network.breakChance = this.#random.pick([0.002, 0.01, 0.05]);
    await this.#last();
    network.breakChance = 0;
    this.#tell("connections break no more");
  }

  // ---- disks and clocks ----

  async readErrors(): Promise<void> {
    const { platter, machine } = this.#datanode();
    this.#tell(`reads fail on ${machine.name}`);
    platter.readErrorChance = this.#random.pick([0.05, 0.5]);
    await this.#last();
    platter.readErrorChance = 0;
    this.#tell(`reads fail no more on ${machine.name}`);
  }

  async fullDisk(): Promise<void> {
    const { platter, machine } = this.#datanode();
    this.#tell(`the disk of ${machine.name} is full`);
    platter.capacity = platter.used + this.#random.int(0, 100_000);
    await this.#last();
    platter.capacity = 1 << 30;
    this.#tell(`the disk of ${machine.name} has room`);
  }

  async clockJump(): Promise<void> {
    const { machine } = this.#random.pick([...this.#cluster.daemons, ...this.#actors.map(({ daemon }) => daemon)]);
    machine.wallOffset = this.#random.int(-3_600_000, 3_600_000);
    this.#tell(`the clock of ${machine.name} is set ${machine.wallOffset} ms off`);
  }

  async datanodeLosesPower(): Promise<void> {
    const daemon = this.#datanode();
    this.#tell(`${daemon.machine.name} loses power`);
    daemon.machine.on = false;
    daemon.process.kill(true);
    daemon.platter.losePower();
    daemon.platter.lastDisaster = this.#cluster.time.now;
    await this.#last();
    daemon.machine.on = true;
    if (!daemon.process.alive) this.#start(() => this.#cluster.startDatanode(daemon));
  }

  async brokenDisk(): Promise<void> {
    const daemon = this.#datanode();
    this.#tell(`a disk of ${daemon.machine.name} breaks`);
    daemon.platter.broken.add("/disk1");
    daemon.platter.lastDisaster = this.#cluster.time.now;
    await this.#last();
    daemon.platter.broken.clear();
    this.#tell(`the disk of ${daemon.machine.name} is back`);
    daemon.process.kill();
    this.#start(() => this.#cluster.startDatanode(daemon));
  }

  async flippedBits(): Promise<void> {
    const { platter, machine } = this.#datanode();
    const replicas = [...platter.files()].filter(([path]) => parseReplicaName(path.slice(path.lastIndexOf("/") + 1)));
    if (replicas.length === 0) return;
    for (let i = 0; i < 3; i++) {
      const [path, file] = this.#random.pick(replicas);
      if (file.length === 0) continue;
      this.#tell(`a bit of ${path} on ${machine.name} flips`);
      platter.flip(file, this.#random.int(0, file.length - 1));
    }
  }

  async everythingLosesPower(): Promise<void> {
    const { namenode, datanodes } = this.#cluster;
    const left = this.#cluster.losePower(this.#actors.map(({ daemon }) => daemon));
    this.#tell(`everything loses power; edits up to ${left} are left`);
    for (const actor of this.#actors) actor.rollBack(left);
    await this.#last();
    if (!namenode.process.alive) this.#start(() => this.#cluster.startNamenode());
    for (const daemon of datanodes) {
      if (!daemon.process.alive) this.#start(() => this.#cluster.startDatanode(daemon));
    }
    for (const actor of this.#actors) if (!actor.daemon.process.alive) actor.start();
  }

  #datanode(): DatanodeMachine {
    return this.#random.pick(this.#cluster.datanodes);
  }

  #pair(): [string, string] {
    const machines = [...this.#cluster.daemons, ...this.#actors.map(({ daemon }) => daemon)].map((d) => d.machine.name);
    const a = this.#random.pick(machines);
    return [a, this.#random.pick(machines.filter((name) => name !== a))];
  }

  #last(): Promise<void> {
    return this.#cluster.time.sleep(this.#between(this.#random.chance(0.75) ? SHORT_MS : LONG_MS));
  }

  #between([least, most]: readonly [number, number]): number {
    return least + this.#random.next() * (most - least);
  }

  #tell(what: string): void {
    this.#checker.tell(`** ${what}`);
  }
}
