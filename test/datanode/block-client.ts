import { silentLogger } from "../../common/log.js";
import { LinkAuth } from "../../proto/auth.js";
import { checkChunks, decodeChunks, encodeChunks, lengthOf } from "../../proto/chunks.js";
import { connect, LinkPool } from "../../proto/connect.js";
import { Dispatcher } from "../../proto/dispatch.js";
import { BlockAcks, BlockStream, Datanode } from "../../proto/gen/services.js";
import {
  type Block,
  Compression,
  type DatanodeAddress,
  type PacketAck,
  type PacketHeaderInit,
} from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import { until } from "../support/until.js";

export interface OpenOptions {
  resume?: { generation: number; length: number };
  reserve?: number;
  transfer?: boolean;
  /** Packet 0, sent along. */
  first?: { header: PacketHeaderInit; body: Buffer };
  /** A connection of its own, that can be cut. */
  ownLink?: boolean;
}

/** A writer and reader of blocks that does just what it is told, right or wrong. */
export class BlockClient {
  readonly cluster: string;
  readonly pool: LinkPool;
  readonly streams = new Set<RawStream>();
  readonly #dispatcher: Dispatcher;

  constructor(cluster: string) {
    this.cluster = cluster;
    this.#dispatcher = new Dispatcher().take(BlockAcks, {
      ack: (ack, { link }) => {
        for (const s of this.streams) {
          if (s.link === link && s.block.id === ack.block && s.block.generation === ack.generation) s.acks.push(ack);
        }
      },
    });
    this.pool = new LinkPool({ dispatcher: this.#dispatcher, auth: new LinkAuth(), log: silentLogger });
  }

  link({ host, port }: DatanodeAddress): Promise<Link> {
    return this.pool.get(host, port);
  }

  async open(
    pipeline: readonly DatanodeAddress[],
    id: number,
    generation: number,
    options: OpenOptions = {},
  ): Promise<RawStream> {
    const [first, ...rest] = pipeline as [DatanodeAddress, ...DatanodeAddress[]];
    const link = options.ownLink
      ? await connect(first.host, first.port, { dispatcher: this.#dispatcher, auth: new LinkAuth(), log: silentLogger })
      : await this.link(first);
    const length = options.resume?.length ?? 0;
    const request = {
      block: { id, generation, length },
      resumeGeneration: options.resume?.generation ?? 0,
      rest,
      datanode: first.id,
      reserve: options.reserve ?? 0,
      transfer: options.transfer ?? false,
      cluster: this.cluster,
      first: options.first?.header,
    };
    // The ack of the first packet may come before the reply's promise resolves.
    const stream = new RawStream(link, { id, generation, length });
    this.streams.add(stream);
    const { window } = await link.call(Datanode.openWrite, request, options.first && { body: options.first.body });
    stream.window = window;
    return stream;
  }

  /** Writes and finalizes a whole block, in packets of `packet` bytes. */
  async write(
    pipeline: readonly DatanodeAddress[],
    id: number,
    data: Buffer,
    options: { generation?: number; packet?: number; compression?: Compression; sync?: boolean } = {},
  ): Promise<Block> {
    const { generation = 1, packet = 256 * 1024, compression = Compression.RAW, sync = false } = options;
    const stream = await this.open(pipeline, id, generation);
    for (let at = 0; at < data.length; at += packet) {
      stream.send(data.subarray(at, at + packet), { compression });
      await until(() => stream.inFlight < stream.window, { what: "the window" });
    }
    stream.send(Buffer.alloc(0), { last: true, sync });
    await stream.finished();
    return { id, generation, length: data.length };
  }

  /** Reads [from, to) of a block from one datanode, verified. */
  async read(datanode: DatanodeAddress, block: Block, from = 0, to = block.length): Promise<Buffer> {
    const link = await this.link(datanode);
    const target = Buffer.alloc(to - from);
    for (let at = from; at < to; ) {
      const length = Math.min(to - at, 1 << 20);
      const request = { block: block.id, generation: block.generation, offset: at, length };
      const { message, body } = await link.callWithBody(Datanode.readBlock, request);
      checkChunks(message.chunks, body);
      const end = Math.min(to, message.offset + lengthOf(message.chunks));
      at += decodeChunks(message.chunks, body, message.offset, at, end, target, at - from);
    }
    return target;
  }

  close(): Promise<void> {
    for (const { link } of this.streams) link.close();
    return this.pool.close();
  }
}

/** One open write stream. */
export class RawStream {
  readonly link: Link;
  readonly block: Block;
  window = 0;
  readonly acks: PacketAck[] = [];
  sequence = 0;
  offset: number;
  readonly #sizes: number[] = [];

  constructor(link: Link, block: Block) {
    this.link = link;
    this.block = block;
    this.offset = block.length;
  }

  /** Body bytes sent and not acknowledged. */
  get inFlight(): number {
    return this.#sizes.slice(this.good.length).reduce((a, b) => a + b, 0);
  }

  get good(): PacketAck[] {
    return this.acks.filter((a) => a.error === null);
  }

  get error(): PacketAck | undefined {
    return this.acks.find((a) => a.error !== null);
  }

  /** Bytes of the block that are acknowledged. */
  get acknowledged(): number {
    return this.good.reduce((end, a) => Math.max(end, this.#ends[a.sequence]!), this.block.length);
  }

  readonly #ends: number[] = [];

  /** Sends the next packet. */
  send(
    data: Buffer,
    options: { compression?: Compression; last?: boolean; sync?: boolean; spoil?: (body: Buffer) => void } = {},
  ): void {
    const { chunks, body } = encodeChunks(data, options.compression ?? Compression.RAW);
    const sent = options.spoil === undefined ? body : Buffer.from(body);
    options.spoil?.(sent);
    const { last = false, sync = false } = options;
    const { sequence, offset } = this;
    this.sequence++;
    this.offset += data.length;
    this.#sizes.push(body.length);
    this.#ends.push(this.offset);
    this.sendRaw({ sequence, offset, chunks, last, sync }, sent);
  }

  sendRaw(header: PacketHeaderInit, body: Buffer): void {
    const { id, generation } = this.block;
    this.link.push(BlockStream.packet, { block: id, generation, ...header }, body);
  }

  /** Resolves when every packet sent is acknowledged; rejects when the stream breaks. */
  async finished(timeoutMs = 10_000): Promise<void> {
    await until(() => this.good.length === this.sequence || this.error !== undefined, { timeoutMs, what: "the acks" });
    if (this.error !== undefined) throw new Error(`${this.error.error!.code}: ${this.error.error!.message}`);
  }

  /** Resolves to the ack that says that the stream is broken. */
  broken(): Promise<PacketAck> {
    return until(() => this.error, { what: "the stream to break" });
  }
}
