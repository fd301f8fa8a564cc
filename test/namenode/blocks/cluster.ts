import { CairnError } from "../../../common/errors.js";
import { silentLogger } from "../../../common/log.js";
import { Blocks } from "../../../namenode/blocks/blocks.js";
import type { BlockSettings } from "../../../namenode/blocks/settings.js";
import type { Applied, BlockUse, Editor, Effects } from "../../../namenode/contract.js";
import { apply } from "../../../namenode/namespace/apply.js";
import { MemoryStore } from "../../../namenode/store/memory.js";
import { RangeDigests, rangeOf, regionPages } from "../../../proto/digest.js";
import { type CallContext, Dispatcher } from "../../../proto/dispatch.js";
import { Admin, DatanodeCommands, Registry } from "../../../proto/gen/services.js";
import {
  type BalanceReply,
  type BalanceRequestInit,
  type Block,
  type DatanodeStatus,
  type Duty,
  Edit,
  type EditInit,
  type FsckReply,
  type FsckRequestInit,
  type ReplicateCommand,
  ReplicaChangeState as State,
  type StatusReply,
} from "../../../proto/gen/types.js";
import type { Link } from "../../../proto/link.js";
import type { AnyMethod, ReplyOf, RequestOf } from "../../../proto/method.js";
import { FakeClock, settle } from "../../support/fake-clock.js";

export const CLUSTER_ID = "0b6d1c52-0000-4000-8000-000000000001";
const GIB = 2 ** 30;

/** A link with nobody at the other end: what is pushed goes to a function. */
export class FakeLink {
  readonly peer = "test";
  bufferedBytes = 0;
  isOpen = true;
  readonly closed: Promise<CairnError>;
  readonly #onPush: (method: AnyMethod, message: unknown) => void;
  #resolve!: (reason: CairnError) => void;

  constructor(onPush: (method: AnyMethod, message: unknown) => void) {
    this.#onPush = onPush;
    this.closed = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  push(method: AnyMethod, message: unknown): void {
    if (this.isOpen) this.#onPush(method, method.request.decode(method.request.encode(message).finish()));
  }

  terminate(reason: string): void {
    this.isOpen = false;
    this.#resolve(new CairnError("ENOTCONN", reason));
  }

  get asLink(): Link {
    return this as unknown as Link;
  }
}

/** An Editor over a store in memory: edits are applied as they are in the namenode, and journaled nowhere. */
export class TestEditor implements Editor {
  readonly kv: MemoryStore;
  readonly #listeners: ((edit: Edit, effects: Effects) => void)[] = [];
  lastIndex = 0;
  /** Edits up to here are on the disk; undefined: all are. */
  syncedUpTo: number | undefined;

  constructor(kv: MemoryStore) {
    this.kv = kv;
  }

  get syncedIndex(): number {
    return this.syncedUpTo ?? this.lastIndex;
  }

