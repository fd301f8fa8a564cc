import { CairnError } from "../../common/errors.js";
import { MIB } from "../../common/limits.js";
import { silentLogger } from "../../common/log.js";
import { LinkAuth } from "../../proto/auth.js";
import { blame } from "../../proto/blame.js";
import { encodeFooter } from "../../proto/block-footer.js";
import { ChunkTable } from "../../proto/chunk-table.js";
import { checkChunks } from "../../proto/chunks.js";
import { LinkPool } from "../../proto/connect.js";
import { type CallContext, Dispatcher, WithBody } from "../../proto/dispatch.js";
import { BlockAcks, BlockStream, Datanode } from "../../proto/gen/services.js";
import type { DatanodeAddress, OpenWriteRequest, PacketAck, PacketHeader } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import { type LinkServer, listen } from "../../proto/server.js";

/** What a datanode has of a block. */
export interface FakeReplica {
  generation: number;
  finalized: boolean;
  synced: boolean;
  table: ChunkTable;
  stored: Buffer;
  up: Link | undefined;
  down: Link | undefined;
}

/** A datanode in memory, with a pipeline, and with every way of failing that a test may ask for. */
export class FakeDatanode {
  readonly id: number;
  readonly replicas = new Map<number, FakeReplica>();
  window = 8 * MIB;
  /** Called for each packet before it is taken: what it throws breaks the stream; "drop" says nothing at all. */
  onPacket: (header: PacketHeader) => "take" | "drop" = () => "take";
  onOpen: (request: OpenWriteRequest) => void | Promise<void> = () => {};
  onRead: (block: number) => void | Promise<void> = () => {};
  /** Answers SyncBlocks. */
  onSync: (blocks: readonly { id: number }[]) => void | Promise<void> = () => {};
  /** Sends an ack of its own to whoever is before it. */
  onAck: (ack: Pick<PacketAck, "block" | "generation" | "sequence">, up: Link | undefined) => void = (ack, up) =>
    up?.push(BlockAcks.ack, ack);
  /** Flips a bit in what is read. */
  corrupt = false;
  /** Where a block's file is: short-circuit reads. */
  pathOf: ((block: number) => string) | undefined;
  packets = 0;
  opens = 0;
  reads = 0;
  aborts = 0;
  #server: LinkServer | undefined;
  #pool: LinkPool | undefined;
  readonly #early = new Map<number, PacketAck>();

  constructor(id: number) {
    this.id = id;
  }

