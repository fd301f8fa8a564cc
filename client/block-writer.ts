import { CairnError, codeOf, invariant, messageOf } from "../common/errors.js";
import { MAX_BLOCK_CHUNKS, MAX_COMMIT_EXTENTS, MAX_PACKET } from "../common/limits.js";
import { Datanode, Namenode } from "../proto/gen/services.js";
import type { Block, DatanodeAddress, Policy } from "../proto/gen/types.js";
import { UnreadableError } from "./block-reader.js";
import type { BlockSource } from "./cached-blocks.js";
import { ExtentMap } from "./extent-map.js";
import type { ClientIo } from "./io.js";
import type { Packet } from "./packet.js";
import { Patience } from "./patience.js";
import { PipelineError, unresponsive, WriteStream } from "./write-stream.js";

/** How long a datanode is looked for that takes a new block, ms. */
const PLACE_PATIENCE_MS = 30_000;
/** The same when it is only a matter of time: none has memory for another stream, or none has joined the namenode again yet. */
const BUSY_PATIENCE_MS = 10 * 60_000;
/** How long the last datanode that has what was acknowledged may be away, ms: it keeps an unfinished replica for longer. */
const LAST_PATIENCE_MS = 30_000;
/** Chunks a packet can have at most: no packet starts when the block has no entries left for so many. */
const PACKET_CHUNKS = 32;
/** Packets in flight at most, however small. */
const MAX_SENT = 256;
/** How long the datanodes of a pipeline may take to forget it, ms. Nobody waits for it. */
const ABORT_TIMEOUT_MS = 5_000;

/** Errors that say of a datanode only that it cannot be reached at the moment: what it has may still be there. */
const UNREACHABLE = new Set(["ENOTCONN", "ETIMEDOUT", "ECONNREFUSED", "ECONNRESET", "EPIPE", "EHOSTUNREACH", "EBUSY"]);

/** A block that is finalized on these datanodes. */
export interface FinishedBlock {
  readonly block: Block;
  readonly replicas: readonly DatanodeAddress[];
}

/**
 * One block being written: a log of pieces of one file in the order in which they were written. It opens its pipeline
 * with the first packet, so that a small file costs one trip to the datanodes, sends packets as they fill, keeps them until they are
 * acknowledged, and when a datanode fails goes on with the others. As long as nothing is acknowledged it may move to another block altogether.
 */
export class BlockWriter {
  /** Where in the file the pieces of the log belong; a later one wins. */
  readonly extents = new ExtentMap<null>();
  /** Resolves when the block is finalized; rejects when its bytes are lost, or when it was discarded on its way to datanodes. */
  readonly finished: Promise<FinishedBlock>;
  readonly #io: ClientIo;
  readonly #policy: Policy;
  #block: Block | undefined;
  #replicas: readonly DatanodeAddress[] = [];
  /** Of the last stream that was open: of these replicas none is older, and an attempt to go on may have made some younger. */
  #openGeneration = 0;
  #stream: WriteStream | undefined;
  #length = 0;
  #acked = 0;
  #ackedAtFailure = -1;
  /** Runs while the one datanode that has all the bytes cannot be reached. */
  #lastHope: Patience | undefined;
  #packets = 0;
  #filling: Packet | undefined;
  /** Sealed and not acknowledged, oldest first; the first #sent of them are on their way. */
  readonly #unacked: Packet[] = [];
  #sent = 0;
  #inFlight = 0;
  #sequence = 0;
  #state: "open" | "finishing" | "finished" | "discarded" = "open";
  #opened = false;
  #resolve!: (block: FinishedBlock) => void;
  #reject!: (err: unknown) => void;

  /** @param ahead whether to open the pipeline at once, before there is a packet: more will be written for sure */
  constructor(io: ClientIo, policy: Policy, ahead: boolean) {
    this.#io = io;
    this.#policy = policy;
    this.finished = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.finished.catch(() => {}); // whoever cares asks
    if (ahead) this.#open();
  }

  /** Bytes written. */
  get length(): number {
    return this.#length;
  }

