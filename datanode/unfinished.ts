import { encodeFooter } from "../proto/block-footer.js";
import { ChunkTable } from "../proto/chunk-table.js";
import type { ReplicaIdentity } from "../proto/digest.js";
import type { Chunk } from "../proto/gen/types.js";
import { AppendFile } from "./append-file.js";
import type { DiskFile } from "./disk.js";
import type { Reservation } from "./space.js";
import type { Volume } from "./volume.js";

export interface UnfinishedOptions {
  id: number;
  volume: Volume;
  path: string;
  file: DiskFile;
  reservation: Reservation;
  /** What is in the file already. */
  table?: ChunkTable;
}

/** A replica that is being written: its chunks so far, in a file among the volume's unfinished ones. */
export class UnfinishedReplica {
  readonly id: number;
  readonly volume: Volume;
  readonly path: string;
  /** The chunks that were appended; the last ones may still be on their way to the file. */
  readonly table: ChunkTable;
  readonly #file: DiskFile;
  readonly #end: AppendFile;
  readonly #reservation: Reservation;
  #disposed = false;

  constructor(options: UnfinishedOptions) {
    this.id = options.id;
    this.volume = options.volume;
    this.path = options.path;
    this.table = options.table ?? new ChunkTable();
    this.#file = options.file;
    this.#end = new AppendFile(options.path, options.file, this.table.storedLength);
    this.#reservation = options.reservation;
  }

  /** Appends checked chunks. Resolves when the kernel has them. EPROTO: the block would be too long. ENOSPC, EIO. */
  append(chunks: readonly Chunk[], body: Buffer): Promise<void> {
    this.table.append(chunks);
    return this.#write(body);
  }

  /** Brings everything appended so far to the platter. */
  sync(): Promise<void> {
    return this.volume.attempt(`block ${this.id}`, () => this.#end.sync());
  }

  /** Resolves when no write is under way. */
  settled(): Promise<void> {
    return this.#end.settled();
  }

  /** Cuts the replica to its first `length` bytes (uncompressed). EINVAL unless a chunk ends there. */
  async truncate(length: number): Promise<void> {
    await this.#end.settled();
    this.table.truncate(length);
    await this.volume.attempt(`block ${this.id}`, () => this.#end.truncate(this.table.storedLength));
  }

  /** Reads stored bytes that have been written, to serve readers before the block is finalized. */
  read(target: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }> {
    return this.volume.attempt(`cannot read ${this.path}`, () => this.#file.read(target, offset, length, position));
  }

  /**
   * Ends the replica: writes the footer and moves the file to its final place, durably if asked to.
   * @returns the open file, which is the caller's to sync or close
   */
  async finalize(replica: ReplicaIdentity, cluster: string, sync: boolean): Promise<DiskFile> {
    await this.volume.mark.writing();
    // With the last data in one write, when they were appended in the same turn.
    await this.#write(encodeFooter({ block: replica, cluster, table: this.table }));
    if (sync) await this.sync();
    await this.volume.place(this.path, replica);
    if (sync) await this.volume.syncName(this.id);
    this.#disposed = true;
    this.#reservation.release();
    return this.#file;
  }

  /** Removes the replica. Not after finalize. */
  async discard(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#reservation.release();
    await this.#end.settled();
    await this.#file.close();
    await this.volume.remove(this.path);
  }

  async #write(data: Buffer): Promise<void> {
    this.#reservation.use(data.length);
    await this.volume.attempt(`block ${this.id}`, () => this.#end.append(data));
  }
}
