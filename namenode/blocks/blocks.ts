import { type Clock, type Timer, toMs } from "../../common/clock.js";
import { CairnError } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import type { CallContext, Dispatcher, Handler } from "../../proto/dispatch.js";
import { Admin, DatanodeCommands, Registry as RegistryService } from "../../proto/gen/services.js";
import {
  type AdministerDatanodeEdit,
  type Block,
  type DatanodeAddress,
  Duty,
  type Edit,
  type FsckBlockInit,
  type FsckReplyInit,
  type FsckRequest,
  type LocatedBlock,
  type StatusReplyInit,
} from "../../proto/gen/types.js";
import type { BlockManager, BlockReplicas, BlockUse, Editor, Effects } from "../contract.js";
import { readCluster } from "../namespace/records.js";
import type { KeyValue } from "../store/kv.js";
import { Administration } from "./administration.js";
import { assess } from "./assess.js";
import { Balancer } from "./balancer.js";
import { Counters } from "./counters.js";
import type { Datanode, DatanodeState } from "./datanode.js";
import { Datanodes } from "./datanodes.js";
import { Deletions } from "./deletions.js";
import { Drains } from "./drains.js";
import { Events } from "./events.js";
import { fsck } from "./fsck.js";
import { collectGarbage, sameBytes } from "./garbage.js";
import { Monitor } from "./monitor.js";
import { Placer } from "./placer.js";
import { Registry } from "./registry.js";
import { RepairLog } from "./repair-log.js";
import { EVACUATE, MISPLACED, RepairQueue } from "./repair-queue.js";
import { ReplicaMap } from "./replica-map.js";
import { Reports } from "./reports.js";
import type { BlockSettings } from "./settings.js";
import { Transfers } from "./transfers.js";
import { Uncommitted } from "./uncommitted.js";
import { Verifications } from "./verifications.js";
import { Walks } from "./walks.js";

/** How often orphans are looked for, ms. */
const GARBAGE_MS = 1_000;
/** Longest pause between two looks at who is alive, ms. */
const SWEEP_MS = 500;

type AdminHandlers = { [K in keyof typeof Admin]: Handler<(typeof Admin)[K]> };
/** The calls of Admin that are answered in care/. */
export type CareHandlers = Pick<
  AdminHandlers,
  "backup" | "recount" | "setQuota" | "getQuotas" | "createSnapshot" | "deleteSnapshot" | "listSnapshots"
>;

/** What Blocks is built on. */
export interface BlocksOptions {
  /** The store, open. Its edits may be replayed after this is constructed. */
  kv: KeyValue;
  editor: Editor;
  use: BlockUse;
  settings: BlockSettings;
  clock: Clock;
  log: Logger;
  /** Numbers in [0, 1), for placement. */
  random?: () => number;
  /** Undefined when the store takes more writes; else resolves when it does. Reports and walks over many blocks wait. */
  room?: () => Promise<void> | undefined;
  /** Answers what operators ask for that has nothing to do with blocks. */
  care: CareHandlers;
  /** What the status says of the rest of the namenode: version, startedMs, sessions. */
  about?: () => StatusReplyInit;
}

/** Datanodes and replicas: who is alive, who has what, where new blocks go, what is to be repaired. */
export class Blocks implements BlockManager {
  readonly #options: BlocksOptions;
  readonly #events: Events;
  readonly #log: RepairLog;
  readonly #datanodes: Datanodes;
  readonly #queue: RepairQueue;
  readonly #map: ReplicaMap;
  readonly #placer: Placer;
  readonly #transfers: Transfers;
  readonly #deletions: Deletions;
  readonly #verifications: Verifications;
  readonly #uncommitted = new Uncommitted();
  readonly #walks: Walks;
  readonly #balancer: Balancer;
  readonly #drains: Drains;
  readonly #administration: Administration;
  readonly #monitor: Monitor;
  readonly #reports: Reports;
  readonly #registry: Registry;
  readonly #timers: Timer[] = [];

