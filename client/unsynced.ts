import { CairnError, codeOf, messageOf } from "../common/errors.js";
import { evictOldest } from "../common/evict.js";
import { MAX_EXTENTS_PAGE, MAX_FILE_SIZE } from "../common/limits.js";
import { Datanode, Namenode } from "../proto/gen/services.js";
import type { Block, DatanodeAddress, GetExtentsReply, Inode } from "../proto/gen/types.js";
import { isInline } from "../proto/inline.js";
import type { FinishedBlock } from "./block-writer.js";
import type { ClientIo } from "./io.js";
import { Patience } from "./patience.js";

/** Blocks remembered at most; beyond that the oldest file's are brought to the platter unasked. */
const MAX_UNSYNCED = 16_384;
/** Blocks in one SyncBlocks call. */
const SYNC_BATCH = 256;
/** How long a datanode may take for one such call, ms. */
const SYNC_TIMEOUT_MS = 60_000;
/** How long the only datanodes that have a block may be away, ms. */
const AWAY_PATIENCE_MS = 30_000;
/** Errors that say of one block only that a datanode does not have it (any more): no replica, or one that a loss of power tore. */
const NOT_THERE = new Set(["ENOENT", "EBADMSG"]);
/** Errors that say of a datanode only that it cannot be reached at the moment. */
const AWAY = new Set(["ENOTCONN", "ETIMEDOUT", "ECONNREFUSED", "ECONNRESET", "EPIPE", "EHOSTUNREACH"]);

/**
 * Which blocks of a file may not be on the platter: those that this client has finalized without a sync, and all of a file that others
 * have written to. What an fsync, also of a later open, has to bring there first.
 */
export class UnsyncedBlocks {
  readonly #io: ClientIo;
  readonly #files = new Map<number, Map<number, FinishedBlock>>();
  /**
   * Files of which every other block is on the platter, each as of a version of its inode: this client made them, or has synced them
   * whole. Of any other file blocks may be unsynced that another client wrote, or this one before it was started again.
   */
  readonly #covered = new Map<number, number>();
  /** What went wrong where nobody had asked: the next sync of the file throws it. */
  readonly #failures = new Map<number, unknown>();
  #count = 0;

  constructor(io: ClientIo) {
    this.#io = io;
  }