  apply(op: Omit<EditInit, "index" | "time">): Applied {
    const index = ++this.lastIndex;
    const edit = Edit.decode(Edit.encode({ ...op, index, time: { sec: 1, nsec: 0 } }).finish());
    const effects = apply(edit, this.kv);
    for (const listener of this.#listeners) listener(edit, effects);
    return { index, effects };
  }

  /** Tells the listeners of effects without an edit that has them. */
  effect(effects: Effects): void {
    const edit = Edit.decode(Edit.encode({ index: ++this.lastIndex, time: { sec: 1, nsec: 0 } }).finish());
    for (const listener of this.#listeners) listener(edit, effects);
  }

  appended(): Promise<void> {
    return Promise.resolve();
  }

  synced(): Promise<void> {
    return Promise.resolve();
  }

  onApplied(listener: (edit: Edit, effects: Effects) => void): void {
    this.#listeners.push(listener);
  }
}

export const SETTINGS: BlockSettings = {
  heartbeatMs: 3_000,
  deadAfterMs: 30_000,
  fullReportMs: 3_600_000,
  orphanGraceMs: 600_000,
  restoreGraceMs: 3_600_000,
  maxTransfers: 100,
  maxTransfersPerDatanode: 10,
  transferTimeoutMs: 60_000,
};

/** The namenode's side of blocks/, with simulated datanodes, on a fake clock. */
export class TestCluster implements BlockUse {
  readonly clock = new FakeClock();
  readonly kv = new MemoryStore();
  readonly settings: BlockSettings;
  readonly datanodes: TestDatanode[] = [];
  readonly #committed = new Map<number, { generation: number; length: number; wanted: number }>();
  readonly pending = new Set<number>();
  editor = new TestEditor(this.kv);
  dispatcher = new Dispatcher();
  blocks!: Blocks;
  /** Called when a datanode is about to delete a replica that it has. */
  onDelete: ((datanode: TestDatanode, block: Block) => void) | undefined;
  /** Turn to delay, in test code, what datanodes do with commands. */
  onReplicate: ((source: TestDatanode, command: ReplicateCommand) => boolean) | undefined;

  constructor(settings: Partial<BlockSettings> = {}) {
    this.settings = { ...SETTINGS, ...settings };
    const time = { sec: 1, nsec: 0 };
    const policy = { replicas: 3, blockSize: 64 * 2 ** 20, compression: 0 as const };
    const root = { ino: 1, mode: 0o40755, nlink: 2, atime: time, mtime: time, ctime: time, policy };
    this.editor.apply({ format: { cluster: CLUSTER_ID, root } });
    this.start();
  }

  /** (Re)starts the namenode over what the store has. */
  start(): void {
    for (const d of this.datanodes) d.disconnect("the namenode is gone");
    void this.blocks?.close();
    const { kv, clock, settings } = this;
    const lastIndex = this.editor.lastIndex;
    this.editor = new TestEditor(kv);
    this.editor.lastIndex = lastIndex;
    this.dispatcher = new Dispatcher();
    let seed = 1;
    const random = () => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
      return seed / 0x80000000;
    };
    const refuse = () => {
      throw new CairnError("ENOSYS", "not a part of blocks/");
    };
    const snapshots = { createSnapshot: refuse, deleteSnapshot: refuse, listSnapshots: refuse };
    const care = { backup: refuse, recount: refuse, setQuota: refuse, getQuotas: refuse, ...snapshots };
    const tools = { clock, log: silentLogger, random, care };
    this.blocks = new Blocks({ kv, editor: this.editor, use: this, settings, ...tools });
    this.blocks.register(this.dispatcher);
    this.blocks.start();
  }

  committed(id: number): { generation: number; length: number; wanted: number } | undefined {
    return this.#committed.get(id);
  }

  isPending(id: number): boolean {
    return this.pending.has(id);
  }

  /** Calls a method of the namenode as it would come over a link. */
  async call<M extends AnyMethod>(link: FakeLink, method: M, request: RequestOf<M>): Promise<ReplyOf<M>> {
    const received = method.request.decode(method.request.encode(request).finish());
    const context = { link: link.asLink } as CallContext;
    const answer = await this.dispatcher.calls.get(method.name)!.handler(received, context);
    return method.reply.decode(method.reply.encode(answer).finish());
  }

  status(): Promise<StatusReply> {
    return this.call(new FakeLink(() => {}), Admin.status, {});
  }

  /** Takes a datanode out of service or back, as an operator does. */
  async administer(datanode: TestDatanode, duty: Duty, forMs = 0): Promise<void> {
    await this.call(new FakeLink(() => {}), Admin.administer, { datanode: datanode.id, duty, forMs });
  }

  /** Asks for balancing, once. */
  balance(request: BalanceRequestInit = {}): Promise<BalanceReply> {
    return this.call(new FakeLink(() => {}), Admin.balance, { run: 1, thresholdPpm: 100_000, ...request });
  }

  /** What the status says of a datanode. */
  async statusOf({ id }: TestDatanode): Promise<DatanodeStatus> {
    return (await this.status()).datanodes.find((d) => d.address.id === id)!;
  }

  fsck(request: FsckRequestInit): Promise<FsckReply> {
    return this.call(new FakeLink(() => {}), Admin.fsck, request);
  }

  /** Messages of the events, newest first. */
  async events(): Promise<string[]> {
    return (await this.status()).events.map((e) => e.message);
  }

  /** A datanode that connects and reports at once. */
  async join(
    options: { host?: string; rack?: string; free?: number; size?: number; uuid?: string } = {},
  ): Promise<TestDatanode> {
    const datanode = new TestDatanode(this, this.datanodes.length + 1, options);
    this.datanodes.push(datanode);
    await datanode.connect();
    return datanode;
  }

  /** Several datanodes on hosts of their own. */
  async joinMany(count: number): Promise<TestDatanode[]> {
    const joined: TestDatanode[] = [];
    for (let i = 0; i < count; i++) joined.push(await this.join());
    return joined;
  }

  /** A block written to some datanodes and committed. */
  commit(
    id: number,
    on: readonly TestDatanode[],
    options: { wanted?: number; length?: number; generation?: number } = {},
  ) {
    const { wanted = 3, length = 1000, generation = 1 } = options;
    const block = { id, generation, length };
    for (const d of on) d.store(block);
    this.#committed.set(id, { generation, length, wanted });
    this.editor.effect({ committed: [{ block: { block, datanodes: on.map((d) => d.id) }, wanted }] });
    return block;
  }

  setWanted(block: Block, wanted: number): void {
    this.#committed.get(block.id)!.wanted = wanted;
    this.editor.effect({ wanted: [{ block, wanted }] });
  }

  free(...blocks: Block[]): void {
    for (const { id } of blocks) this.#committed.delete(id);
    this.editor.effect({ freed: blocks });
  }

  /** Ids of the datanodes that truly have a good replica of a block. */
  holders(id: number): number[] {
    return this.datanodes.filter((d) => d.has(id) && !d.corrupt.has(id)).map((d) => d.id);
  }
}

/** A datanode that does what it is told at once, and reports it. */
export class TestDatanode {
  readonly uuid: string;
  readonly host: string;
  readonly rack: string;
  readonly port: number;
  readonly #cluster: TestCluster;
  readonly #waiting: { method: string; message: unknown }[] = [];
  /** block id → replica */
  readonly replicas = new Map<number, Block>();
  readonly corrupt = new Set<number>();
  readonly commands: { method: string; message: unknown }[] = [];
  /** Ranges that the namenode asked for, in all reports together. */
  readonly askedRanges: number[] = [];
  id = 0;
  link: FakeLink | undefined;
  free: number;
  /** Bytes that replicas may take; given, what they take and leave free follows from the replicas. */
  size: number | undefined;
  writers = 0;
  /** Commands are noted but not obeyed, until it wakes up. */
  lazy = false;

