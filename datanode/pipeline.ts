import type { Clock, Timer } from "../common/clock.js";
import { CairnError, messageOf } from "../common/errors.js";
import { MAX_BLOCK_SIZE, MAX_PACKET, MAX_REPLICAS, MIB } from "../common/limits.js";
import type { Logger } from "../common/log.js";
import { blame } from "../proto/blame.js";
import type { CallContext } from "../proto/dispatch.js";
import type {
  AbortWriteRequest,
  OpenWriteReplyInit,
  OpenWriteRequest,
  PacketAck,
  PacketHeader,
} from "../proto/gen/types.js";
import type { ByteBudget } from "./byte-budget.js";
import type { Downstream, DownstreamEvents, Downstreams } from "./downstream.js";
import type { Identity } from "./identity.js";
import { LinkWatch } from "./link-watch.js";
import type { ReplicaStore } from "./store.js";
import type { UnfinishedReplica } from "./unfinished.js";
import { WriteStream } from "./write-stream.js";

/** How long the unfinished replica of a broken stream is kept for the writer to go on, ms. */
export const RESUME_GRACE_MS = 60_000;
/** What one stream may have unacknowledged: one packet where memory is scarce. */
const LEAST_WINDOW = MAX_PACKET / 2;
const MOST_WINDOW = 8 * MIB;
/** How long an OpenWrite may wait for memory, and how long all of it may take, ms. */
const WINDOW_DEADLINE_MS = 5_000;
const OPEN_DEADLINE_MS = 10_000;
/** What of its own time a datanode gives the next one to open: it must have some left to say that it failed. */
const DOWNSTREAM_SHARE = 0.8;
/** Unfinished replicas at once, being written or kept for a resume. */
const MAX_UNFINISHED = 4096;
/** How often the deadlines of streams are looked at, ms. */
const TICK_MS = 1_000;

/** An unfinished replica: being written while it has a stream, else kept for a resume. */
interface Entry {
  generation: number;
  readonly replica: UnfinishedReplica;
  /** Undefined until both sides are open, and after the stream has ended. */
  stream: WriteStream | undefined;
  /** Where the stream went on to. */
  downstream: Downstream | undefined;
  /** Bytes that readers may see. */
  acknowledged: number;
  expiry: Timer | undefined;
}

export interface PipelineOptions {
  store: ReplicaStore;
  identity: Identity;
  downstreams: Downstreams;
  /** Memory for packets under way. */
  windows: ByteBudget;
  clock: Clock;
  log: Logger;
  /** Override of RESUME_GRACE_MS. */
  resumeGraceMs?: number;
}

