import { messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import type { BlockFile } from "./block-file.js";
import type { PlacedReplica } from "./replica-map.js";

/** Block files kept open for further reads, at most. */
const MAX_OPEN = 256;
/** Chunks that the tables of open files may have together: 12 bytes each in memory. */
const MAX_OPEN_CHUNKS = 512 * 1024;

interface Entry {
  readonly generation: number;
  readonly opening: Promise<BlockFile>;
  chunks: number;
  users: number;
  evicted: boolean;
}

/** Block files kept open while they are read, so that a read costs one trip to the disk and not three. */
export class OpenFiles {
  readonly #open: (replica: PlacedReplica) => Promise<BlockFile>;
  readonly #entries = new Map<number, Entry>();
  readonly #log: Logger;
  #chunks = 0;

  constructor(open: (replica: PlacedReplica) => Promise<BlockFile>, log: Logger) {
    this.#open = open;
    this.#log = log;
  }

  /** Runs something on a replica's open file, which stays open until then. */
  async use<T>(replica: PlacedReplica, run: (file: BlockFile) => Promise<T>): Promise<T> {
    const entry = this.#enter(replica);
    entry.users++;
    try {
      const file = await entry.opening;
      if (entry.chunks === 0 && !entry.evicted) {
        entry.chunks = file.table.count;
        this.#chunks += entry.chunks;
        this.#shrink();
      }
      return await run(file);
    } finally {
      entry.users--;
      if (entry.evicted && entry.users === 0) await this.#close(entry);
    }
  }

  /** Forgets the file of a block: it goes, or was replaced. Closed when its last user is done. */
  evict(id: number): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    this.#chunks -= entry.chunks;
    entry.evicted = true;
    if (entry.users === 0) void this.#close(entry);
  }

  /** Closes every file that is not in use. */
  close(): void {
    for (const id of [...this.#entries.keys()]) this.evict(id);
  }

  #enter(replica: PlacedReplica): Entry {
    const { id, generation } = replica;
    const known = this.#entries.get(id);
    if (known !== undefined && known.generation === generation) {
      // The map's order is that of use: the oldest is first.
      this.#entries.delete(id);
      this.#entries.set(id, known);
      return known;
    }
    this.evict(id);
    const entry: Entry = { generation, opening: this.#open(replica), chunks: 0, users: 0, evicted: false };
    this.#entries.set(id, entry);
    entry.opening.catch(() => {
      if (this.#entries.get(id) === entry) this.evict(id);
    });
    return entry;
  }

  #shrink(): void {
    for (const [id, { users }] of this.#entries) {
      if (this.#entries.size <= MAX_OPEN && this.#chunks <= MAX_OPEN_CHUNKS) return;
      if (users === 0) this.evict(id);
    }
  }

  async #close(entry: Entry): Promise<void> {
    const file = await entry.opening.catch(() => undefined); // whoever wanted to use it has the error
    try {
      await file?.close();
    } catch (err) {
      this.#log.warn({ path: file?.path, err: messageOf(err) }, "a block file could not be closed");
    }
  }
}
