import type { Timer } from "../common/clock.js";
import { CairnError, codeOf, messageOf } from "../common/errors.js";
import { MAX_PACKET } from "../common/limits.js";
import { blamedDatanode } from "../proto/blame.js";
import { Datanode } from "../proto/gen/services.js";
import type { Block, DatanodeAddress, PacketAck, PacketHeaderInit } from "../proto/gen/types.js";
import type { Link } from "../proto/link.js";
import type { ClientIo } from "./io.js";

/** How long a pipeline may take to open, ms: every datanode of it connects to the next. */
const OPEN_TIMEOUT_MS = 10_000;
/** After this long without an ack the datanodes are asked whether they are there at all, ms. */
const SILENCE_MS = 10_000;
/**
 * How long the pipeline may then take, ms for each of its datanodes, to say itself which one is stuck: the last one
 * notices first, the writer only when nobody did.
 */
const VERDICT_MS = 3_000;
/** How long a datanode may take to answer an empty request, ms. */
const PROBE_TIMEOUT_MS = 3_000;
/** Bytes in flight on one stream at most, whatever the datanodes allow. */
const MAX_WINDOW = 16 * MAX_PACKET;

/** A pipeline that broke or could not be opened, and, as far as known, because of whom. */
export class PipelineError extends CairnError {
  /** Ids of the datanodes to blame; empty: not known. */
  readonly culprits: readonly number[];

  constructor(message: string, cause: unknown, culprits: readonly number[]) {
    super(codeOf(cause), message, cause);
    this.culprits = culprits;
  }
}

/** Finds the stream that an ack is for, and tells the streams of a link that it is lost. */
export class AckRouter {
  readonly #streams = new Map<number, WriteStream>();
  readonly #links = new Map<Link, Set<WriteStream>>();

  add(stream: WriteStream): void {
    const { link } = stream;
    this.#streams.set(stream.block.id, stream);
    const others = this.#links.get(link);
    if (others !== undefined) others.add(stream);
    else {
      this.#links.set(link, new Set([stream]));
      void link.closed.then((reason) => this.#lost(link, reason));
    }
  }

  remove(stream: WriteStream): void {
    if (this.#streams.get(stream.block.id) === stream) this.#streams.delete(stream.block.id);
    this.#links.get(stream.link)?.delete(stream);
  }

  /** Takes an ack from a link. One for a stream that is over is of no interest any more. */
  route(ack: PacketAck, link: Link): void {
    const stream = this.#streams.get(ack.block);
    if (stream?.block.generation === ack.generation && stream.link === link) stream.onAck(ack);
  }

  #lost(link: Link, reason: CairnError): void {
    const streams = this.#links.get(link);
    this.#links.delete(link);
    for (const stream of streams ?? []) stream.onLost(reason);
  }
}

export interface OpenStream {
  /** length: bytes that every datanode of the pipeline has already. */
  block: Block;
  /** The oldest generation that a replica may have now; 0: a new block. */
  resumeGeneration: number;
  /** The pipeline, at least one. */
  replicas: readonly DatanodeAddress[];
  /** Bytes to set aside. */
  reserve: number;
  /** Packet 0, sent along; undefined: there is none yet. */
  first?: { header: PacketHeaderInit; body: Buffer } | undefined;
}

/** One pipeline for one generation of a block: packets go in, acks come out, until it breaks or is closed. */
export class WriteStream {
  readonly block: Block;
  readonly link: Link;
  /** Resolves when it is over: to why it broke, to undefined when it was closed here. */
  readonly ended: Promise<PipelineError | undefined>;
  readonly #io: ClientIo;
  readonly #replicas: readonly DatanodeAddress[];
  #end!: (failure: PipelineError | undefined) => void;
  #onAcked: ((sequence: number) => void) | undefined;
  #window = 0;
  #sent = -1;
  #acked = -1;
  #progress = 0;
  #timer: Timer | undefined;
  #over = false;

  private constructor(io: ClientIo, { block, replicas }: OpenStream, link: Link) {
    this.#io = io;
    this.block = block;
    this.link = link;
    this.#replicas = replicas;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    io.acks.add(this);
  }

  /** Opens a pipeline. PipelineError. */
  static async open(io: ClientIo, request: OpenStream): Promise<WriteStream> {
    const { block, resumeGeneration, replicas, reserve, first: packet } = request;
    const [first, ...rest] = replicas as [DatanodeAddress, ...DatanodeAddress[]];
    const { cluster } = io.session;
    let stream: WriteStream | undefined;
    try {
      const link = await io.pool.get(first.host, first.port);
      const call = { block, resumeGeneration, rest, datanode: first.id, reserve, cluster, first: packet?.header };
      const options = { deadlineMs: OPEN_TIMEOUT_MS, ...(packet && { body: packet.body }) };
      // Before the call: the ack of a packet that goes along may come as soon as the reply.
      stream = new WriteStream(io, request, link);
      if (packet !== undefined) stream.#sent = 0;
      const { window } = await link.call(Datanode.openWrite, call, options);
      stream.#window = Math.min(window, MAX_WINDOW);
      return stream;
    } catch (err) {
      stream?.close();
      throw new PipelineError(`cannot write block ${block.id} to ${nameOf(first)}`, err, culprits(err, replicas));
    }
  }

