import type { Clock } from "../common/clock.js";
import { CairnError, codeOf, InvariantError, messageOf } from "../common/errors.js";
import { MAX_PACKET } from "../common/limits.js";
import { checkChunks, lengthOf } from "../proto/chunks.js";
import type { CallContext } from "../proto/dispatch.js";
import { BlockAcks } from "../proto/gen/services.js";
import type { PacketAck, PacketHeader } from "../proto/gen/types.js";
import type { Link } from "../proto/link.js";
import type { Downstream } from "./downstream.js";
import type { UnfinishedReplica } from "./unfinished.js";

/** Packets that may be unacknowledged at once, whatever their size. */
export const MAX_UNACKED_PACKETS = 1024;
/** A stream on which nothing is sent for this long is closed, ms. */
const IDLE_MS = 10 * 60_000;
/** How long the own disk may take for a packet, ms. */
const WRITE_DEADLINE_MS = 10_000;
/** What each further datanode of the pipeline adds to that, ms: so that the one before the silent one is the first to say so. */
const HOP_DEADLINE_MS = 3_000;

interface Packet {
  readonly sequence: number;
  readonly bytes: number;
  /** Where it ends in the block. */
  readonly end: number;
  readonly received: number;
  readonly last: boolean;
  stored: boolean;
}

/** How a stream ended: everything acknowledged; an error sent to the writer; the writer gone; closed from here. */
export type StreamEnd = "finished" | "broken" | "lost" | "closed";

export interface WriteStreamOptions {
  generation: number;
  replica: UnfinishedReplica;
  /** Where the packets come from and the acks go. */
  upstream: Link;
  /** The next datanode; undefined: this is the last of the pipeline. */
  downstream: Downstream | undefined;
  /** Datanodes after this one. */
  depth: number;
  /** Bytes that may be unacknowledged. */
  window: number;
  clock: Clock;
  /** Finalizes the replica. */
  finalize: (sync: boolean) => Promise<void>;
  onEnd: (how: StreamEnd, error: CairnError | undefined) => void;
}

/**
 * One writer's stream of packets through this datanode: each is passed on as it came, verified, written, and acknowledged
 * once it is stored here and in all datanodes after this one. The first error ends the stream.
 */
export class WriteStream {
  readonly #options: WriteStreamOptions;
  readonly #packets: Packet[] = [];
  #acknowledged: number;
  #nextSequence = 0;
  #unackedBytes = 0;
  #downstreamAcked = -1;
  #lastSeen = false;
  #end: StreamEnd | undefined;
  #heard: number;
  #storing = 0;
  readonly #idleWaiters: (() => void)[] = [];

  constructor(options: WriteStreamOptions) {
    this.#options = options;
    this.#acknowledged = options.replica.table.length;
    this.#heard = options.clock.monotonic();
  }

  /** Bytes of the block that are stored here and in all datanodes after this one, and the writer was told so. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Takes the next packet and passes it on. */
  packet(header: PacketHeader, context: CallContext): void {
    this.#take(header, context.body, context);
  }

  /** Takes the packet that came with OpenWrite, and has been passed on with it. */
  first(header: PacketHeader, body: Buffer): void {
    this.#take(header, body, undefined);
  }