  /** A file has got a block that may not be on the platter yet. */
  add(ino: number, finished: FinishedBlock): void {
    let blocks = this.#files.get(ino);
    if (blocks === undefined) {
      blocks = new Map();
      this.#files.set(ino, blocks);
    }
    blocks.set(finished.block.id, finished);
    if (++this.#count <= MAX_UNSYNCED) return;
    this.#syncUnasked(this.#files.keys().next().value!);
  }

  /** A file is opened, and is this now. */
  opened({ ino, version, size }: Inode): void {
    if (size === 0) this.#cover(ino, version);
    else if (this.#covered.get(ino) !== version) this.#covered.delete(ino);
  }

  /** This client has committed what it wrote: the file is this now. */
  committed({ ino, version }: Inode): void {
    if (this.#covered.has(ino)) this.#cover(ino, version);
  }

  /** A file has got blocks, by others or from another file, of which nobody here knows whether they are on the platter. */
  uncover(ino: number): void {
    this.#covered.delete(ino);
  }

  /** Resolves when every block of a file is on the platter of at least one datanode. EIO names one that is not. */
  async sync(ino: number): Promise<void> {
    const failure = this.#failures.get(ino);
    this.#failures.delete(ino);
    await this.#sync(ino);
    if (failure !== undefined) throw failure;
  }

  /** Brings a file to the platter to be rid of it. Whoever asks for that later hears what went wrong. */
  #syncUnasked(ino: number): void {
    this.#sync(ino).catch((err) => {
      this.#io.log.warn({ ino, err: messageOf(err) }, "blocks may not be on the platter");
      this.#failures.set(ino, err);
      evictOldest(this.#failures, MAX_UNSYNCED);
    });
  }

  async #sync(ino: number): Promise<void> {
    const blocks = this.#files.get(ino) ?? new Map<number, FinishedBlock>();
    this.#files.delete(ino);
    this.#count -= blocks.size;
    let version: number | undefined;
    if (!this.#covered.has(ino)) {
      await this.#eachPage(ino, (page) => {
        version ??= page.inode.version;
        for (const { block, replicas } of page.blocks)
          if (!isInline(block.id)) blocks.set(block.id, { block, replicas });
      });
    }
    const synced = new Set<number>();
    const patience = new Patience(this.#io.clock, AWAY_PATIENCE_MS);
    for (let left: ReadonlyMap<number, FinishedBlock> = blocks; ; ) {
      const failures = await this.#syncAll(left, synced);
      const missing = new Set([...left.keys()].filter((id) => !synced.has(id)));
      if (missing.size === 0) break;
      // What has been overwritten meanwhile may be gone, and need not be on any platter. The rest may be elsewhere by now.
      left = await this.#used(ino, missing);
      const [id] = left.keys();
      if (id === undefined) return;
      const isAway = failures.length === 0 || failures.some((err) => AWAY.has(codeOf(err)));
      if (!isAway || !(await patience.again())) {
        throw new CairnError("EIO", `block ${id} of inode ${ino} is on no platter`, failures[0]);
      }
    }
    if (version !== undefined) this.#cover(ino, version);
  }

  /** Tries to sync blocks on all datanodes that have them; notes those that are on one platter at least. Returns what went wrong. */
  async #syncAll(blocks: ReadonlyMap<number, FinishedBlock>, synced: Set<number>): Promise<unknown[]> {
    const failures: unknown[] = [];
    const ofDatanode = new Map<number, { replica: DatanodeAddress; blocks: Block[] }>();
    for (const { block, replicas } of blocks.values()) {
      for (const replica of replicas) {
        const entry = ofDatanode.get(replica.id);
        if (entry === undefined) ofDatanode.set(replica.id, { replica, blocks: [block] });
        else entry.blocks.push(block);
      }
    }
    await Promise.all(
      [...ofDatanode.values()].map(async ({ replica, blocks }) => {
        try {
          await this.#syncOn(replica, blocks, synced);
        } catch (err) {
          failures.push(err);
          this.#io.log.info({ datanode: replica.id, err: messageOf(err) }, "a datanode could not sync some blocks");
        }
      }),
    );
    return failures;
  }

  #cover(ino: number, version: number): void {
    this.#covered.delete(ino);
    this.#covered.set(ino, version);
    // One that is forgotten is only synced whole once more.
    evictOldest(this.#covered, MAX_UNSYNCED);
  }

  async #syncOn({ host, port }: DatanodeAddress, blocks: readonly Block[], synced: Set<number>): Promise<void> {
    const link = await this.#io.pool.get(host, port);
    const sync = async (batch: readonly Block[]) => {
      await link.call(Datanode.syncBlocks, { blocks: batch }, { deadlineMs: SYNC_TIMEOUT_MS });
      for (const { id } of batch) synced.add(id);
    };
    for (let at = 0; at < blocks.length; at += SYNC_BATCH) {
      const batch = blocks.slice(at, at + SYNC_BATCH);
      try {
        await sync(batch);
      } catch (err) {
        if (!NOT_THERE.has(codeOf(err)) || batch.length === 1) throw err;
        for (const block of batch) await sync([block]).catch(ignoreMissing);
      }
    }
  }

  /** Those of some blocks that the file still has, where they are now. */
  async #used(ino: number, blocks: ReadonlySet<number>): Promise<Map<number, FinishedBlock>> {
    const used = new Map<number, FinishedBlock>();
    await this.#eachPage(ino, (page) => {
      for (const { block, replicas } of page.blocks) if (blocks.has(block.id)) used.set(block.id, { block, replicas });
    });
    return used;
  }

  /** Goes through all extents of a file; of one that is gone there are none. */
  async #eachPage(ino: number, visit: (page: GetExtentsReply) => void): Promise<void> {
    try {
      for (let offset = 0; ; ) {
        const request = { ino, offset, length: MAX_FILE_SIZE - offset, limit: MAX_EXTENTS_PAGE };
        const page = await this.#io.session.call(Namenode.getExtents, request);
        visit(page);
        if (page.covered <= offset || page.covered >= page.inode.size) return;
        offset = page.covered;
      }
    } catch (err) {
      if (codeOf(err) !== "ESTALE") throw err;
    }
  }
}

function ignoreMissing(err: unknown): void {
  if (!NOT_THERE.has(codeOf(err))) throw err;
}
