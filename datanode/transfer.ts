import type { Clock, Timer } from "../common/clock.js";
import { CairnError } from "../common/errors.js";
import { lengthOf } from "../proto/chunks.js";
import { BlockStream } from "../proto/gen/services.js";
import type { DatanodeAddress, PacketAck } from "../proto/gen/types.js";
import { NO_BODY } from "../proto/link.js";
import type { BlockFile, ChunkData } from "./block-file.js";
import type { Downstream, Downstreams } from "./downstream.js";

/** How long opening the stream may take, and how long the targets may take for an ack, ms. */
const OPEN_DEADLINE_MS = 15_000;
const ACK_DEADLINE_MS = 30_000;

export interface TransferOptions {
  file: BlockFile;
  targets: readonly DatanodeAddress[];
  cluster: string;
  downstreams: Downstreams;
  /** Waits until so many bytes may go. */
  pace: (bytes: number) => Promise<void>;
  clock: Clock;
}

/**
 * Streams a finalized replica to other datanodes, verifying it while it is read. EBADMSG: the replica is corrupt. EEXIST:
 * the first target has it.
 */
export async function transfer(options: TransferOptions): Promise<void> {
  const { file, targets, cluster, downstreams, pace, clock } = options;
  const { id, generation, length } = file.replica;
  const flow = new Flow(clock);
  const stream = await downstreams.open(
    {
      block: { id, generation, length: 0 },
      resumeGeneration: 0,
      rest: [...targets],
      datanode: targets[0]!.id,
      reserve: length,
      transfer: true,
      cluster,
      first: null,
    },
    NO_BODY,
    OPEN_DEADLINE_MS,
    flow,
  );
  flow.window = stream.window;
  try {
    for await (const piece of file.pieces(pace)) await flow.send(stream, file, piece);
    if (length === 0) await flow.send(stream, file, { run: file.table.run(0, 1, 1), body: Buffer.alloc(0) });
    await flow.finished();
    stream.close();
  } catch (err) {
    await stream.abort().catch(() => undefined); // the first error says more
    throw err;
  }
}

/** What is unacknowledged of one transfer. */
class Flow {
  window = 0;
  readonly #clock: Clock;
  readonly #unacked: number[] = [];
  #bytes = 0;
  #sequence = 0;
  #failure: CairnError | undefined;
  #wake: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ack(ack: PacketAck): void {
    // Whatever the targets' error is: only the source's own may say EBADMSG.
    if (ack.error !== null) this.#failure ??= new CairnError("ECONNABORTED", ack.error.message);
    const oldest = this.#sequence - this.#unacked.length;
    for (const bytes of this.#unacked.splice(0, ack.error === null ? ack.sequence - oldest + 1 : 0))
      this.#bytes -= bytes;
    this.#wake?.();
  }

  lost(reason: CairnError): void {
    this.#failure ??= reason;
    this.#wake?.();
  }

  /** Sends the next piece once the window has room for it. */
  async send(stream: Downstream, { replica }: BlockFile, { run, body }: ChunkData): Promise<void> {
    await this.#until(() => this.#unacked.length === 0 || this.#bytes + body.length <= this.window);
    const last = run.offset + lengthOf(run.chunks) === replica.length;
    const header = {
      block: replica.id,
      generation: replica.generation,
      sequence: this.#sequence++,
      offset: run.offset,
      chunks: run.chunks,
      last,
      // On its disk before it counts: another one, which is on its disk, may be deleted for the sake of it.
      sync: last,
    };
    this.#unacked.push(body.length);
    this.#bytes += body.length;
    stream.link.push(BlockStream.packet, header, body);
  }

  /** Resolves when everything sent is acknowledged. */
  finished(): Promise<void> {
    return this.#until(() => this.#unacked.length === 0);
  }

  async #until(condition: () => boolean): Promise<void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (condition()) return;
      await this.#change();
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      const timer: Timer = this.#clock.after(ACK_DEADLINE_MS, () => {
        this.lost(new CairnError("ETIMEDOUT", `no acknowledgement within ${ACK_DEADLINE_MS} ms`));
      });
      this.#wake = () => {
        timer.clear();
        this.#wake = undefined;
        resolve();
      };
    });
  }
}
