import { parseReplicaName } from "../../datanode/replica-name.js";
import type { Actor } from "./actor.js";
import type { Checker } from "./checker.js";
import type { Daemon, DatanodeMachine, SimCluster } from "./cluster.js";
import type { Random } from "./random.js";

/** Time between two faults, ms. */
const PAUSE_MS = [100, 3_000] as const;
/** How often a fault comes at a certain moment: right after a message was sent or a disk has done something, or this much later, ms. */
const AMBUSHES = 0.6;
const AMBUSH_DELAYS_MS = [0, 0, 0.6, 3, 12] as const;
/** How long such a moment is waited for, ms. */
const AMBUSH_PATIENCE_MS = 3_000;
/** The same for the last one, which comes, half of the time, when a program has just been promised that what it wrote stays. */
const LAST_PATIENCE_MS = 10_000;
const LAST_MOMENT = "promise.fsync";
/** How long a daemon stays down, or a fault lasts, ms. Longer than until a datanode counts as dead, at times. */
const SHORT_MS = [100, 6_000] as const;
const LONG_MS = [6_000, 30_000] as const;
/** Time between two faults that take replicas away for good, ms: enough to repair, and for what was written to be synced. */
const REPAIR_MS = 90_000;
/** The same before everything loses power, which takes nothing away that was synced, ms. */
const REPAIR_SYNCED_MS = 30_000;

/** How likely each write that was not synced is on the platter when the power goes: the kernel has just begun, or nearly all is. */
const KEPT = [0.1, 0.5, 0.9] as const;

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
  breakOne: 3,
  readErrors: 3,
  fullDisk: 2,
  clockJump: 2,
  datanodeLosesPower: 5,
  brokenDisk: 4,
  flippedBits: 6,
  everythingLosesPower: 5,
} as const;

