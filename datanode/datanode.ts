import { type Clock, RealClock } from "../common/clock.js";
import { CairnError, messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import { readSecret } from "../common/secret.js";
import { VERSION } from "../common/version.js";
import { LinkAuth } from "../proto/auth.js";
import { LinkPool } from "../proto/connect.js";
import { Dispatcher } from "../proto/dispatch.js";
import { BlockStream, DatanodeCommands, Datanode as DatanodeService } from "../proto/gen/services.js";
import type { HeartbeatRequestInit, RegisterReply, RegisterRequestInit } from "../proto/gen/types.js";
import { type Network, webSockets } from "../proto/network.js";
import type { LinkServer } from "../proto/server.js";
import { AfterPowerLoss } from "./after-power-loss.js";
import { BackgroundSync } from "./background-sync.js";
import { ByteBudget } from "./byte-budget.js";
import { type Disk, RealDisk } from "./disk.js";
import { Downstreams } from "./downstream.js";
import { createHttp, type DatanodeFigures } from "./http.js";
import { Identity } from "./identity.js";
import { Orders } from "./orders.js";
import { Pipeline } from "./pipeline.js";
import { Reads } from "./reads.js";
import { Registration } from "./registration.js";
import { Reporter } from "./reporter.js";
import { Scrubber } from "./scrubber.js";
import { advertisedHost, type DatanodeSettings, namenodeAddress } from "./settings.js";
import { ReplicaStore } from "./store.js";
import { Verifier } from "./verifier.js";

export interface DatanodeOptions {
  settings: DatanodeSettings;
  log: Logger;
  clock?: Clock;
  disk?: Disk;
  /** 0 <= random() < 1 */
  random?: () => number;
  network?: Network;
  /** Override of how long the replica of a broken write is kept, ms. */
  resumeGraceMs?: number;
}

/** A datanode: everything from its volumes to its port. */
export class Datanode {
  /** Resolves if it cannot go on: of another cluster, or without a volume. It is to be closed then. */
  readonly failed: Promise<CairnError>;
  readonly #settings: DatanodeSettings;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #identity: Identity;
  readonly #store: ReplicaStore;
  readonly #background: BackgroundSync;
  readonly #windows: ByteBudget;
  readonly #replies: ByteBudget;
  readonly #resumeGraceMs: number | undefined;
  readonly #network: Network;
  readonly #random: () => number;
  #fail!: (reason: CairnError) => void;
  #parts: Parts | undefined;
  #server: LinkServer | undefined;
  #reporter: Reporter | undefined;
  #closing: Promise<void> | undefined;
  /** What close() does, last first. */
  readonly #closers: (() => unknown)[] = [];

  constructor({ settings, log, clock = new RealClock(), ...options }: DatanodeOptions) {
    this.#settings = settings;
    this.#log = log;
    this.#clock = clock;
    this.#identity = new Identity(clock);
    this.#resumeGraceMs = options.resumeGraceMs;
    this.#network = options.network ?? webSockets;
    this.#random = options.random ?? Math.random;
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    this.#background = new BackgroundSync(clock, log);
    this.#windows = new ByteBudget("writers", settings.maxBufferedBytes, clock);
    this.#replies = new ByteBudget("readers", settings.maxReadBytes, clock);
    this.#store = new ReplicaStore({
      paths: settings.dataDirs,
      disk: options.disk ?? new RealDisk(),
      reserve: settings.reserve,
      clock,
      log,
      random: this.#random,
      background: this.#background,
      report: (change) => this.#reporter?.change(change),
      onNoVolume: (reason) => this.#fail(new CairnError("EIO", "the last volume has failed", reason)),
    });
  }

  /** The number given by the namenode; 0: not registered yet. */
  get id(): number {
    return this.#identity.id;
  }

  /** The port it listens on; undefined before the start. */
  get port(): number | undefined {
    return this.#server?.port;
  }

  /**
   * Opens the volumes, serves, and registers with the namenode in the background. Rejects, with everything closed again,
   * when a volume is in use (EBUSY) or another's (EPERM), the port is taken (EADDRINUSE), a setting is wrong (EINVAL).
   */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (err) {
      await this.close();
      throw err;
    }
  }

  /** Tells writers to go elsewhere, finishes what is under way, brings replicas to the disk. Once, however often it is called. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** What it shows of itself. */
  figures(): DatanodeFigures {
    return {
      datanode: this.#identity.id,
      cluster: this.#identity.cluster,
      blocks: this.#store.map.size,
      writers: this.#parts?.pipeline.streams ?? 0,
      transfers: this.#parts?.orders.transfers ?? 0,
      bytesWritten: this.#parts?.pipeline.bytesWritten ?? 0,
      bytesRead: this.#parts?.reads.bytesRead ?? 0,
      windows: this.#windows.used,
      replies: this.#replies.used,
      volumes: this.#store.volumes.statuses(),
      scrubs: (this.#parts?.scrubbers ?? []).map((s) => s.figures()),
    };
  }

  async #start(): Promise<void> {
    const began = this.#clock.monotonic();
    const secret = readSecret(this.#settings.secretFile);
    const auth = new LinkAuth(secret);
    await this.#store.open();
    this.#closers.push(() => this.#store.close());
    this.#closers.push(() => this.#background.finish());
    const parts = this.#assemble(auth);
    this.#parts = parts;
    const { host, port } = this.#settings;
    const [log, clock] = [this.#log, this.#clock];
    const { dispatcher } = parts;
    const onHttp = createHttp(() => this.figures(), log);
    this.#closers.push(async () => {
      await parts.orders.close();
      await parts.pipeline.close(); // writers hear of the end before their links go
      await this.#server?.close("the datanode is shutting down");
    });
    this.#server = await this.#network.listen({ host, port, dispatcher, auth, secret, log, clock, onHttp });
    this.#register(auth, parts.orders);
    this.#closers.push(() => parts.afterPowerLoss.close());
    parts.afterPowerLoss.start();
    for (const scrubber of parts.scrubbers) {
      this.#closers.push(() => scrubber.close());
      await scrubber.start();
    }
    const ms = Math.round(this.#clock.monotonic() - began);
    log.info({ host, port: this.#server.port, blocks: this.#store.map.size, ms }, "serving");
  }

  #assemble(auth: LinkAuth): Parts {
    const [log, clock, store, identity] = [this.#log, this.#clock, this.#store, this.#identity];
    const acks = new Dispatcher();
    const pool = new LinkPool({ dispatcher: acks, auth, log, clock, dial: this.#network.dial });
    this.#closers.push(() => pool.close());
    const downstreams = new Downstreams(pool);
    downstreams.takeAcks(acks);
    const pipeline = new Pipeline({
      store,
      identity,
      downstreams,
      windows: this.#windows,
      clock,
      log,
      ...(this.#resumeGraceMs !== undefined && { resumeGraceMs: this.#resumeGraceMs }),
    });
    const verifier = new Verifier({ store, report: (change) => this.#reporter?.change(change), log });
    const orders = new Orders({
      store,
      verifier,
      identity,
      downstreams,
      report: (change) => this.#reporter?.change(change),
      clock,
      log,
      parallelTransfers: this.#settings.parallelTransfers,
      bytesPerSecond: this.#settings.transferRate,
    });
    const onDoubt = orders.doubt.bind(orders);
    const afterPowerLoss = new AfterPowerLoss({
      ...{ store, verifier, clock, log },
      bytesPerSecond: this.#settings.transferRate,
    });
    const sync = afterPowerLoss.sync.bind(afterPowerLoss);
    const reads = new Reads({ store, pipeline, memory: this.#replies, onDoubt, sync, clock });
    const dispatcher = new Dispatcher()
      .serve(DatanodeService, {
        openWrite: (request, context) => pipeline.openWrite(request, context),
        readBlock: (request, { link }) => reads.readBlock(request, link),
        openLocal: (request) => reads.openLocal(request),
        syncBlocks: (request) => reads.syncBlocks(request),
        abortWrite: async (request) => {
          await pipeline.abortWrite(request);
          return {};
        },
      })
      .take(BlockStream, { packet: (header, context) => pipeline.packet(header, context) });
    return { pipeline, orders, reads, afterPowerLoss, dispatcher, scrubbers: this.#scrubbers(verifier) };
  }

  /** One per volume: disks do not wait for one another. */
  #scrubbers(verifier: Verifier): Scrubber[] {
    const { scrubPeriodMs: periodMs, scrubRate: bytesPerSecond } = this.#settings;
    if (periodMs === 0) return [];
    const [log, clock, { map, volumes }] = [this.#log, this.#clock, this.#store];
    const verify = verifier.verify.bind(verifier);
    return volumes.live.map((volume) => new Scrubber({ volume, map, verify, clock, log, periodMs, bytesPerSecond }));
  }

  #register(auth: LinkAuth, orders: Orders): void {
    const [log, clock] = [this.#log, this.#clock];
    const commands = new Dispatcher().take(DatanodeCommands, {
      replicate: (order) => orders.replicate(order),
      delete: (order) => orders.delete(order),
      verify: (order) => orders.verify(order),
      fullReport: () => this.#reporter?.fullReport(),
    });
    const registration = new Registration({
      namenode: namenodeAddress(this.#settings),
      dispatcher: commands,
      auth,
      clock,
      log,
      dial: this.#network.dial,
      random: this.#random,
      describe: () => this.#describe(),
      status: () => this.#status(),
      onRegistered: async (reply) => {
        await orders.forgetDeletions(); // before anything is reported
        await this.#registered(reply);
      },
      onReportWanted: () => this.#reporter?.fullReport(),
      onFatal: (reason) => this.#fail(reason),
    });
    this.#reporter = new Reporter(registration.link, this.#store.map, clock, log);
    this.#closers.push(() => {
      this.#reporter?.close();
      registration.close();
    });
  }

  #describe(): RegisterRequestInit {
    const { datanode, cluster } = this.#store.volumes.version;
    return {
      uuid: datanode,
      cluster,
      host: advertisedHost(this.#settings),
      port: this.#server?.port ?? 0,
      rack: this.#settings.rack,
      doubted: this.#store.doubts.unread,
      volumes: this.#store.volumes.statuses(),
      version: VERSION,
    };
  }

  async #status(): Promise<HeartbeatRequestInit> {
    await this.#store.volumes.refreshSpace();
    const { volumes, writers, transfers, blocks } = this.figures();
    return { volumes, writers, transfers, blocks, doubted: this.#store.doubts.unread };
  }

  async #registered({ datanode, cluster }: RegisterReply): Promise<void> {
    const { volumes } = this.#store;
    const { cluster: ours } = volumes.version;
    if (ours !== "" && ours !== cluster) {
      throw new CairnError("EPERM", `the volumes belong to the cluster ${ours}, not to ${cluster}`);
    }
    if (ours === "") await volumes.joinCluster(cluster);
    this.#identity.assign(datanode, cluster);
  }

  async #close(): Promise<void> {
    for (const closer of this.#closers.reverse()) {
      try {
        await closer();
      } catch (err) {
        this.#log.error({ err: messageOf(err) }, "could not shut down cleanly");
      }
    }
  }
}

/** What a datanode is made of, once its volumes are open. */
interface Parts {
  readonly pipeline: Pipeline;
  readonly orders: Orders;
  readonly reads: Reads;
  readonly afterPowerLoss: AfterPowerLoss;
  readonly dispatcher: Dispatcher;
  readonly scrubbers: readonly Scrubber[];
}