  constructor(
    cluster: TestCluster,
    n: number,
    options: { host?: string; rack?: string; free?: number; size?: number; uuid?: string },
  ) {
    this.#cluster = cluster;
    this.uuid = options.uuid ?? `datanode-uuid-${n}`;
    this.host = options.host ?? `host${n}`;
    this.rack = options.rack ?? "/default-rack";
    this.port = 9000 + n;
    this.free = options.free ?? 100 * GIB;
    this.size = options.size;
  }

  get volumes() {
    if (this.size !== undefined) {
      const used = [...this.replicas.values()].reduce((sum, r) => sum + r.length, 0);
      return [{ path: "/data", capacity: this.size, used, free: Math.max(0, this.size - used) }];
    }
    return [{ path: "/data", capacity: 200 * GIB, used: 200 * GIB - this.free, free: this.free }];
  }

  has(id: number): boolean {
    return this.replicas.has(id);
  }

  /** Puts a replica on the disk without a report. */
  store(block: Block): void {
    this.replicas.set(block.id, block);
  }

  async connect(clusterId = CLUSTER_ID): Promise<void> {
    const link = new FakeLink((method, message) => this.#onCommand(method, message));
    const { uuid, host, port, rack, volumes } = this;
    const reply = await this.#cluster.call(link, Registry.register, {
      ...{ uuid, cluster: clusterId, host, port, rack, volumes },
      version: "test",
    });
    this.id = reply.datanode;
    this.link = link;
    this.#beat(link, reply.heartbeatMs);
    await this.heartbeat();
  }

