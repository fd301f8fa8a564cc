import { CairnError, wrap } from "../common/errors.js";
import { blame } from "../proto/blame.js";
import type { LinkPool } from "../proto/connect.js";
import type { Dispatcher } from "../proto/dispatch.js";
import { BlockAcks, Datanode } from "../proto/gen/services.js";
import type { DatanodeAddress, OpenWriteRequest, PacketAck } from "../proto/gen/types.js";
import type { Link } from "../proto/link.js";
import { LinkWatch } from "./link-watch.js";

/** How long an AbortWrite may take, ms: nobody waits for it. */
const ABORT_DEADLINE_MS = 5_000;

/** What the user of a stream to the next datanode wants to know. */
export interface DownstreamEvents {
  ack(ack: PacketAck): void;
  /** The link is gone. */
  lost(reason: CairnError): void;
}

/** Opens streams to other datanodes and hands their acks to whoever opened them. */
export class Downstreams {
  readonly #pool: LinkPool;
  readonly #watch = new LinkWatch();
  readonly #open = new Map<string, Downstream>();

  constructor(pool: LinkPool) {
    this.#pool = pool;
  }

  /** Has a dispatcher (that of the pool's links) hand acks to the streams opened here. */
  takeAcks(dispatcher: Dispatcher): void {
    dispatcher.take(BlockAcks, {
      ack: (ack, { link }) => {
        const stream = this.#open.get(keyOf(ack.block, ack.generation));
        if (stream !== undefined && stream.link === link) stream.onAck(ack);
      },
    });
  }

  /**
   * Opens a stream to request.rest[0] and through it to the others. The error blames the datanode that failed.
   * @param request as it came to this datanode
   * @param body of its first packet, if it brings one
   * @param deadlineMs how long opening may take
   */
  async open(
    request: OpenWriteRequest,
    body: Buffer,
    deadlineMs: number,
    events: DownstreamEvents,
  ): Promise<Downstream> {
    const [address, ...rest] = request.rest as [DatanodeAddress, ...DatanodeAddress[]];
    const { id, generation } = request.block;
    const key = keyOf(id, generation);
    if (this.#open.has(key)) throw new CairnError("EBUSY", `a stream of block ${id} is open already`);
    let stream: Downstream | undefined;
    try {
      const link = await this.#pool.get(address.host, address.port);
      stream = new Downstream(link, address, request.block, events, () => {
        unwatch();
        if (this.#open.get(key) === stream) this.#open.delete(key);
      });
      const unwatch = this.#watch.watch(link, (reason) => events.lost(reason));
      this.#open.set(key, stream);
      const opening = { ...request, rest, datanode: address.id };
      const { window } = await link.call(Datanode.openWrite, opening, { deadlineMs, body });
      stream.window = window;
      return stream;
    } catch (err) {
      stream?.close();
      throw blame(address, err);
    }
  }
}

/** An open write stream to the next datanode. */
export class Downstream {
  readonly link: Link;
  readonly address: DatanodeAddress;
  /** Bytes that may be unacknowledged. */
  window = 0;
  readonly #block: { id: number; generation: number };
  readonly #events: DownstreamEvents;
  readonly #release: () => void;

  constructor(
    link: Link,
    address: DatanodeAddress,
    block: { id: number; generation: number },
    events: DownstreamEvents,
    release: () => void,
  ) {
    this.link = link;
    this.address = address;
    this.#block = { id: block.id, generation: block.generation };
    this.#events = events;
    this.#release = release;
  }

  /** An ack came. */
  onAck(ack: PacketAck): void {
    this.#events.ack(ack);
  }

  /** The error of an ack, saying whose it is. */
  errorOf(ack: PacketAck): { error: CairnError; datanode: number } {
    const { code, message } = ack.error!;
    const datanode = ack.failedDatanode || this.address.id;
    return { error: new CairnError(code, message), datanode };
  }

  /** Nothing more is heard of this stream. The other side keeps what it has, for a resume. */
  close(): void {
    this.#release();
  }

  /** Closes the stream, and has the other side throw its replica away if it can be told. */
  async abort(): Promise<void> {
    this.close();
    try {
      const block = { ...this.#block, length: 0 };
      await this.link.call(Datanode.abortWrite, { block }, { deadlineMs: ABORT_DEADLINE_MS });
    } catch (err) {
      throw wrap(err, `cannot have datanode ${this.address.id} drop block ${this.#block.id}`);
    }
  }
}

function keyOf(block: number, generation: number): string {
  return `${block}:${generation}`;
}
