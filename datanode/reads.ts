import type { Clock } from "../common/clock.js";
import { CairnError, codeOf } from "../common/errors.js";
import { CHUNK_SIZE, MAX_BLOCKS_PAGE, MAX_CHUNKS, MAX_READ } from "../common/limits.js";
import { readFully } from "../proto/block-footer.js";
import { WithBody } from "../proto/dispatch.js";
import type {
  OpenLocalReplyInit,
  OpenLocalRequest,
  ReadBlockReplyInit,
  ReadBlockRequest,
  SyncBlocksRequest,
} from "../proto/gen/types.js";
import type { Link } from "../proto/link.js";
import type { ChunkData } from "./block-file.js";
import { ByteBudget } from "./byte-budget.js";
import type { Pipeline } from "./pipeline.js";
import type { PlacedReplica } from "./replica-map.js";
import type { ReplicaStore } from "./store.js";

/** How long a read may wait for memory, ms. */
const MEMORY_DEADLINE_MS = 10_000;
/** What a reply of few bytes costs all the same. */
const LEAST_COST = 4096;
/** What the replies to one connection may take of the memory for all: a reader that is slow must not stop the others. */
const SHARE = 1 / 4;
/** Replicas synced at once by one SyncBlocks: each occupies a thread. */
const PARALLEL_SYNCS = 2;

export interface ReadsOptions {
  store: ReplicaStore;
  pipeline: Pipeline;
  /** Memory for replies under way. */
  memory: ByteBudget;
  /** Told of a finalized replica that cannot be read as it should: to be verified, and reported if it is bad. */
  onDoubt: (replica: PlacedReplica) => void;
  /** Brings a replica to the platter. ENOENT, EBADMSG. */
  sync: (id: number, generation: number) => Promise<void>;
  clock: Clock;
}

/** Answers readers. */
export class Reads {
  readonly #options: ReadsOptions;
  readonly #shares = new WeakMap<Link, ByteBudget>();
  #bytesRead = 0;

  constructor(options: ReadsOptions) {
    this.#options = options;
  }

  /** Stored bytes sent to readers so far. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** Datanode.ReadBlock. @param link to the reader */
  async readBlock(request: ReadBlockRequest, link: Link): Promise<WithBody<ReadBlockReplyInit>> {
    const { offset, length } = request;
    if (length < 1 || length > MAX_READ) throw new CairnError("EINVAL", `cannot read ${length} bytes at once`);
    // The chunks at either end may reach over what was asked for.
    const cost = Math.max(LEAST_COST, length + 2 * CHUNK_SIZE);
    const giveBack = await this.#take(cost, link);
    try {
      const { run, body } = await this.#read(request, offset, offset + length);
      this.#bytesRead += body.length;
      return new WithBody({ offset: run.offset, chunks: run.chunks }, body, giveBack);
    } catch (err) {
      giveBack();
      throw err;
    }
  }

  /** Datanode.OpenLocal. */
  openLocal({ block, generation, bootId }: OpenLocalRequest): OpenLocalReplyInit {
    if (bootId !== this.#options.store.volumes.bootId)
      throw new CairnError("EXDEV", "the reader is on another machine");
    const { store } = this.#options;
    const replica = store.get(block, generation);
    return { path: store.volumeOf(replica).pathOf(replica) };
  }

  /** Datanode.SyncBlocks. */
  async syncBlocks({ blocks }: SyncBlocksRequest): Promise<Record<string, never>> {
    if (blocks.length > MAX_BLOCKS_PAGE) throw new CairnError("EINVAL", `${blocks.length} blocks in one SyncBlocks`);
    let next = 0;
    const worker = async () => {
      while (next < blocks.length) {
        const { id, generation } = blocks[next++]!;
        await this.#options.sync(id, generation);
      }
    };
    await Promise.all(Array.from({ length: PARALLEL_SYNCS }, worker));
    return {};
  }

  /** Takes memory for a reply; returns what gives it back. EBUSY. */
  async #take(bytes: number, link: Link): Promise<() => void> {
    const { memory, clock } = this.#options;
    let share = this.#shares.get(link);
    if (share === undefined) {
      share = new ByteBudget("one reader", Math.floor(memory.limit * SHARE), clock);
      this.#shares.set(link, share);
    }
    const own = await share.take(bytes, bytes, MEMORY_DEADLINE_MS);
    try {
      const taken = await memory.take(bytes, bytes, MEMORY_DEADLINE_MS);
      return () => {
        memory.give(taken);
        share.give(own);
      };
    } catch (err) {
      share.give(own);
      throw err;
    }
  }

  async #read({ block, generation }: ReadBlockRequest, from: number, to: number): Promise<ChunkData> {
    const { store, pipeline, onDoubt } = this.#options;
    const unfinished = pipeline.readable(block, generation);
    if (unfinished !== undefined && store.map.get(block)?.generation !== generation) {
      const { replica, length } = unfinished;
      demandInside(block, from, length);
      const run = replica.table.run(from, Math.min(to, length), MAX_CHUNKS);
      const body = Buffer.allocUnsafe(run.storedTo - run.storedFrom);
      await readFully(replica, body, run.storedFrom);
      return { run, body };
    }
    const replica = store.get(block, generation);
    demandInside(block, from, replica.length);
    try {
      return await store.use(replica, (file) => file.read(from, to));
    } catch (err) {
      if (codeOf(err) === "ENOENT" && store.map.get(block)?.generation !== generation) throw err; // deleted meanwhile
      onDoubt(replica);
      throw new CairnError("EIO", `cannot read block ${block}`, err);
    }
  }
}

function demandInside(block: number, from: number, length: number): void {
  if (from >= length) throw new CairnError("EINVAL", `offset ${from} is beyond the ${length} bytes of block ${block}`);
}
