import type { Timer } from "../common/clock.js";
import { CairnError, codeOf, messageOf } from "../common/errors.js";
import { evictOldest } from "../common/evict.js";
import { MAX_EXTENTS_PAGE, MAX_FILE_SIZE, MIB } from "../common/limits.js";
import { Namenode } from "../proto/gen/services.js";
import type { Extent, Inode, LocatedBlock } from "../proto/gen/types.js";
import { all } from "./all.js";
import { BlockWriter } from "./block-writer.js";
import type { BlockSource, CachedBlocks } from "./cached-blocks.js";
import { MIN_SAVED, part, planCompaction, type Stretch } from "./compaction-plan.js";
import type { ClientIo } from "./io.js";
import { pause } from "./patience.js";

/** Files whose pieces are counted, at most; beyond that the one that was written to longest ago is forgotten. */
const MAX_FILES = 4096;
/** A file is looked at when nobody has committed to it for this long, ms… */
const QUIET_MS = 5_000;
/** …or when it has got so many pieces. */
const MANY_PIECES = 16 * MIN_SAVED;
/** Bytes written again per second, at most, by all of a client's compaction. */
const RATE = 16 * MIB;
/** Bytes, and pieces, read at once. */
const BATCH_BYTES = MIB;
const BATCH_PIECES = 32;
/** How long it is waited for memory that writers leave, ms, each time. */
const MEMORY_PAUSE_MS = 100;
/** What says that a file has changed, or is gone, meanwhile: somebody else's turn. */
const OVERTAKEN = new Set(["EBUSY", "ESTALE", "ECANCELED"]);

/** A file that this client has written to since it was last looked at. */
interface Fragments {
  inode: Inode;
  pieces: number;
  /** When it was last committed to. */
  at: number;
}

/**
 * Writes files that are in many small pieces again, as few large blocks, in the background: one stretch of one file at a time,
 * slowly, and with memory that writers do not want. The commit is done only if the stretch is still what was read, so that nothing
 * is lost that anybody writes meanwhile, and nobody has to wait. The client that writes a file does it, as it knows when.
 */
export class Compactor {
  readonly #io: ClientIo;
  readonly #blocks: CachedBlocks;
  readonly #compacted: (inode: Inode) => void;
  /** The one that was committed to longest ago first. */
  readonly #files = new Map<number, Fragments>();
  #timer: Timer | undefined;
  #working = false;
  #writer: BlockWriter | undefined;
  #closed = false;

  /** @param compacted told of a file that is kept elsewhere now, with the same bytes */
  constructor(io: ClientIo, blocks: CachedBlocks, compacted: (inode: Inode) => void) {
    this.#io = io;
    this.#blocks = blocks;
    this.#compacted = compacted;
  }