  /** Bytes there is room for; 0 when the block cannot take more pieces either. */
  get room(): number {
    const crowded =
      this.extents.count >= MAX_COMMIT_EXTENTS - 1 || this.#packets * PACKET_CHUNKS >= MAX_BLOCK_CHUNKS - PACKET_CHUNKS;
    return crowded ? 0 : this.#policy.blockSize - this.#length;
  }

  /** Bytes a new packet must have for `bytes` to be appended; 0 when no new one is needed. */
  packetFor(bytes: number): number {
    if (this.#filling === undefined) return bytes;
    return this.#filling.length === this.#filling.capacity ? MAX_PACKET : 0; // a small one that is full grows
  }

  /** Hands in a packet (asked for by packetFor) to be filled. */
  accept(packet: Packet): void {
    invariant(this.#state === "open", "a block that is being finished takes no packets");
    const smaller = this.#filling;
    if (smaller === undefined) {
      packet.start = this.#length;
      this.#packets++;
    } else {
      packet.replace(smaller);
      this.#io.packets.free(smaller);
    }
    this.#filling = packet;
    this.#io.packets.filling(packet, () => this.#seal());
  }

  /** Appends of data[from, to), which belongs at `offset` in the file, what fits into the packet; returns the bytes. */
  append(offset: number, data: Buffer, from: number, to: number): number {
    const packet = this.#filling;
    invariant(this.#state === "open" && packet !== undefined, "data is appended to the packet of an open block");
    const bytes = packet.append(data, from, Math.min(to, from + this.room));
    this.extents.put(offset, bytes, null, this.#length);
    this.#length += bytes;
    if (packet.length === MAX_PACKET) this.#seal();
    return bytes;
  }

  /** Sends what is left and finalizes the block; with `sync`, on the platters. See `finished`. */
  finish(sync: boolean): void {
    invariant(this.#state === "open" && this.#length > 0, "an open block with data is finished once");
    this.#state = "finishing";
    // The mark goes on the last packet that has not left yet; when all have, on one without data.
    let last = this.#filling;
    if (last === undefined && this.#sent < this.#unacked.length) last = this.#unacked.at(-1)!;
    if (last === undefined) {
      last = this.#io.packets.empty();
      last.start = this.#length;
      this.#unacked.push(last);
    }
    last.last = true;
    last.sync = sync;
    this.#seal();
    this.#pump();
  }

  /**
   * Instead of finish(): everything written, to be committed inline. It stays in memory until discard(). Undefined when something
   * is on its way to datanodes already.
   */
  takeInline(): Buffer | undefined {
    invariant(this.#state === "open" && this.#length > 0, "an open block with data is taken inline once");
    const packet = this.#filling;
    if (this.#opened || packet === undefined) return undefined;
    this.#state = "finishing";
    this.#io.packets.filled(packet);
    return packet.data;
  }

  /** Gives the block up, and the memory of its packets. */
  discard(): void {
    const wasFinished = this.#state === "finished";
    this.#state = "discarded";
    if (wasFinished) this.#abandon(false);
    this.#stream?.close();
    if (this.#filling !== undefined) this.#io.packets.free(this.#filling);
    this.#filling = undefined;
    for (const packet of this.#unacked.splice(0)) this.#io.packets.free(packet);
  }

  /** Bytes from the start of the block that are on the datanodes only. */
  get acked(): number {
    return this.#acked;
  }

  /** The block as it is on the datanodes now. UnreadableError when it was given up. */
  located(): FinishedBlock {
    if (this.#block === undefined) throw new UnreadableError("EIO", "the block was given up");
    return { block: { ...this.#block, length: this.#acked }, replicas: this.#replicas };
  }

  /** What of the block can be read from the datanodes. UnreadableError when it was given up. */
  source(): BlockSource {
    const { id } = this.located().block;
    return { id, length: this.#acked, located: () => ({ ...this.located(), uncommitted: true }) };
  }

  /** Copies what of bytes [from, to) of the block is still in memory to where it belongs in target: byte `from` at `into`. */
  copy(from: number, to: number, target: Buffer, into: number): void {
    for (const packet of this.#unacked) copyPart(packet, from, to, target, into);
    if (this.#filling !== undefined) copyPart(this.#filling, from, to, target, into);
  }

  #seal(): void {
    const packet = this.#filling;
    if (packet === undefined) return;
    this.#filling = undefined;
    this.#io.packets.filled(packet);
    this.#unacked.push(packet);
    this.#open();
    this.#pump();
  }

  #pump(): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    while (this.#sent < this.#unacked.length) {
      const packet = this.#unacked[this.#sent]!;
      if (this.#sent > 0 && this.#inFlight + packet.length > stream.window) return;
      if (this.#sent >= MAX_SENT) return;
      this.#leaves(packet);
      const { id, generation } = stream.block;
      stream.send(packet.frame(id, generation, this.#policy.compression));
    }
  }

  #leaves(packet: Packet): void {
    packet.sequence = this.#sequence++;
    this.#sent++;
    this.#inFlight += packet.length;
  }

  /** Opens a pipeline, with the oldest packet that is not acknowledged if there is one. */
  #openStream(block: Block, resumeGeneration: number, replicas: readonly DatanodeAddress[]): Promise<WriteStream> {
    this.#sent = this.#inFlight = this.#sequence = 0;
    const [packet] = this.#unacked;
    if (packet !== undefined) this.#leaves(packet);
    const first = packet?.encode(block.id, block.generation, this.#policy.compression);
    return WriteStream.open(this.#io, { block, resumeGeneration, replicas, reserve: this.#policy.blockSize, first });
  }

  #onAcked(sequence: number): void {
    while (this.#sent > 0 && this.#unacked[0]!.sequence <= sequence) {
      const packet = this.#unacked.shift()!;
      this.#sent--;
      this.#inFlight -= packet.length;
      this.#acked = packet.start + packet.length;
      this.#lastHope = undefined;
      this.#io.packets.free(packet);
      if (!packet.last) continue;
      this.#state = "finished";
      this.#stream?.close();
    }
    this.#pump();
  }

  /** Has the pipeline opened. */
  #open(): void {
    if (this.#opened) return;
    this.#opened = true;
    this.#run().then(this.#resolve, this.#reject);
  }

  async #run(): Promise<FinishedBlock> {
    try {
      await this.#write();
    } catch (err) {
      this.#abandon(true);
      throw err;
    }
    for (const { id } of this.#replicas) this.#io.health.worked(id);
    invariant(this.#acked === this.#length, "a finalized block has its length");
    return this.located();
  }

  /** Connects, and connects again when the pipeline breaks, until the block is finalized. */
  async #write(): Promise<void> {
    let failure: PipelineError | undefined;
    for (;;) {
      const stream = await this.#connect(failure);
      this.#stream = stream;
      this.#openGeneration = stream.block.generation;
      stream.start((sequence) => this.#onAcked(sequence));
      this.#pump();
      failure = await stream.ended;
      this.#stream = undefined;
      this.#throwIfDiscarded();
      // All may have been acknowledged already, and the link lost, before we came to look.
      if (failure === undefined || this.#acknowledgedAll) return;
      this.#io.log.warn({ block: this.#block, err: failure.message }, "a write pipeline broke");
    }
  }

  get #acknowledgedAll(): boolean {
    return this.#state === "finished";
  }

  async #connect(failure: PipelineError | undefined): Promise<WriteStream> {
    const patience = new Patience(this.#io.clock, PLACE_PATIENCE_MS);
    const busyPatience = new Patience(this.#io.clock, BUSY_PATIENCE_MS);
    for (let reason = failure; ; ) {
      if (reason !== undefined) await this.#blame(reason);
      this.#throwIfDiscarded();
      try {
        const stream = await (this.#acked === 0 ? this.#openFresh() : this.#reopen(reason));
        if (this.#state === "discarded") stream.close();
        this.#throwIfDiscarded();
        return stream;
      } catch (err) {
        // EAGAIN: no datanode is there at the moment, as after a restart of the namenode.
        if (!(err instanceof PipelineError) && codeOf(err) !== "EAGAIN") throw err;
        this.#io.log.info({ block: this.#block, err: messageOf(err) }, "could not open a write pipeline");
        const goesOn = (): Promise<boolean> => (isPassing(err) ? busyPatience : patience).again();
        if (this.#acked === 0 && !(await goesOn())) {
          throw new CairnError(codeOf(err) === "ENOSPC" ? "ENOSPC" : "EIO", "no datanode takes a new block", err);
        }
        reason = err instanceof PipelineError ? err : undefined;
      }
    }
  }

  /** Nothing is acknowledged: any block will do. */
  async #openFresh(): Promise<WriteStream> {
    this.#abandon(true);
    const { block, replicas } = await this.#io.allocator.take(this.#policy);
    this.#block = { ...block, length: 0 };
    this.#replicas = replicas;
    return this.#openStream(this.#block, 0, replicas);
  }

  /** Goes on with the datanodes that are left, after the last byte that all of them acknowledged. */
  async #reopen(reason: PipelineError | undefined): Promise<WriteStream> {
    const { session } = this.#io;
    const old = this.#block!;
    const replicas = this.#replicas;
    if (replicas.length === 0) {
      const code = reason?.code === "ENOSPC" ? "ENOSPC" : "EIO";
      throw new CairnError(code, `every datanode of block ${old.id} failed, ${this.#acked} bytes are lost`, reason);
    }
    const { generation } = await session.call(Namenode.recoverBlock, { session: session.id, block: old });
    this.#block = { id: old.id, generation, length: this.#acked };
    session.pending.set(old.id, this.#block);
    return this.#openStream(this.#block, this.#openGeneration, replicas);
  }

  /** Takes the datanodes that are to blame out of the pipeline; not yet the last, which alone has the bytes, if it may come back. */
  async #blame(failure: PipelineError): Promise<void> {
    if (failure.code === "EBUSY" && this.#acked === 0) return; // nobody's fault, and the next attempt has another block
    let culprits = failure.culprits;
    if (culprits.length === 0) culprits = await unresponsive(this.#io, this.#replicas);
    // All of them answer, and still it did not get any further: somebody has to go.
    if (culprits.length === 0 && this.#ackedAtFailure === this.#acked)
      culprits = this.#replicas.slice(0, 1).map((r) => r.id);
    this.#ackedAtFailure = this.#acked;
    for (const id of culprits) this.#io.health.failed(id, failure);
    const left = this.#replicas.filter(({ id }) => !culprits.includes(id));
    if (left.length === 0 && this.#acked > 0 && UNREACHABLE.has(failure.code)) {
      this.#lastHope ??= new Patience(this.#io.clock, LAST_PATIENCE_MS);
      this.#replicas = (await this.#lastHope.again()) ? this.#replicas.slice(-1) : [];
    } else this.#replicas = left;
  }

  /** Tells namenode and, when they have an unfinished replica, datanodes that the block will not be. */
  #abandon(unfinished: boolean): void {
    const block = this.#block;
    if (block === undefined) return;
    this.#block = undefined;
    this.#io.allocator.abandon([block.id]);
    if (!unfinished) return;
    for (const { host, port } of this.#replicas) {
      this.#io.pool
        .get(host, port)
        .then((link) => link.call(Datanode.abortWrite, { block }, { deadlineMs: ABORT_TIMEOUT_MS }))
        .catch((err) =>
          this.#io.log.debug({ block: block.id, err: messageOf(err) }, "a datanode was not told to abort"),
        );
    }
  }

  #throwIfDiscarded(): void {
    if (this.#state === "discarded") throw new CairnError("ECANCELED", "the block was discarded");
  }
}

/** Whether an error says that datanodes are there, or will be, but take no block right now. */
function isPassing(err: unknown): boolean {
  const code = codeOf(err);
  return code === "EBUSY" || code === "EAGAIN";
}

function copyPart(packet: Packet, from: number, to: number, target: Buffer, into: number): void {
  const low = Math.max(from, packet.start);
  const high = Math.min(to, packet.start + packet.length);
  if (low < high) packet.copy(low, high, target, into + low - from);
}
