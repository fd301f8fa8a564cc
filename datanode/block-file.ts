import { CairnError } from "../common/errors.js";
import { MAX_CHUNKS, MAX_READ } from "../common/limits.js";
import { readFooter, readFully } from "../proto/block-footer.js";
import type { ChunkRun, ChunkTable } from "../proto/chunk-table.js";
import { checkChunks } from "../proto/chunks.js";
import type { ReplicaIdentity } from "../proto/digest.js";
import type { DiskFile } from "./disk.js";
import type { Volume } from "./volume.js";

/** Chunks of a block, with their stored bytes. */
export interface ChunkData {
  readonly run: ChunkRun;
  readonly body: Buffer;
}

/** The open file of a finalized replica. */
export class BlockFile {
  readonly replica: ReplicaIdentity;
  readonly path: string;
  readonly table: ChunkTable;
  readonly #volume: Volume;
  readonly #file: DiskFile;

  private constructor(replica: ReplicaIdentity, path: string, table: ChunkTable, volume: Volume, file: DiskFile) {
    this.replica = replica;
    this.path = path;
    this.table = table;
    this.#volume = volume;
    this.#file = file;
  }

  /** Opens a replica and checks that the file is what its name says. EBADMSG: it is damaged or another's. EIO, ENOENT. */
  static async open(volume: Volume, replica: ReplicaIdentity, cluster: string): Promise<BlockFile> {
    const path = volume.pathOf(replica);
    return volume.attempt(`cannot open ${path}`, async () => {
      const file = await volume.disk.open(path, "read");
      try {
        const footer = await readFooter(file, await file.size());
        const { id, generation, length } = footer.block;
        if (id !== replica.id || generation !== replica.generation || length !== replica.length) {
          throw new CairnError("EBADMSG", `it is the file of block ${id} (generation ${generation}, ${length} bytes)`);
        }
        if (footer.cluster !== cluster) throw new CairnError("EBADMSG", `it is of the cluster ${footer.cluster}`);
        return new BlockFile(replica, path, footer.table, volume, file);
      } catch (err) {
        await file.close();
        throw err;
      }
    });
  }

  /** The whole stored chunks that cover [from, to), or the first MAX_CHUNKS of them, unverified. */
  async read(from: number, to: number): Promise<ChunkData> {
    const run = this.table.run(from, to, MAX_CHUNKS);
    const body = Buffer.allocUnsafe(run.storedTo - run.storedFrom);
    await this.#volume.attempt(`cannot read ${this.path}`, () => readFully(this.#file, body, run.storedFrom));
    return { run, body };
  }

  /**
   * Reads the block from the start to the end, checking every chunk. EBADMSG names what does not match.
   * @param pace called before every read with the bytes to come; the read waits for it
   */
  async *pieces(pace: (bytes: number) => Promise<void>): AsyncGenerator<ChunkData> {
    for (let at = 0; at < this.table.length; ) {
      await pace(Math.min(MAX_READ, this.table.length - at));
      const piece = await this.read(at, this.#pieceEnd(at));
      checkChunks(piece.run.chunks, piece.body);
      yield piece;
      for (const { length } of piece.run.chunks) at += length;
    }
  }

  /** Where a piece that starts at a chunk's start ends: whole chunks, MAX_READ bytes of them at most. */
  #pieceEnd(at: number): number {
    const last = this.table.find(at + MAX_READ);
    return Math.max(at + 1, this.table.startOf(last));
  }

  /** Brings the data to the platter. */
  sync(): Promise<void> {
    return this.#volume.attempt(`cannot sync ${this.path}`, () => this.#file.sync());
  }

  /** Closes the file. Nothing may be under way on it. */
  close(): Promise<void> {
    return this.#file.close();
  }
}