  constructor(options: BlocksOptions) {
    const { kv, editor, use, settings, clock, room = () => undefined } = options;
    this.#options = options;
    this.#events = new Events(clock, options.log);
    this.#log = new RepairLog(clock, this.#events);
    this.#datanodes = new Datanodes(kv, clock, settings, {
      connected: (d) => this.#deletions.reconnected(d.id),
      changed: (d, from, why) => this.#onState(d, from, why),
      revalued: (d) => this.#onRevalued(d),
      racksAppeared: () => this.#onRacks(),
    });
    const counters = new Counters(kv);
    this.#queue = new RepairQueue(kv, counters);
    this.#map = new ReplicaMap(kv, this.#queue, counters, use, this.#datanodes);
    this.#placer = new Placer(this.#datanodes, clock, options.random ?? Math.random);
    this.#transfers = new Transfers(clock, settings);
    this.#deletions = new Deletions(clock, editor);
    this.#verifications = new Verifications(clock);
    this.#walks = new Walks(clock, this.#map, room);
    this.#drains = new Drains(clock, this.#datanodes, this.#map, (d, service) =>
      this.#events.add("info", `${d.name} is ${service}: every block has enough replicas elsewhere`),
    );
    this.#administration = new Administration(editor, this.#datanodes, clock, options.log);
    this.#balancer = new Balancer({
      ...{ clock, settings, use, datanodes: this.#datanodes, map: this.#map },
      ...{ transfers: this.#transfers, deletions: this.#deletions },
    });
    const parts = {
      clock,
      use,
      datanodes: this.#datanodes,
      map: this.#map,
      queue: this.#queue,
      placer: this.#placer,
      transfers: this.#transfers,
      deletions: this.#deletions,
      verifications: this.#verifications,
      uncommitted: this.#uncommitted,
      walks: this.#walks,
      balancer: this.#balancer,
      log: this.#log,
    };
    this.#monitor = new Monitor(parts);
    this.#reports = new Reports({ ...parts, room, onProgress: () => this.#monitor.kick() });
    this.#registry = new Registry(editor, this.#datanodes, clock, settings);
    editor.onApplied((edit, effects) => this.#onApplied(edit, effects));
  }

  /** Answers the calls of datanodes and operators. */
  register(dispatcher: Dispatcher): void {
    dispatcher.serve(RegistryService, {
      register: (request, { link }) => this.#registry.register(request, link),
      heartbeat: (request, { link }) => this.#registry.heartbeat(request, link),
      reportChanges: (request, context) => this.#report(context, (d) => this.#reports.changes(d, request)),
      reportRegions: (request, context) =>
        this.#report(context, (d) => ({ ranges: this.#reports.regions(d, request) })),
      reportDigests: (request, context) =>
        this.#report(context, (d) => ({ ranges: this.#reports.digests(d, request) })),
      reportRange: (request, context) => this.#report(context, (d) => this.#reports.range(d, request)),
    });
    dispatcher.serve(Admin, {
      status: () => this.status(),
      fsck: (request) => this.#fsck(request),
      administer: (request) => this.#administration.administer(request),
      balance: (request) => this.#balancer.request(request),
      ...this.#options.care,
    });
  }

  /** Begins to watch and to repair. Call it when the journal has been replayed. */
  start(): void {
    const { clock, settings, use } = this.#options;
    const sweepMs = Math.min(SWEEP_MS, settings.heartbeatMs);
    const garbage = {
      clock,
      use,
      map: this.#map,
      deletions: this.#deletions,
      uncommitted: this.#uncommitted,
    };
    this.#datanodes.begin();
    this.#timers.push(
      clock.every(sweepMs, () => {
        this.#datanodes.sweep(sweepMs);
        this.#administration.expire();
      }),
      clock.every(GARBAGE_MS, () => collectGarbage(garbage, settings.orphanGraceMs, this.#justRestored())),
    );
    // What is worth less since the last moments before a crash may not all have been looked at.
    for (const d of this.#datanodes.all()) if (d.duty !== Duty.IN_SERVICE) this.#onRevalued(d);
    this.#monitor.start();
  }

  /** Stops watching and repairing. The links are their server's to close. */
  close(): Promise<void> {
    for (const timer of this.#timers.splice(0)) timer.clear();
    this.#monitor.close();
    this.#drains.close();
    this.#balancer.close();
    this.#walks.close();
    return Promise.resolve();
  }

  place(request: { replicas: number; size: number; host: string; exclude: readonly number[] }): DatanodeAddress[] {
    return this.#placer.place(request);
  }

  locate(block: Block, host: string): Omit<LocatedBlock, "live"> {
    const holders: Datanode[] = [];
    for (const { datanode, generation, corrupt } of this.#map.get(block.id).replicas) {
      const holder = this.#datanodes.get(datanode);
      if (!corrupt && generation === block.generation && holder !== undefined && holder.state !== "dead")
        holders.push(holder);
    }
    const nearest = this.#placer.nearest(holders, host, (d) => this.#verifications.has(d.id, block.id));
    return { block, replicas: nearest.map((d) => d.address) };
  }

  reportBad(block: Block, datanode: number, reason: string): void {
    const holder = this.#datanodes.get(datanode);
    const replica = this.#map.get(block.id).replicas.find((r) => r.datanode === datanode);
    if (holder === undefined || replica?.generation !== block.generation || replica.corrupt) return;
    if (this.#verifications.request(holder, block)) {
      const why = reason.slice(0, MAX_REASON);
      this.#options.log.info(
        { block: block.id, datanode, why },
        "a reader could not use a replica: having it verified",
      );
    }
  }

  capacity(): { capacity: number; used: number; available: number } {
    const sums = { capacity: 0, used: 0, available: 0 };
    for (const { capacity, used, free, takesBlocks } of this.#datanodes.live()) {
      sums.capacity += capacity;
      sums.used += used;
      if (takesBlocks) sums.available += free;
    }
    return sums;
  }

  replicas(block: Block): BlockReplicas {
    const wanted = this.#options.use.committed(block.id)?.wanted ?? 0;
    const { good, corrupt, leaving, resting, absent } = assess(this.#map.get(block.id), wanted, this.#datanodes);
    return { live: good, corrupt, leaving, resting: [...resting, ...absent], absent };
  }

  /** What the status page shows. Cheap: nothing is scanned. */
  status(): StatusReplyInit {
    const { kv, editor, about } = this.#options;
    const { cluster, files, directories, blocks } = readCluster(kv);
    const { capacity, used, available: free } = this.capacity();
    return {
      ...about?.(),
      ...{ cluster, files, directories, blocks, capacity, used, free },
      underReplicated: this.#queue.underReplicated,
      lastCopy: this.#queue.count(1),
      missing: this.#queue.missing,
      evacuating: this.#queue.count(EVACUATE),
      misplaced: this.#queue.count(MISPLACED),
      corrupt: this.#map.corrupt,
      pendingReplications: this.#transfers.size,
      pendingDeletions: this.#deletions.size,
      datanodes: this.#datanodes.all().map((d) => ({
        ...d.status(),
        service: this.#drains.service(d),
        needed: this.#drains.needed(d) ?? 0,
        transfers: this.#transfers.load(d.id),
      })),
      events: this.#events.list(),
      lastIndex: editor.lastIndex,
      syncedIndex: editor.syncedIndex,
    };
  }

  #fsck(request: FsckRequest): FsckReplyInit {
    const { kv, use } = this.#options;
    if (request.repair && request.cursor.length === 0)
      for (const { commands } of this.#datanodes.live()) commands?.push(DatanodeCommands.fullReport, {});
    const reply = fsck({ kv, use, replicas: (b) => this.replicas(b) }, request);
    if (request.repair) {
      for (const { blocks } of reply.files ?? []) for (const found of blocks ?? []) this.#mend(found);
      this.#monitor.kick();
    }
    return reply;
  }

  /** Has what is wrong with a block looked at again: the queue of repairs gets it right, and its replicas are verified. */
  #mend({ block, live = [], corrupt = [], wanted = 0 }: FsckBlockInit): void {
    const known = block === undefined ? undefined : this.#options.use.committed(block.id ?? 0);
    if (known === undefined || wanted === 0) return;
    const id = block!.id!;
    this.#map.refresh(id);
    if (corrupt.length === 0 && live.length >= wanted) return;
    for (const datanode of [...live, ...corrupt]) {
      const holder = this.#datanodes.get(datanode);
      if (holder !== undefined)
        this.#verifications.request(holder, { id, generation: known.generation, length: known.length });
    }
  }

  /** Works a datanode's report off after those before it. */
  async #report<R>({ link }: CallContext, work: (datanode: Datanode) => R | Promise<R>): Promise<Awaited<R> | object> {
    const datanode = this.#datanodes.of(link);
    this.#datanodes.heard(datanode, "its reports are back");
    const result = await datanode.reports.run(() => {
      if (datanode.link !== link)
        throw new CairnError("ENOTCONN", `a report of ${datanode.name} over an old connection`);
      return work(datanode);
    });
    return result ?? {};
  }

  /** Whether the store was restored from a backup a short while ago: datanodes may have files' blocks that it does not know. */
  #justRestored(): boolean {
    const { kv, clock, settings } = this.#options;
    const { restored } = readCluster(kv);
    return restored !== null && clock.now() < toMs(restored) + settings.restoreGraceMs;
  }

  #onApplied(edit: Edit, { committed = [], wanted = [], freed = [] }: Effects): void {
    if (edit.registerDatanode !== null) this.#datanodes.applied(edit.registerDatanode);
    if (edit.administerDatanode !== null) this.#onAdministered(edit.administerDatanode);
    for (const { block, wanted } of committed) this.#onCommitted(block.block, block.datanodes, wanted);
    for (const { block } of wanted) this.#map.refresh(block.id);
    for (const block of freed) this.#onFreed(block);
  }

  #onCommitted(block: Block, acknowledged: readonly number[], wanted: number): void {
    const holders = new Set(acknowledged.filter((id) => this.#datanodes.get(id) !== undefined));
    for (const id of holders) this.#datanodes.get(id)!.promises.keep();
    // Others may have finalized it too (an acknowledgement was lost), or be left with less than all of it.
    for (const { datanode, replica } of this.#uncommitted.take(block.id)) {
      if (sameBytes(replica, block)) holders.add(datanode);
      else if (!holders.has(datanode)) this.#deletions.add(datanode, replica);
    }
    this.#map.commit(block, [...holders], wanted);
  }

  #onFreed(block: Block): void {
    this.#transfers.cancel(block.id);
    this.#log.freed(block.id);
    for (const id of this.#map.free(block.id)) {
      if (!this.#datanodes.isDead(id)) this.#deletions.add(id, block);
    }
  }

  #onAdministered(edit: AdministerDatanodeEdit): void {
    this.#datanodes.administered(edit);
    const datanode = this.#datanodes.get(edit.id);
    if (datanode !== undefined) this.#events.add("info", `${datanode.name} is ${this.#drains.service(datanode)} now`);
  }

  /** A datanode's replicas are worth something else than before. */
  #onRevalued(datanode: Datanode): void {
    this.#drains.revalued(datanode);
    this.#walks.start(datanode, () => this.#monitor.kick());
    this.#monitor.kick();
  }

  /** Blocks that are on one rack could be on two. */
  #onRacks(): void {
    this.#events.add("info", "there are several racks now: blocks with all replicas on one are moved");
    for (const d of this.#datanodes.all()) this.#walks.start(d, () => this.#monitor.kick());
  }

  #onState(datanode: Datanode, from: DatanodeState, why: string): void {
    const { name, state } = datanode;
    if (state === "suspect") this.#events.add("warning", `${name} is suspect: ${why}`);
    else if (state === "live")
      this.#events.add("info", `${name} ${datanode.joined ? `returned, was ${from}` : "joined"}`);
    else if (datanode.duty === Duty.MAINTENANCE) this.#events.add("info", `${name} is away for maintenance: ${why}`);
    else this.#events.add("error", `${name} is dead: ${why}`);
    if (state === "live") datanode.joined = true;
    if (state === "dead") {
      this.#transfers.cancelOf(datanode.id);
      this.#deletions.forget(datanode.id);
      this.#walks.start(datanode, (short) => {
        this.#log.lost(name, short);
        this.#monitor.kick();
      });
    } else if (from === "dead") this.#walks.start(datanode, () => this.#monitor.kick());
    this.#monitor.kick();
  }
}

/** Of what a reader says of a bad replica, the log keeps this many characters. */
const MAX_REASON = 200;
