import { type CairnClient, connectClient } from "../../client/index.js";
import { messageOf } from "../../common/errors.js";
import { type Logger, silentLogger } from "../../common/log.js";
import { loadSettings } from "../../common/settings.js";
import { Datanode } from "../../datanode/datanode.js";
import { datanodeSettings } from "../../datanode/settings.js";
import { FileSystem } from "../../fuse/core.js";
import { Namenode } from "../../namenode/namenode.js";
import { namenodeSettings } from "../../namenode/settings.js";
import { LinkAuth } from "../../proto/auth.js";
import { Dispatcher } from "../../proto/dispatch.js";
import type { Link } from "../../proto/link.js";
import { type Access, LibraryAccess, MountAccess } from "./access.js";
import { type Fate, Platter, SimDisk } from "./disk.js";
import { Machine, Process } from "./machine.js";
import { SimNetwork } from "./network.js";
import type { Random } from "./random.js";
import { NamenodeDisk } from "./storage.js";
import { ProcessClock, Time } from "./time.js";

/** Where the namenode is reached. */
const NAMENODE = "nn";
const PORT = 9870;
const DATANODE_PORT = 9864;
/** Folders of each datanode, each on a disk of its own. */
const VOLUMES = ["/disk1/cairn", "/disk2/cairn"];

/** Timeouts of the simulated cluster, ms: shorter than the defaults, so that more happens in a run. */
const TIMES = {
  leaseMs: 15_000,
  heartbeatMs: 1_000,
  deadAfterMs: 10_000,
  fullReportMs: 60_000,
  orphanGraceMs: 30_000,
  transferTimeoutMs: 15_000,
};
/** How long clients wait for a namenode that is away, and for a replica that can be read, ms. */
const PATIENCE_MS = 120_000;
const READ_PATIENCE_MS = 20_000;
/** Memory of a client: little, so that its bounds are met. */
const CLIENT_MEMORY = 2 << 20;
/** For how long the kernel of a mount may believe what it was told, ms. */
const KERNEL_MS = 1_000;

/** A daemon that is started, killed and started again on its machine. */
export interface Daemon {
  readonly machine: Machine;
  process: Process;
}

/** A datanode with its disks. */
export interface DatanodeMachine extends Daemon {
  readonly platter: Platter;
  /** The program, while it serves. */
  running: Datanode | undefined;
}

/** What happened, for people. */
export type Tell = (what: string) => void;

/** A whole cluster in one process, on virtual time. */
export class SimCluster {
  readonly time = new Time();
  readonly network: SimNetwork;
  readonly random: Random;
  readonly tell: Tell;
  readonly namenode: Daemon & { readonly disk: NamenodeDisk };
  readonly datanodes: DatanodeMachine[];
  readonly #log: (process: Process) => Logger;
  /** Blocks up to this size are kept by the namenode, bytes. */
  readonly inlineBytes: number;
  readonly #journalSyncMs: number | undefined;
  #processes = 0;
  #running: Namenode | undefined;