  get address(): DatanodeAddress {
    return { id: this.id, host: "127.0.0.1", port: this.#server!.port, rack: "/default-rack" };
  }

  async start(): Promise<void> {
    const auth = new LinkAuth();
    const acks = new Dispatcher().take(BlockAcks, {
      ack: (ack) => {
        const replica = this.replicas.get(ack.block);
        if (replica?.generation !== ack.generation) {
          this.#early.set(ack.block, ack); // of a packet that went along with an OpenWrite still under way
          return;
        }
        // Whoever is next in the pipeline is meant unless it says whom.
        replica.up?.push(BlockAcks.ack, ack);
      },
    });
    this.#pool = new LinkPool({ dispatcher: acks, auth, log: silentLogger });
    const dispatcher = new Dispatcher()
      .serve(Datanode, {
        openWrite: (request, context) => this.#openWrite(request, context),
        readBlock: async ({ block, generation, offset, length }) => {
          this.reads++;
          await this.onRead(block);
          const { table, stored } = this.#get(block, generation);
          const run = table.run(offset, offset + length, 4096);
          const body = Buffer.from(stored.subarray(run.storedFrom, run.storedTo));
          if (this.corrupt) body[0]! ^= 1;
          return new WithBody({ offset: run.offset, chunks: run.chunks }, body);
        },
        openLocal: ({ block, generation }) => {
          this.#get(block, generation);
          if (this.pathOf === undefined) throw new CairnError("EXDEV", "not the same machine");
          return { path: this.pathOf(block) };
        },
        syncBlocks: async ({ blocks }) => {
          await this.onSync(blocks);
          for (const { id, generation } of blocks) this.#get(id, generation).synced = true;
          return {};
        },
        abortWrite: ({ block }) => {
          this.aborts++;
          if (this.replicas.get(block.id)?.finalized === false) this.replicas.delete(block.id);
          return {};
        },
      })
      .take(BlockStream, { packet: (header, context) => this.#packet(header, context) });
    const options = { host: "127.0.0.1", port: 0, dispatcher, auth, secret: undefined, log: silentLogger };
    this.#server = await listen({ ...options, onHttp: (_req, res) => res.end() });
  }

  /** Dies: every connection breaks, nothing listens any more. */
  async stop(): Promise<void> {
    for (const link of [...(this.#server?.links ?? [])]) link.terminate("killed");
    await this.#pool?.close();
    await this.#server?.close();
  }

  /** The bytes of a raw block. */
  data(block: number): Buffer {
    return this.replicas.get(block)!.stored;
  }

  /** A replica's file as a real datanode would have it. */
  file(block: number, cluster: string): Buffer {
    const { table, stored, generation } = this.replicas.get(block)!;
    return Buffer.concat([
      stored,
      encodeFooter({ block: { id: block, generation, length: table.length }, cluster, table }),
    ]);
  }

  #get(block: number, generation: number): FakeReplica {
    const replica = this.replicas.get(block);
    if (replica?.generation !== generation) throw new CairnError("ENOENT", `no replica of block ${block}`);
    return replica;
  }

  async #openWrite(request: OpenWriteRequest, { link, body }: CallContext) {
    this.opens++;
    const { block, resumeGeneration, rest } = request;
    await this.onOpen(request);
    if (request.datanode !== this.id) throw new CairnError("ESTALE", "another datanode");
    let replica: FakeReplica = {
      generation: block.generation,
      finalized: false,
      synced: false,
      table: new ChunkTable(),
      stored: Buffer.alloc(0),
      up: link,
      down: undefined,
    };
    if (resumeGeneration > 0) {
      const old = this.replicas.get(block.id);
      if (old === undefined || old.generation < resumeGeneration) {
        throw new CairnError("ENOENT", `nothing of block ${block.id}`);
      }
      old.table.truncate(block.length);
      const stored = old.stored.subarray(0, old.table.storedLength);
      replica = { ...replica, table: old.table, stored };
    }
    let window = this.window;
    const [next, ...further] = rest;
    if (next !== undefined) {
      try {
        replica.down = await this.#pool!.get(next.host, next.port);
        const onward = { ...request, rest: further, datanode: next.id };
        window = Math.min(
          window,
          (await replica.down.call(Datanode.openWrite, onward, { deadlineMs: 5_000, body })).window,
        );
      } catch (err) {
        throw blame(next, err);
      }
      const { down } = replica;
      void down.closed.then((reason) => {
        if (this.replicas.get(block.id) === replica && !replica.finalized)
          this.#break(block.id, replica, reason, next.id);
      });
    }
    this.replicas.set(block.id, replica);
    if (request.first !== null) this.#take(request.first, body, undefined);
    const early = this.#early.get(block.id);
    if (early?.generation === block.generation) link.push(BlockAcks.ack, early);
    this.#early.delete(block.id);
    return { window };
  }

  #packet(header: PacketHeader, { body, raw }: CallContext): void {
    this.#take(header, body, raw);
  }

  #take(header: PacketHeader, body: Buffer, onward: Buffer | undefined): void {
    const replica = this.replicas.get(header.block);
    if (replica?.generation !== header.generation) return;
    this.packets++;
    try {
      if (this.onPacket(header) === "drop") return;
      checkChunks(header.chunks, body);
      if (header.offset !== replica.table.length) throw new CairnError("EPROTO", `a packet at ${header.offset}`);
    } catch (err) {
      return this.#break(header.block, replica, err as Error, 0);
    }
    replica.table.append(header.chunks);
    replica.stored = Buffer.concat([replica.stored, body]);
    if (header.last) replica.finalized = true;
    if (header.sync) replica.synced = true;
    if (replica.down === undefined) {
      const { block, generation, sequence } = header;
      this.onAck({ block, generation, sequence }, replica.up);
    } else if (onward !== undefined) replica.down.sendFrame(onward);
  }

  #break(block: number, replica: FakeReplica, err: Error, datanode: number): void {
    const { generation, up } = replica;
    const error = { code: err instanceof CairnError ? err.code : "EIO", message: err.message };
    up?.push(BlockAcks.ack, { block, generation, sequence: 0, error, failedDatanode: datanode || this.id });
  }
}