  disconnect(reason = "the process died"): void {
    this.link?.terminate(reason);
    this.link = undefined;
    this.#waiting.length = 0;
  }

  /** Obeys, in turn, what it was commanded over this connection while it was lazy. */
  async wake(): Promise<void> {
    this.lazy = false;
    for (const { method, message } of this.#waiting.splice(0)) await this.obey(method, message);
  }

  /** Sends no full report, though it is asked to. */
  reticent = false;
  /** Stays connected, but says nothing any more. */
  silent = false;

  #beat(link: FakeLink, ms: number): void {
    const timer = this.#cluster.clock.every(ms, () => {
      if (this.link !== link) timer.clear();
      else if (!this.silent) void this.heartbeat().catch(() => this.disconnect());
    });
  }

  async heartbeat(): Promise<void> {
    const { volumes, writers } = this;
    const { fullReport } = await this.#cluster.call(this.link!, Registry.heartbeat, {
      ...{ volumes, writers },
      blocks: this.replicas.size,
    });
    if (fullReport && !this.reticent) await this.fullReport();
  }

  async fullReport(): Promise<void> {
    const digests = new RangeDigests();
    for (const r of this.replicas.values()) digests.add(r);
    for (const page of regionPages(digests.regions())) {
      const { ranges: regions } = await this.#cluster.call(this.link!, Registry.reportRegions, page);
      if (regions.length === 0) continue;
      const report = { regions, ranges: regions.flatMap((r) => digests.within(r)) };
      const { ranges } = await this.#cluster.call(this.link!, Registry.reportDigests, report);
      this.askedRanges.push(...ranges);
      for (const range of ranges) {
        const replicas = [...this.replicas.values()].filter((r) => rangeOf(r.id) === range);
        await this.#cluster.call(this.link!, Registry.reportRange, { range, replicas });
      }
    }
  }

  async report(block: Block, state: State): Promise<void> {
    if (this.link === undefined) return;
    await this.#cluster.call(this.link, Registry.reportChanges, { changes: [{ block, state }] });
  }

  #onCommand(method: AnyMethod, message: unknown): void {
    this.commands.push({ method: method.name, message });
    if (this.lazy) {
      this.#waiting.push({ method: method.name, message });
      return;
    }
    void this.obey(method.name, message);
  }

  async obey(method: string, message: unknown): Promise<void> {
    await settle();
    if (method === DatanodeCommands.replicate.name) {
      const { block, targets } = message as ReplicateCommand;
      if (this.#cluster.onReplicate?.(this, message as ReplicateCommand) || !this.has(block.id)) return;
      for (const { id } of targets) {
        const target = this.#cluster.datanodes.find((d) => d.id === id)!;
        if (target.link === undefined) continue;
        target.store(block);
        await target.report(block, State.FINALIZED);
      }
      return;
    }
    for (const block of (message as { blocks: Block[] }).blocks) {
      if (method === DatanodeCommands.delete.name) {
        const mine = this.replicas.get(block.id);
        if (mine?.generation === block.generation) {
          this.#cluster.onDelete?.(this, block);
          this.replicas.delete(block.id);
          this.corrupt.delete(block.id);
        }
        await this.report(block, State.DELETED);
      } else await this.report(block, this.corrupt.has(block.id) ? State.CORRUPT : State.VERIFIED);
    }
  }
}