  /**
   * @param inlineBytes of the namenode's setting; as chance has it unless given
   * @param journalSyncMs of the namenode's settings
   * @param log the programs' own logs; none unless given
   */
  constructor(options: {
    random: Random;
    datanodes: number;
    tell: Tell;
    inlineBytes?: number;
    journalSyncMs?: number;
    log?: (process: Process) => Logger;
  }) {
    const { random } = options;
    this.random = random;
    this.tell = options.tell;
    this.#log = options.log ?? (() => silentLogger);
    this.network = new SimNetwork(this.time, random.fork());
    this.namenode = { ...this.#newMachine(NAMENODE), disk: new NamenodeDisk() };
    this.datanodes = Array.from({ length: options.datanodes }, (_, i) => ({
      ...this.#newMachine(`dn${i + 1}`),
      platter: new Platter(random.fork()),
      running: undefined,
    }));
    const anyBytes = random.pick([0, 0, 512, 16 << 10]);
    this.inlineBytes = options.inlineBytes ?? anyBytes;
    this.#journalSyncMs = options.journalSyncMs;
    for (const daemon of [this.namenode, ...this.datanodes]) daemon.process.kill();
  }

  get daemons(): Daemon[] {
    return [this.namenode, ...this.datanodes];
  }

  /** Starts the namenode. Resolves when it serves; never, if it is killed before. */
  async startNamenode(): Promise<void> {
    const { machine, disk } = this.namenode;
    const process = this.#newProcess(this.namenode);
    const settings = loadSettings("namenode", namenodeSettings, {
      flags: {
        dataDir: "/namenode",
        host: machine.name,
        port: PORT,
        blockSize: 4 << 20,
        inlineBytes: this.inlineBytes,
        ...(this.#journalSyncMs !== undefined && { journalSync: this.#journalSyncMs }),
        ...TIMES,
      },
    });
    const namenode = new Namenode({
      settings,
      log: this.#log(process),
      clock: new ProcessClock(this.time, process),
      uuid: () => "the cluster",
      network: this.network.for(process),
      storage: disk.opener(process, this.time, this.random.fork()),
      random: this.random.fork().next,
    });
    await namenode.start();
    this.#running = namenode;
    this.tell(`namenode serves, ${disk.lastIndex} edits`);
  }

  /** SIGTERM: the namenode brings everything to its disk and ends. */
  async closeNamenode(): Promise<void> {
    await this.#running?.close();
    this.namenode.process.kill();
  }

  /** Starts a datanode. Resolves when it serves; never, if it is killed before. */
  async startDatanode(daemon: DatanodeMachine): Promise<void> {
    const process = this.#newProcess(daemon);
    const settings = loadSettings("datanode", datanodeSettings, {
      flags: {
        host: daemon.machine.name,
        port: DATANODE_PORT,
        namenode: `http://${NAMENODE}:${PORT}`,
        dataDirs: VOLUMES,
        reserve: 0,
      },
    });
    const datanode = new Datanode({
      settings,
      log: this.#log(process),
      clock: new ProcessClock(this.time, process),
      disk: new SimDisk(daemon.platter, process, this.time, this.random.fork()),
      network: this.network.for(process),
      random: this.random.fork().next,
    });
    void datanode.failed.then((reason) => {
      this.tell(`${daemon.machine.name} gives up: ${messageOf(reason)}`);
      process.kill();
    });
    try {
      await datanode.start();
      daemon.running = datanode;
      process.onDeath(() => {
        daemon.running = undefined;
      });
      this.tell(`${daemon.machine.name} serves`);
    } catch (err) {
      this.tell(`${daemon.machine.name} does not start: ${messageOf(err)}`);
      process.kill();
    }
  }

  /** A client on a machine of its own, or again on that machine. @param options of the client's */
  async connect(daemon: Daemon, options: { readPatienceMs?: number; watch?: boolean } = {}): Promise<CairnClient> {
    const process = this.#newProcess(daemon);
    return connectClient({
      namenode: `${NAMENODE}:${PORT}`,
      name: process.name,
      host: daemon.machine.name,
      patienceMs: PATIENCE_MS,
      startPatienceMs: PATIENCE_MS,
      readPatienceMs: READ_PATIENCE_MS,
      ...options,
      shortCircuit: false,
      writeMemory: CLIENT_MEMORY,
      readMemory: CLIENT_MEMORY,
      log: this.#log(process),
      clock: new ProcessClock(this.time, process),
      network: this.network.for(process),
      random: this.random.fork().next,
      sessionId: this.random.int(1, 2 ** 31) * 1000 + this.#processes,
    });
  }

  /** A client that is used through its library. As connect(). */
  async useLibrary(daemon: Daemon): Promise<Access> {
    return new LibraryAccess(await this.connect(daemon));
  }

  /**
   * A client that is used as a mount is: all of it but the kernel. As connect().
   * @param maxInodes inodes that it remembers, at most
   */
  async mount(daemon: Daemon, maxInodes: number): Promise<Access> {
    const client = await this.connect(daemon, { watch: true });
    const { process } = daemon;
    const clock = new ProcessClock(this.time, process);
    return new MountAccess(
      client,
      new FileSystem({ client, kernelMs: KERNEL_MS, log: this.#log(process), clock, maxInodes }),
    );
  }

  /** A machine for a client. */
  newClientMachine(name: string): Daemon {
    return this.#newMachine(name);
  }

  /** Whether a client and the namenode have been there, and connected with one another, since some time, ms. */
  isSteady({ process, machine }: Daemon, since: number): boolean {
    const runs = [machine, this.namenode.machine].every(({ lastStop }) => lastStop < since);
    const stopped = process.isStopped || this.namenode.process.isStopped;
    return runs && !stopped && this.network.isConnected(machine.name, NAMENODE, since);
  }

  /** A connection of an operator to the namenode. */
  operator(): Promise<Link> {
    const process = new Process(new Machine("operator"), "operator");
    const clock = new ProcessClock(this.time, process);
    const options = { dispatcher: new Dispatcher(), auth: new LinkAuth(), log: silentLogger, clock };
    return this.network.for(process).dial(NAMENODE, PORT, options);
  }

  /** The power of everything goes at once. Returns the index of the last edit that is left. */
  losePower(clients: readonly Daemon[], fate: Fate = 0.5): number {
    for (const { process } of [...this.daemons, ...clients]) process.kill(true);
    for (const { platter } of this.datanodes) {
      platter.losePower(fate);
      platter.lastDisaster = this.time.now;
    }
    return this.namenode.disk.losePower(this.random, fate);
  }

  #newMachine(name: string): Daemon {
    const machine = new Machine(name);
    return { machine, process: new Process(machine, name) };
  }

  #newProcess(daemon: Daemon): Process {
    daemon.process.kill();
    daemon.process = new Process(daemon.machine, `${daemon.machine.name} (${++this.#processes})`);
    return daemon.process;
  }
}