  /** A file has got so many more pieces by a commit of this client. */
  committed(inode: Inode, pieces: number): void {
    const { ino } = inode;
    const before = this.#files.get(ino)?.pieces ?? 0;
    this.#files.delete(ino);
    this.#files.set(ino, { inode, pieces: before + pieces, at: this.#io.clock.monotonic() });
    evictOldest(this.#files, MAX_FILES);
    if (before + pieces >= MIN_SAVED) this.#schedule();
  }

  /** Ends what is under way. */
  close(): void {
    this.#closed = true;
    this.#timer?.clear();
    this.#writer?.discard();
  }

  #schedule(): void {
    if (this.#closed || this.#working || this.#timer !== undefined) return;
    this.#timer = this.#io.clock.after(QUIET_MS, () => {
      this.#timer = undefined;
      void this.#work();
    });
  }

  async #work(): Promise<void> {
    this.#working = true;
    for (let file = this.#next(); file !== undefined && !this.#closed; file = this.#next()) {
      const { ino } = file;
      this.#files.delete(ino);
      try {
        await this.#compact(file);
      } catch (err) {
        const level = OVERTAKEN.has(codeOf(err)) ? "debug" : "info";
        this.#io.log[level]({ ino, err: messageOf(err) }, "a file was not compacted");
      }
    }
    this.#working = false;
    if ([...this.#files.values()].some(({ pieces }) => pieces >= MIN_SAVED)) this.#schedule();
  }

  /** A file that is due. */
  #next(): Inode | undefined {
    const quietSince = this.#io.clock.monotonic() - QUIET_MS;
    for (const { inode, pieces, at } of this.#files.values()) {
      if (pieces >= MIN_SAVED && (at <= quietSince || pieces >= MANY_PIECES)) return inode;
    }
    return undefined;
  }

  /** Goes through a file page by page, so that memory does not grow with its pieces. */
  async #compact({ ino }: Inode): Promise<void> {
    for (let offset = 0; offset < MAX_FILE_SIZE && !this.#closed; ) {
      const request = { ino, offset, length: MAX_FILE_SIZE - offset, limit: MAX_EXTENTS_PAGE };
      const page = await this.#io.session.call(Namenode.getExtents, { ...request, host: this.#io.hostName });
      const blocks = new Map(page.blocks.map((located) => [located.block.id, located]));
      const life = (id: number) => ({ length: blocks.get(id)!.block.length, live: blocks.get(id)!.live });
      for (const stretch of planCompaction(page.extents, life, page.inode.policy.blockSize)) {
        await this.#rewrite(page.inode, stretch, blocks);
      }
      if (page.covered <= offset || page.covered >= page.inode.size) return;
      offset = page.covered;
    }
  }

  /** Writes a stretch as one block, brings it to the platters (the old blocks may be there), and puts it in its place. */
  async #rewrite(inode: Inode, stretch: Stretch, blocks: ReadonlyMap<number, LocatedBlock>): Promise<void> {
    const { session, clock } = this.#io;
    const writer = new BlockWriter(this.#io, inode.policy, false);
    this.#writer = writer;
    try {
      for (const batch of batches(stretch)) {
        const started = clock.monotonic();
        const bytes = await this.#copy(writer, batch, blocks);
        const early = (bytes / RATE) * 1000 - (clock.monotonic() - started);
        if (early > 0) await pause(clock, early);
        if (this.#closed) throw new CairnError("ECANCELED", "the client is closed");
      }
      writer.finish(true);
      const { block, replicas } = await writer.finished;
      const { inode: now } = await session.change(Namenode.commit, {
        ino: inode.ino,
        blocks: [{ block, datanodes: replicas.map(({ id }) => id) }],
        extents: Array.from(writer.extents.pieces(), ({ offset, length, at }) => ({
          offset,
          length,
          block: block.id,
          blockOffset: at,
        })),
        replicas: inode.policy.replicas,
        replaces: [...stretch],
      });
      session.pending.delete(block.id);
      this.#compacted(now);
    } catch (err) {
      writer.discard();
      throw err;
    } finally {
      this.#writer = undefined;
    }
  }

  /** Reads some pieces and appends them to a block. Returns the bytes. */
  async #copy(writer: BlockWriter, batch: Stretch, blocks: ReadonlyMap<number, LocatedBlock>): Promise<number> {
    const data = Buffer.allocUnsafe(batch.reduce((sum, { length }) => sum + length, 0));
    const reads: Promise<void>[] = [];
    let at = 0;
    for (const { length, block, blockOffset } of batch) {
      const located = blocks.get(block)!;
      const source: BlockSource = { id: block, length: located.block.length, located: () => located };
      reads.push(this.#blocks.copy(source, blockOffset, blockOffset + length, data, at, false));
      at += length;
    }
    await all(reads);
    at = 0;
    for (const { offset, length } of batch) {
      for (let done = 0; done < length; ) {
        const wanted = writer.packetFor(data.length - at);
        if (wanted > 0) await this.#accept(writer, wanted);
        const bytes = writer.append(offset + done, data, at, at + length - done);
        if (bytes === 0)
          throw new CairnError("EBUSY", "the block is full: its packets left half empty, for want of memory");
        done += bytes;
        at += bytes;
      }
    }
    return data.length;
  }

  /** Hands a packet to the block as soon as there is memory that no writer wants. */
  async #accept(writer: BlockWriter, bytes: number): Promise<void> {
    for (;;) {
      const packet = this.#io.packets.tryMake(bytes);
      if (packet !== undefined) return writer.accept(packet);
      await pause(this.#io.clock, MEMORY_PAUSE_MS);
      if (this.#closed) throw new CairnError("ECANCELED", "the client is closed");
    }
  }
}

/** A stretch in parts that are read at once; a long piece is cut. */
function* batches(stretch: Stretch): IterableIterator<Stretch> {
  let batch: Extent[] = [];
  let bytes = 0;
  for (const piece of stretch) {
    for (let done = 0; done < piece.length; ) {
      const cut = part(piece, done, BATCH_BYTES - bytes);
      batch.push(cut);
      done += cut.length;
      bytes += cut.length;
      if (bytes < BATCH_BYTES && batch.length < BATCH_PIECES) continue;
      yield batch;
      batch = [];
      bytes = 0;
    }
  }
  if (batch.length > 0) yield batch;
}