  /** @param message what brought it, unless it has been passed on already */
  #take(header: PacketHeader, body: Buffer, message: CallContext | undefined): void {
    if (this.#end !== undefined) return; // it was on its way when the stream ended
    const { replica, downstream, upstream, clock } = this.#options;
    this.#heard = clock.monotonic();
    // The memory is free when the packet is stored and has left for the next datanode. After an error nobody says so.
    let users = downstream === undefined ? 1 : 2;
    const done = () => {
      if (--users === 0) message?.recycle();
    };
    try {
      this.#admit(header, body);
      if (message !== undefined && downstream !== undefined) downstream.link.sendFrame(message.raw, done);
      checkChunks(header.chunks, body);
    } catch (err) {
      const what = `packet ${header.sequence} of block ${replica.id}, from ${upstream.peer}`;
      this.fail(new CairnError(codeOf(err), what, err));
      return;
    }
    const packet = {
      sequence: header.sequence,
      bytes: body.length,
      end: header.offset + lengthOf(header.chunks),
      received: this.#heard,
      last: header.last,
      stored: false,
    };
    this.#nextSequence++;
    this.#unackedBytes += body.length;
    this.#lastSeen = header.last;
    this.#packets.push(packet);
    this.#storing++;
    this.#store(header, body).then(
      () => {
        packet.stored = true;
        this.#stored();
        this.#acknowledge();
        done();
      },
      (err) => {
        this.#stored();
        this.fail(err);
      },
    );
  }

  /** The next datanode acknowledged a packet, and with it all before, or says that the stream is broken. */
  downstreamAck(ack: PacketAck): void {
    const { downstream, replica } = this.#options;
    if (this.#end !== undefined || downstream === undefined) return;
    if (ack.error !== null) {
      const { error, datanode } = downstream.errorOf(ack);
      this.fail(error, datanode);
    } else if (ack.sequence <= this.#downstreamAcked || ack.sequence >= this.#nextSequence) {
      const what = `datanode ${downstream.address.id} acknowledged packet ${ack.sequence} of block ${replica.id} out of turn`;
      this.fail(new CairnError("EPROTO", what), downstream.address.id);
    } else {
      this.#downstreamAcked = ack.sequence;
      this.#acknowledge();
    }
  }

  /** The next datanode is gone. */
  downstreamLost(reason: CairnError): void {
    const { downstream } = this.#options;
    if (downstream === undefined) return;
    this.fail(new CairnError("EHOSTUNREACH", `datanode ${downstream.address.id}`, reason), downstream.address.id);
  }

  /** Ends the stream and tells the writer why. @param datanode whose fault it is; 0: this one's */
  fail(error: Error, datanode = 0): void {
    if (error instanceof InvariantError) throw error;
    if (this.#end !== undefined) return;
    const { upstream, replica, generation } = this.#options;
    const code = codeOf(error);
    upstream.push(BlockAcks.ack, {
      block: replica.id,
      generation,
      sequence: this.#packets[0]?.sequence ?? this.#nextSequence,
      error: { code, message: messageOf(error) },
      failedDatanode: datanode,
    });
    this.close("broken", error instanceof CairnError ? error : new CairnError(code, "write stream", error));
  }

  /** Ends the stream without a word. */
  close(how: StreamEnd, error?: CairnError): void {
    if (this.#end !== undefined) return;
    this.#end = how;
    this.#packets.length = 0;
    this.#options.downstream?.close();
    this.#options.onEnd(how, error);
  }

  /** Resolves when nothing is being stored any more. */
  idle(): Promise<void> {
    if (this.#storing === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Ends the stream if something takes too long. Called every second or so. */
  checkDeadlines(): void {
    const { clock, downstream, depth, replica } = this.#options;
    const now = clock.monotonic();
    const oldest = this.#packets[0];
    if (oldest === undefined) {
      if (now - this.#heard > IDLE_MS) {
        this.fail(new CairnError("ETIMEDOUT", `nothing came for block ${replica.id} in ${IDLE_MS} ms`));
      }
      return;
    }
    const waited = now - oldest.received;
    if (waited <= WRITE_DEADLINE_MS + depth * HOP_DEADLINE_MS) return;
    const late = `packet ${oldest.sequence} of block ${replica.id} is not stored after ${Math.round(waited)} ms`;
    const fault = oldest.stored && downstream !== undefined ? downstream.address.id : 0;
    this.fail(new CairnError("ETIMEDOUT", late), fault);
  }

  /** Throws unless the packet may come now. */
  #admit(header: PacketHeader, body: Buffer): void {
    const { replica, window } = this.#options;
    const problem = this.#lastSeen
      ? "it comes after the last one"
      : header.sequence !== this.#nextSequence
        ? `the next one is packet ${this.#nextSequence}`
        : header.offset !== replica.table.length
          ? `it starts at ${header.offset}, the block goes on at ${replica.table.length}`
          : lengthOf(header.chunks) > MAX_PACKET
            ? `it is longer than ${MAX_PACKET} bytes`
            : this.#packets.length >= MAX_UNACKED_PACKETS
              ? `${MAX_UNACKED_PACKETS} packets are unacknowledged`
              : this.#packets.length > 0 && this.#unackedBytes + body.length > window
                ? `it goes beyond the window of ${window} bytes`
                : undefined;
    if (problem !== undefined) throw new CairnError("EPROTO", problem);
  }

  async #store(header: PacketHeader, body: Buffer): Promise<void> {
    const { replica, finalize } = this.#options;
    // Both in the same turn, so that they are one write.
    const appended = header.chunks.length > 0 ? replica.append(header.chunks, body) : undefined;
    const finalized = header.last ? finalize(header.sync) : undefined;
    await Promise.all([appended, finalized]);
    if (header.sync && !header.last) await replica.sync();
  }

  #stored(): void {
    if (--this.#storing === 0) for (const wake of this.#idleWaiters.splice(0)) wake();
  }

  /** Tells the writer of every packet, in order, that is stored here and downstream. */
  #acknowledge(): void {
    if (this.#end !== undefined) return;
    const { upstream, downstream, replica, generation } = this.#options;
    for (;;) {
      const first = this.#packets[0];
      if (first === undefined || !first.stored) return;
      if (downstream !== undefined && first.sequence > this.#downstreamAcked) return;
      this.#packets.shift();
      this.#acknowledged = first.end;
      this.#unackedBytes -= first.bytes;
      upstream.push(BlockAcks.ack, { block: replica.id, generation, sequence: first.sequence });
      if (first.last) return this.close("finished");
    }
  }
}