/** Those of them that end at once what is under way. */
const SUDDEN = {
  killNamenode: 2,
  killDatanode: 5,
  killClient: 2,
  stopDatanode: 2,
  cutBothWays: 4,
  breakOne: 3,
  datanodeLosesPower: 1,
  everythingLosesPower: 3,
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
  #destruction = { at: Number.NEGATIVE_INFINITY, over: true };
  #underWay = 0;
  /**
   * Every kind of thing that happened so far, by service ("BlockStream", "disk"): each service is as likely to be struck at, and
   * each kind of it, so that what happens rarely is met, too.
   */
  readonly #kinds = new Map<string, Set<string>>();
  /** What is waited for. */
  #ambush: { readonly kind: string; readonly spring: () => void } | undefined;
  /** The machines where it happened. */
  #near: readonly string[] = [];

  constructor(cluster: SimCluster, checker: Checker, actors: readonly Actor[], random: Random) {
    this.#cluster = cluster;
    this.#checker = checker;
    this.#actors = actors;
    this.#random = random;
    cluster.network.observers.push(({ from, to, method }) => this.#happens(method, [from, to]));
    checker.promises.push((what, machine) => this.#happens(`promise.${what}`, [machine]));
    for (const { platter, machine } of cluster.datanodes) {
      platter.observer = (operation) => this.#happens(`disk.${operation}`, [machine.name]);
    }
  }

  /** Makes one fault after the other until stop(). */
  async run(): Promise<void> {
    while (this.#running) {
      await this.#cluster.time.sleep(this.#between(PAUSE_MS));
      await this.#moment();
      if (this.#running && !this.#checker.violation) this.#strike(this.#next());
    }
  }

  /** What strikes next: at a chosen moment mostly what takes no time to begin. */
  #next(): Fault {
    const isChosen = this.#near.length > 0 && this.#random.chance(0.7);
    return isChosen ? this.#random.weighted(SUDDEN) : this.#random.weighted(FAULTS);
  }

  /** The last fault: everything loses its power in the midst of work, and nothing that comes later hides what is lost. */
  async finale(): Promise<void> {
    const { time } = this.#cluster;
    while (!this.#mayStrike("everythingLosesPower")) await time.sleep(100);
    if (this.#random.chance(0.5)) await this.#ambushAt(LAST_MOMENT, LAST_PATIENCE_MS);
    else await this.#moment();
    this.#strike("everythingLosesPower");
  }

  /** Something happens that may be the moment for a fault. */
  #happens(kind: string, machines: readonly string[]): void {
    const service = kind.slice(kind.lastIndexOf(" ") + 1, kind.indexOf("."));
    const kinds = this.#kinds.get(service);
    if (kinds === undefined) this.#kinds.set(service, new Set([kind]));
    else kinds.add(kind);
    if (this.#ambush?.kind !== kind) return;
    this.#near = machines;
    this.#ambush.spring();
    this.#ambush = undefined;
  }

  /** Waits for the moment of the next fault: any, or when something certain happens. */
  async #moment(): Promise<void> {
    this.#near = [];
    if (!this.#random.chance(AMBUSHES) || this.#kinds.size === 0) return;
    await this.#ambushAt(this.#random.pick([...this.#random.pick([...this.#kinds.values()])]), AMBUSH_PATIENCE_MS);
  }

  /** Waits until something certain happens, or a little later. */
  async #ambushAt(kind: string, patienceMs: number): Promise<void> {
    this.#near = [];
    const sprung = new Promise<void>((resolve) => {
      this.#ambush = { kind, spring: resolve };
    });
    await Promise.race([sprung, this.#cluster.time.sleep(patienceMs)]);
    this.#ambush = undefined;
    await this.#cluster.time.sleep(this.#random.pick(AMBUSH_DELAYS_MS));
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

  #strike(fault: Fault): void {
    if (!this.#mayStrike(fault)) return;
    const destroys = DESTRUCTIVE.has(fault);
    if (destroys) this.#destruction = { at: this.#cluster.time.now, over: false };
    this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1);
    this.#checker.begin();
    this.#underWay++;
    this[fault]()
      .catch((err) => this.#checker.fatal(err))
      .finally(() => {
        this.#underWay--;
        if (destroys) this.#destruction.over = true;
        this.#checker.end();
      });
  }

  /** Faults that take replicas away come one at a time, most of them when nothing else is wrong. */
  #mayStrike(fault: Fault): boolean {
    if (!DESTRUCTIVE.has(fault)) return true;
    const { at, over } = this.#destruction;
    const since = this.#cluster.time.now - at;
    if (fault === "everythingLosesPower") return over && since >= REPAIR_SYNCED_MS;
    return this.#underWay === 0 && since >= REPAIR_MS;
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
    const actor = this.#actor();
    await this.#down(actor.daemon, `killed while it does ${actor.doing}`, async () => actor.start());
  }

  stopNamenode(): Promise<void> {
    return this.#stopped(this.#cluster.namenode);
  }

  stopDatanode(): Promise<void> {
    return this.#stopped(this.#datanode());
  }

  stopClient(): Promise<void> {
    return this.#stopped(this.#actor().daemon);
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
    const { process, machine } = daemon;
    this.#tell(`${process.name} stops`);
    process.stop();
    await this.#last();
    this.#tell(`${process.name} goes on`);
    machine.lastStop = this.#cluster.time.now;
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

  async breakOne(): Promise<void> {
    const [a, b] = this.#pair();
    this.#tell(`what connects ${a} with ${b} breaks`);
    this.#cluster.network.break(a, b);
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
    daemon.platter.losePower(this.#random.pick(KEPT));
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
    // What rots is known from other copies: a single one is lost by design.
    const others = new Map<string, Buffer>();
    for (const { platter: other } of this.#cluster.datanodes) {
      if (other !== platter)
        for (const [path, { data, length }] of other.files()) others.set(nameOf(path), data.subarray(0, length));
    }
    const replicas = [...platter.files()].filter(
      ([path, { data, length }]) =>
        parseReplicaName(nameOf(path)) !== undefined && others.get(nameOf(path))?.equals(data.subarray(0, length)),
    );
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
    const left = this.#cluster.losePower(
      this.#actors.map(({ daemon }) => daemon),
      this.#random.pick(KEPT),
    );
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
    return this.#pick(this.#cluster.datanodes, ({ machine }) => machine);
  }

  #actor(): Actor {
    return this.#pick(this.#actors, ({ daemon }) => daemon.machine);
  }

  /** One of those where it happens that is struck at, if there is any. */
  #pick<T>(all: readonly T[], machineOf: (one: T) => { name: string }): T {
    const near = all.filter((one) => this.#near.includes(machineOf(one).name));
    return this.#random.pick(near.length > 0 ? near : all);
  }

  #pair(): [string, string] {
    const machines = [...this.#cluster.daemons, ...this.#actors.map(({ daemon }) => daemon)].map((d) => d.machine.name);
    const [from, to] = this.#near;
    if (from !== undefined && to !== undefined && this.#random.chance(0.5)) return [from, to];
    const a = from ?? this.#random.pick(machines);
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

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