/** The write streams through this datanode. */
export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #entries = new Map<number, Entry>();
  /** Blocks being opened: further OpenWrites of the same block wait. */
  readonly #opening = new Map<number, Promise<unknown>>();
  readonly #upstreams = new LinkWatch();
  readonly #ticker: Timer;
  #streams = 0;
  #bytesWritten = 0;
  #closed = false;

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#ticker = options.clock.every(TICK_MS, () => {
      for (const { stream } of this.#entries.values()) stream?.checkDeadlines();
    });
  }

  /** Stored bytes of packets taken so far. */
  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /** Open write streams. */
  get streams(): number {
    return this.#streams;
  }

  /** What is acknowledged of a replica that is not finalized; undefined when there is none of this generation. */
  readable(id: number, generation: number): { replica: UnfinishedReplica; length: number } | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.generation !== generation) return undefined;
    return { replica: entry.replica, length: entry.stream?.acknowledged ?? entry.acknowledged };
  }

  /** Opens a stream, or reopens that of a broken pipeline, here and on the datanodes after this one. */
  async openWrite(request: OpenWriteRequest, context: CallContext): Promise<OpenWriteReplyInit> {
    await this.#options.identity.demand(request.cluster, request.datanode);
    this.#check(request);
    const { id } = request.block;
    const before = this.#opening.get(id) ?? Promise.resolve();
    const opening = before.catch(() => undefined).then(() => this.#open(request, context));
    this.#opening.set(id, opening);
    try {
      return await opening;
    } finally {
      if (this.#opening.get(id) === opening) this.#opening.delete(id);
    }
  }

  /** A packet for one of the streams. One for a stream that is not open was on its way when it broke, and is dropped. */
  packet(header: PacketHeader, context: CallContext): void {
    const entry = this.#entries.get(header.block);
    if (entry?.stream === undefined || entry.generation !== header.generation) return;
    this.#bytesWritten += context.body.length;
    entry.stream.packet(header, context);
  }

  /** The writer gives up: its unfinished replica goes, here and on the datanodes after this one. */
  async abortWrite({ block }: AbortWriteRequest): Promise<void> {
    const entry = this.#entries.get(block.id);
    if (entry?.generation === block.generation) await this.#dropEverywhere(block.id, entry);
  }

  /** Breaks every stream, telling its writer, and drops what is unfinished. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#ticker.clear();
    for (const { stream } of this.#entries.values()) {
      stream?.fail(new CairnError("EHOSTDOWN", "the datanode is shutting down"));
    }
    await Promise.allSettled(this.#opening.values());
    await Promise.allSettled([...this.#entries].map(([id, entry]) => this.#drop(id, entry)));
  }

  #check({ block, resumeGeneration, rest, datanode, reserve, first }: OpenWriteRequest): void {
    if (this.#closed) throw new CairnError("EHOSTDOWN", "the datanode is shutting down");
    const fault = !(block.id > 0 && block.generation > 0)
      ? `block ${block.id} of generation ${block.generation}`
      : block.length > MAX_BLOCK_SIZE || reserve > MAX_BLOCK_SIZE
        ? `a block of ${Math.max(block.length, reserve)} bytes`
        : resumeGeneration >= block.generation
          ? `resuming generation ${resumeGeneration} as ${block.generation}`
          : resumeGeneration === 0 && block.length !== 0
            ? `a new block of ${block.length} bytes`
            : rest.length >= MAX_REPLICAS
              ? `a pipeline of ${rest.length + 1}`
              : rest.some((d) => d.id === datanode)
                ? `datanode ${datanode} twice in a pipeline`
                : first !== null && (first.block !== block.id || first.generation !== block.generation)
                  ? "a packet of another block comes with it"
                  : undefined;
    if (fault !== undefined) throw new CairnError("EINVAL", `cannot open a write stream: ${fault}`);
  }

  async #open(request: OpenWriteRequest, context: CallContext): Promise<OpenWriteReplyInit> {
    const { windows } = this.#options;
    const most = Math.max(MAX_PACKET, Math.min(MOST_WINDOW, request.reserve || MAX_BLOCK_SIZE));
    const window = await windows.take(Math.min(LEAST_WINDOW, most), most, WINDOW_DEADLINE_MS);
    let stream: WriteStream | undefined;
    // The ack of a packet that goes along may be here before the stream is.
    const early: PacketAck[] = [];
    const events = {
      ack: (ack: PacketAck) => {
        if (stream !== undefined) stream.downstreamAck(ack);
        else if (early.length === 0) early.push(ack);
      },
      lost: (reason: CairnError) => stream?.downstreamLost(reason),
    };
    try {
      const [own, next] = await Promise.allSettled([
        this.#ownReplica(request),
        this.#downstream(request, context, events),
      ]);
      const failure = this.#failureOf(own, next, request, context);
      if (own.status === "rejected" || next.status === "rejected" || failure !== undefined) {
        await this.#undo(request, own, next);
        throw failure;
      }
      stream = this.#start(own.value, next.value, request, context, window);
      if (request.first !== null) {
        this.#bytesWritten += context.body.length;
        stream.first(request.first, context.body);
      }
      for (const ack of early) stream.downstreamAck(ack);
      const granted = Math.min(window, next.value?.window ?? window);
      return { window: granted };
    } catch (err) {
      if (stream === undefined) windows.give(window);
      throw err;
    }
  }

  /** Why a stream cannot start though, or because, opening has ended like this. */
  #failureOf(
    own: PromiseSettledResult<Entry>,
    next: PromiseSettledResult<Downstream | undefined>,
    { block }: OpenWriteRequest,
    { signal, link }: CallContext,
  ): unknown {
    if (own.status === "rejected") return own.reason;
    if (next.status === "rejected") return next.reason;
    if (this.#closed) return new CairnError("EHOSTDOWN", "the datanode is shutting down");
    if (signal.aborted || !link.isOpen) return new CairnError("ECANCELED", `the writer of block ${block.id} is gone`);
    if (next.value?.link.isOpen === false) {
      return blame(next.value.address, new CairnError("ENOTCONN", "its link closed while the stream was opened"));
    }
    return undefined;
  }

  async #downstream(
    request: OpenWriteRequest,
    context: CallContext,
    events: DownstreamEvents,
  ): Promise<Downstream | undefined> {
    if (request.rest.length === 0) return undefined;
    const deadlineMs = Math.floor(Math.min(context.deadlineMs, OPEN_DEADLINE_MS) * DOWNSTREAM_SHARE);
    return this.#options.downstreams.open(request, context.body, deadlineMs, events);
  }

  /** The replica to write to: a new one, or that of the pipeline that broke, cut to what was acknowledged. */
  async #ownReplica(request: OpenWriteRequest): Promise<Entry> {
    const { store } = this.#options;
    const { block, resumeGeneration, reserve, transfer } = request;
    const { id, generation, length } = block;
    const known = this.#entries.get(id);
    if (known !== undefined && known.generation > generation) {
      throw new CairnError("ESTALE", `block ${id} has been reopened with generation ${known.generation}`);
    }
    if (resumeGeneration !== 0) {
      const replica = await this.#survivor(id, resumeGeneration, generation);
      if (replica !== undefined) return this.#cut(replica, block);
      // Without any acknowledged byte a new replica is as good.
      if (length !== 0) throw new CairnError("ENOENT", `nothing is left here of block ${id} to resume`);
    } else if (known !== undefined) {
      if (transfer && known.stream !== undefined) throw new CairnError("EBUSY", `block ${id} is being written here`);
      await this.#drop(id, known);
    }
    const finalized = store.map.get(id);
    if (finalized !== undefined && finalized.generation >= generation) {
      throw new CairnError("EEXIST", `block ${id} is here already, with generation ${finalized.generation}`);
    }
    if (this.#entries.size >= MAX_UNFINISHED)
      throw new CairnError("EBUSY", `${MAX_UNFINISHED} blocks are being written`);
    return this.#enter(await store.create(id, generation, reserve || MAX_BLOCK_SIZE), generation);
  }

  /** What this datanode has of a block whose pipeline broke. A resume that failed half-way may have raised its generation. */
  async #survivor(id: number, oldest: number, below: number): Promise<UnfinishedReplica | undefined> {
    const { store } = this.#options;
    const entry = this.#entries.get(id);
    if (entry !== undefined && entry.generation < oldest) {
      await this.#drop(id, entry);
      return undefined;
    }
    if (entry !== undefined) {
      this.#detach(id, entry);
      await entry.stream?.idle();
    }
    const finalized = store.map.get(id);
    if (finalized !== undefined && finalized.generation >= oldest && finalized.generation < below) {
      return store.reopen(finalized);
    }
    return entry?.replica;
  }

  async #cut(replica: UnfinishedReplica, { id, generation, length }: OpenWriteRequest["block"]): Promise<Entry> {
    const entry = this.#enter(replica, generation);
    if (replica.table.length < length) {
      throw new CairnError("EIO", `block ${id} has ${replica.table.length} bytes here, not ${length}`);
    }
    await replica.truncate(length);
    entry.acknowledged = length;
    return entry;
  }

  #enter(replica: UnfinishedReplica, generation: number): Entry {
    const entry = { generation, replica, stream: undefined, downstream: undefined, acknowledged: 0, expiry: undefined };
    this.#entries.set(replica.id, entry);
    return entry;
  }

  #start(
    entry: Entry,
    downstream: Downstream | undefined,
    request: OpenWriteRequest,
    { link }: CallContext,
    window: number,
  ): WriteStream {
    const { store, clock, windows, log } = this.#options;
    const { replica, generation } = entry;
    let unwatch = () => {};
    const stream = new WriteStream({
      generation,
      replica,
      upstream: link,
      downstream,
      depth: request.rest.length,
      window,
      clock,
      finalize: (sync) => store.finalize(replica, generation, sync),
      onEnd: (how, error) => {
        unwatch();
        this.#streams--;
        windows.give(window);
        entry.acknowledged = stream.acknowledged;
        if (how === "broken") log.warn({ block: replica.id, generation, err: error?.message }, "a write stream broke");
        if (how === "finished") this.#remove(replica.id, entry);
        else if (how !== "closed") void this.#park(replica.id, entry, stream);
      },
    });
    entry.stream = stream;
    entry.downstream = downstream;
    this.#streams++;
    unwatch = this.#upstreams.watch(link, (reason) => stream.close("lost", reason));
    return stream;
  }

  /** Keeps the replica of a stream that ended early for a while, for the writer to go on with. */
  async #park(id: number, entry: Entry, stream: WriteStream): Promise<void> {
    await stream.idle();
    if (this.#entries.get(id) !== entry || entry.stream !== stream) return;
    entry.stream = undefined;
    if (this.#options.store.map.get(id)?.generation === entry.generation) return this.#remove(id, entry);
    this.#expireLater(id, entry);
  }

  #expireLater(id: number, entry: Entry): void {
    const { clock, resumeGraceMs, log } = this.#options;
    entry.expiry?.clear();
    entry.expiry = clock.after(resumeGraceMs ?? RESUME_GRACE_MS, () => {
      log.info({ block: id, generation: entry.generation }, "nobody resumed a broken write: the replica goes");
      void this.#dropEverywhere(id, entry);
    });
  }

  /** Takes an unfinished replica from its stream; the replica stays. */
  #detach(id: number, entry: Entry): void {
    entry.expiry?.clear();
    entry.stream?.close("closed");
    this.#remove(id, entry);
  }

  async #drop(id: number, entry: Entry): Promise<void> {
    this.#detach(id, entry);
    await entry.stream?.idle();
    await entry.replica
      .discard()
      .catch((err) => this.#options.log.warn({ block: id, err: messageOf(err) }, "an unfinished replica is left"));
  }

  async #dropEverywhere(id: number, entry: Entry): Promise<void> {
    if (entry.downstream !== undefined) this.#abortDownstream(entry.downstream);
    await this.#drop(id, entry);
  }

  #remove(id: number, entry: Entry): void {
    if (this.#entries.get(id) === entry) this.#entries.delete(id);
  }

  /** After an open that failed on one side: undoes the other. What was there before is kept for the next attempt. */
  async #undo(
    { block, resumeGeneration }: OpenWriteRequest,
    own: PromiseSettledResult<Entry>,
    next: PromiseSettledResult<Downstream | undefined>,
  ): Promise<void> {
    const downstream = next.status === "fulfilled" ? next.value : undefined;
    const entry = own.status === "fulfilled" ? own.value : this.#entries.get(block.id);
    if (resumeGeneration === 0) {
      if (own.status === "fulfilled") await this.#drop(block.id, own.value);
      if (downstream !== undefined) this.#abortDownstream(downstream);
    } else {
      downstream?.close();
      if (entry !== undefined && entry.stream === undefined) this.#expireLater(block.id, entry);
    }
  }

  #abortDownstream(downstream: Downstream): void {
    downstream.abort().catch((err) => this.#options.log.debug({ err: messageOf(err) }, "could not abort downstream"));
  }
}
