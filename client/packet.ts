import { invariant } from "../common/errors.js";
import { MAX_PACKET } from "../common/limits.js";
import { encodeChunks } from "../proto/chunks.js";
import { encodeFrame, encodeFrameAround } from "../proto/frame.js";
import { BlockStream } from "../proto/gen/services.js";
import { type Compression, EnvelopeKind, PacketHeader, type PacketHeaderInit } from "../proto/gen/types.js";
import { Budget } from "./budget.js";

/** Bytes kept free before a packet's data, where the head of its message is put: enough for all its chunks' entries. */
const HEAD_ROOM = 1024;
/** Room of the smallest packet, bytes: most files are small. */
const SMALL_PACKET = 16 * 1024;
/** Buffers of full packets kept for the next ones: new memory costs page faults. */
const MAX_SPARE = 16;

/** Data on its way to the datanodes: appended to, sent, and kept until it is acknowledged. */
export class Packet {
  /** Bytes of data there is room for. */
  readonly capacity: number;
  /** Where in the block the data starts. */
  start = 0;
  /** Bytes of data. */
  length = 0;
  /** Finalizes the block. */
  last = false;
  /** To be acknowledged only when the block is on the platter. */
  sync = false;
  /** In the stream it was last sent on. */
  sequence = 0;
  readonly buffer: Buffer;
  #sends = 0;

  constructor(buffer: Buffer) {
    this.buffer = buffer;
    this.capacity = buffer.length - HEAD_ROOM;
  }

  /** Whether the buffer may be used again once the packet is acknowledged: nothing else can still be reading it. */
  get isReusable(): boolean {
    return this.#sends <= 1;
  }

  /** Takes over the place and the data of a smaller packet. */
  replace(smaller: Packet): void {
    this.start = smaller.start;
    this.length = smaller.length;
    smaller.copy(this.start, this.start + this.length, this.buffer, HEAD_ROOM);
  }

  /** Appends of data[from, to) what there is room for; returns the number of bytes. */
  append(data: Buffer, from: number, to: number): number {
    const bytes = Math.min(to - from, this.capacity - this.length);
    data.copy(this.buffer, HEAD_ROOM + this.length, from, from + bytes);
    this.length += bytes;
    return bytes;
  }

  /** The data, not copied. */
  get data(): Buffer {
    return this.buffer.subarray(HEAD_ROOM, HEAD_ROOM + this.length);
  }

  /** Copies [from, to) of the block, which lie in this packet, into target at `at`. */
  copy(from: number, to: number, target: Buffer, at: number): void {
    const base = HEAD_ROOM - this.start;
    this.buffer.copy(target, at, base + from, base + to);
  }

  /** What is sent of it: its header, and the stored bytes of its chunks. */
  encode(block: number, generation: number, compression: Compression): { header: PacketHeaderInit; body: Buffer } {
    const { chunks, body } = encodeChunks(this.data, compression);
    const { sequence, start: offset, last, sync } = this;
    return { header: { block, generation, sequence, offset, chunks, last, sync }, body };
  }

  /** The message that carries it. The data is not copied unless it has been sent before (and may be on its way still). */
  frame(block: number, generation: number, compression: Compression): Buffer {
    const { header, body } = this.encode(block, generation, compression);
    const message = PacketHeader.encode(header).finish();
    const envelope = { kind: EnvelopeKind.PUSH, method: BlockStream.packet.name, message };
    const inPlace = body.buffer === this.buffer.buffer && body.byteOffset === this.buffer.byteOffset + HEAD_ROOM;
    if (this.#sends++ > 0 || !inPlace) return encodeFrame(envelope, body);
    return encodeFrameAround(envelope, this.buffer, HEAD_ROOM, HEAD_ROOM + this.length);
  }
}

/** The memory of a client's packets: bounded, whoever writes however fast. */
export class PacketPool {
  readonly #budget: Budget;
  readonly #spare: Buffer[] = [];
  /** Packets that are being filled, with what sends them on as they are. */
  readonly #filling = new Map<Packet, () => void>();
  #held = 0;

  /** @param limit bytes of data in packets, at least two full ones */
  constructor(limit: number) {
    invariant(limit >= 2 * MAX_PACKET, () => `room for two packets of ${MAX_PACKET} bytes in ${limit}`);
    this.#budget = new Budget(limit);
  }

  /** Bytes in use, and the most there were at once. */
  get used(): number {
    return this.#budget.used;
  }
  get peak(): number {
    return this.#budget.peak;
  }

  /** A packet with room for `bytes`, or as many as a packet can have; undefined when one has to wait for it. */
  tryMake(bytes: number): Packet | undefined {
    const capacity = capacityFor(bytes);
    return this.#budget.tryTake(capacity) ? this.#new(capacity) : undefined;
  }

  /** As tryMake, when there is room again. */
  async make(bytes: number): Promise<Packet> {
    const capacity = capacityFor(bytes);
    const granted = this.#budget.take(capacity);
    this.#relieve();
    await granted;
    return this.#new(capacity);
  }

  /** A packet without data. */
  empty(): Packet {
    return new Packet(Buffer.allocUnsafe(HEAD_ROOM));
  }

  /** A packet is being filled; `seal` sends it as it is, when memory is short because too many are half full. */
  filling(packet: Packet, seal: () => void): void {
    this.#filling.set(packet, seal);
    this.#held += packet.capacity;
    this.#relieve();
  }

  /** A packet is no longer being filled. */
  filled(packet: Packet): void {
    if (this.#filling.delete(packet)) this.#held -= packet.capacity;
  }

  /** Gives a packet's memory back. */
  free(packet: Packet): void {
    this.filled(packet);
    if (packet.capacity === MAX_PACKET && packet.isReusable && this.#spare.length < MAX_SPARE) {
      this.#spare.push(packet.buffer);
    }
    this.#budget.give(packet.capacity);
  }

  #new(capacity: number): Packet {
    const spare = capacity === MAX_PACKET ? this.#spare.pop() : undefined;
    return new Packet(spare ?? Buffer.allocUnsafeSlow(HEAD_ROOM + capacity));
  }

  /** Packets on their way free themselves. Those half full do not: they may have half of the memory when it is short. */
  #relieve(): void {
    if (!this.#budget.isShort || this.#held <= this.#budget.limit / 2) return;
    for (const seal of [...this.#filling.values()]) seal();
  }
}

function capacityFor(bytes: number): number {
  return bytes <= SMALL_PACKET ? SMALL_PACKET : MAX_PACKET;
}