  /** Bytes that may be in flight. */
  get window(): number {
    return this.#window;
  }

  /** Has acknowledged sequence numbers told, those so far too: each and all before it have arrived everywhere. */
  start(onAcked: (sequence: number) => void): void {
    this.#onAcked = onAcked;
    if (this.#sent > this.#acked) this.#expectProgress();
    if (this.#acked >= 0) onAcked(this.#acked);
  }

  /** Sends a packet's frame. Frames are sent in the order of their sequence numbers, 0, 1, 2, … */
  send(frame: Buffer): void {
    if (this.#over) return;
    this.#sent++;
    if (this.#sent === this.#acked + 1) this.#expectProgress();
    this.link.sendFrame(frame);
  }

  /** An ack has come for this stream. */
  onAck({ sequence, error, failedDatanode }: PacketAck): void {
    if (error !== null) {
      const culprit = failedDatanode || this.#first;
      return this.#fail(new CairnError(error.code, error.message), [culprit]);
    }
    if (sequence > this.#sent) {
      return this.#fail(new CairnError("EPROTO", `an ack for packet ${sequence} of ${this.#sent + 1}`), [this.#first]);
    }
    if (sequence <= this.#acked) return;
    this.#acked = sequence;
    this.#expectProgress();
    this.#onAcked?.(sequence);
  }

  /** The link is lost. */
  onLost(reason: CairnError): void {
    this.#fail(reason, [this.#first]);
  }

  /** Ends the stream without a failure. */
  close(): void {
    this.#finish(undefined);
  }

  #fail(cause: unknown, culprits: readonly number[]): void {
    this.#finish(
      new PipelineError(`writing block ${this.block.id} (generation ${this.block.generation})`, cause, culprits),
    );
  }

  #finish(failure: PipelineError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer?.clear();
    this.#io.acks.remove(this);
    this.#end(failure);
  }

  get #first(): number {
    return this.#replicas[0]!.id;
  }

  #expectProgress(): void {
    this.#progress = this.#io.clock.monotonic();
    this.#timer ??= this.#watch(SILENCE_MS);
  }

  /** One timer per silence, not one per packet: when it fires, it looks when there was progress last. */
  #watch(ms: number): Timer {
    return this.#io.clock.after(ms, () => {
      this.#timer = undefined;
      if (this.#over || this.#acked === this.#sent) return;
      const silence = this.#io.clock.monotonic() - this.#progress;
      if (silence < SILENCE_MS) this.#timer = this.#watch(SILENCE_MS - silence);
      else void this.#examine(silence);
    });
  }

  /** Nothing was acknowledged for a while: whoever does not even answer is to blame. The others get time for their verdict. */
  async #examine(silence: number): Promise<void> {
    const acked = this.#acked;
    const silent = await unresponsive(this.#io, this.#replicas);
    if (this.#over) return;
    const verdict = SILENCE_MS + VERDICT_MS * (this.#replicas.length + 1);
    if (acked !== this.#acked) this.#timer ??= this.#watch(SILENCE_MS);
    else if (silent.length > 0 || silence >= verdict) {
      this.#fail(new CairnError("ETIMEDOUT", `no packet acknowledged for ${Math.round(silence)} ms`), silent);
    } else this.#timer ??= this.#watch(verdict - silence);
  }
}

/** Whom the failure of an OpenWrite is about. One without an answer may be anybody's. */
function culprits(err: unknown, replicas: readonly DatanodeAddress[]): number[] {
  const blamed = blamedDatanode(err);
  if (blamed !== undefined && replicas.some(({ id }) => id === blamed)) return [blamed];
  return codeOf(err) === "ETIMEDOUT" && replicas.length > 1 ? [] : [replicas[0]!.id];
}

/** A datanode, for messages. */
export function nameOf({ id, host, port }: DatanodeAddress): string {
  return `datanode ${id} (${host}:${port})`;
}

/** Which of some datanodes do not answer. */
export async function unresponsive(io: ClientIo, replicas: readonly DatanodeAddress[]): Promise<number[]> {
  const silent: number[] = [];
  await Promise.all(
    replicas.map(async (replica) => {
      try {
        const link = await io.pool.get(replica.host, replica.port);
        await link.call(Datanode.syncBlocks, { blocks: [] }, { deadlineMs: PROBE_TIMEOUT_MS });
      } catch (err) {
        io.log.info(
          { datanode: nameOf(replica), err: messageOf(err) },
          "a datanode of a broken pipeline does not answer",
        );
        silent.push(replica.id);
      }
    }),
  );
  return silent;
}
