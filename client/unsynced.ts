import { CairnError, codeOf, messageOf } from "../common/errors.js";
import { MAX_EXTENTS_PAGE, MAX_FILE_SIZE } from "../common/limits.js";
import { Datanode, Namenode } from "../proto/gen/services.js";
import type { Block, DatanodeAddress } from "../proto/gen/types.js";
import type { FinishedBlock } from "./block-writer.js";
import type { ClientIo } from "./io.js";

/** Blocks remembered at most; beyond that the oldest file's are brought to the platter unasked. */
const MAX_UNSYNCED = 16_384;
/** Blocks in one SyncBlocks call. */
const SYNC_BATCH = 256;
/** How long a datanode may take for one such call, ms. */
const SYNC_TIMEOUT_MS = 60_000;

/**
 * Which blocks this client has finalized without a sync, for each file: what an fsync, also of a later open, has to bring
 * to the platter first.
 */
export class UnsyncedBlocks {
  readonly #io: ClientIo;
  readonly #files = new Map<number, Map<number, FinishedBlock>>();
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
    const oldest = this.#files.keys().next().value!;
    this.sync(oldest).catch((err) => {
      this.#io.log.warn({ ino: oldest, err: messageOf(err) }, "blocks may not be on the platter");
    });
  }

  /** Resolves when every block of a file is on the platter of at least one datanode. EIO names one that is not. */
  async sync(ino: number): Promise<void> {
    const blocks = this.#files.get(ino);
    if (blocks === undefined) return;
    this.#files.delete(ino);
    this.#count -= blocks.size;
    const synced = new Set<number>();
    let failure: unknown;
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
          failure = err;
          this.#io.log.info({ datanode: replica.id, err: messageOf(err) }, "a datanode could not sync some blocks");
        }
      }),
    );
    const missing = new Set([...blocks.keys()].filter((id) => !synced.has(id)));
    if (missing.size === 0) return;
    // What has been overwritten meanwhile may be gone, and need not be on any platter.
    const id = await this.#firstUsed(ino, missing);
    if (id !== undefined) throw new CairnError("EIO", `block ${id} of inode ${ino} is on no platter`, failure);
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
        if (codeOf(err) !== "ENOENT" || batch.length === 1) throw err;
        for (const block of batch) await sync([block]).catch(ignoreMissing);
      }
    }
  }

  /** One of some blocks that the file still has; undefined when it has none of them, or is gone itself. */
  async #firstUsed(ino: number, blocks: ReadonlySet<number>): Promise<number | undefined> {
    try {
      for (let offset = 0; ; ) {
        const request = { ino, offset, length: MAX_FILE_SIZE - offset, limit: MAX_EXTENTS_PAGE };
        const { inode, extents, covered } = await this.#io.session.call(Namenode.getExtents, request);
        const used = extents.find(({ block }) => blocks.has(block));
        if (used !== undefined) return used.block;
        if (covered <= offset || covered >= inode.size) return undefined;
        offset = covered;
      }
    } catch (err) {
      if (codeOf(err) === "ESTALE") return undefined;
      throw err;
    }
  }
}

function ignoreMissing(err: unknown): void {
  if (codeOf(err) !== "ENOENT") throw err;
}
