import { type Clock, RealClock } from "../../common/clock.js";
import { CairnError, invariant } from "../../common/errors.js";
import { GroupSync } from "./group-sync.js";
import { type Journal, type JournalEntry, SYNC_INTERVAL_MS } from "./journal.js";

export interface MemoryJournalOptions {
  clock?: Clock;
  /** Override of SYNC_INTERVAL_MS, ms. */
  syncIntervalMs?: number;
  /** Index before the first record. */
  after?: number;
}

/** The journal's in-memory twin, for tests and the simulator. A record is written at once, and synced when a real one would be. */
export class MemoryJournal implements Journal {
  readonly hasRoom = true;
  readonly #sync: GroupSync;
  readonly #records: Uint8Array[] = [];
  /** Index of the first of #records. */
  #first: number;

  constructor({ clock = new RealClock(), syncIntervalMs = SYNC_INTERVAL_MS, after = 0 }: MemoryJournalOptions = {}) {
    this.#first = after + 1;
    this.#sync = new GroupSync({
      clock,
      intervalMs: syncIntervalMs,
      syncedIndex: after,
      sync: () => Promise.resolve(),
      onFailure: (err) => {
        throw err;
      },
    });
  }

  get lastIndex(): number {
    return this.#first + this.#records.length - 1;
  }

  get syncedIndex(): number {
    return this.#sync.syncedIndex;
  }

  waitForRoom(): Promise<void> {
    return Promise.resolve();
  }

  append(index: number, record: Uint8Array): void {
    invariant(index === this.lastIndex + 1, () => `record ${index} follows record ${index - 1}, not ${this.lastIndex}`);
    this.#records.push(Uint8Array.from(record));
    this.#sync.written(index);
  }

  appended(index: number): Promise<void> {
    invariant(index <= this.lastIndex, () => `record ${index} has not been appended`);
    return Promise.resolve();
  }

  synced(index: number): Promise<void> {
    return this.#sync.synced(index);
  }

  onSynced(listener: (index: number) => void): void {
    this.#sync.onSynced(listener);
  }

  *read(fromIndex: number): IterableIterator<JournalEntry> {
    for (let index = fromIndex, last = this.lastIndex; index <= last; index++) {
      const record = this.#records[index - this.#first];
      if (record === undefined) throw new CairnError("EIO", `read record ${index} of the journal: it is not there`);
      yield { index, record };
    }
  }

  async trim(belowIndex: number): Promise<void> {
    const count = Math.min(belowIndex, this.lastIndex + 1) - this.#first;
    if (count <= 0) return;
    this.#records.splice(0, count);
    this.#first += count;
  }

  async close(): Promise<void> {
    await this.synced(this.lastIndex);
    this.#sync.stop(new CairnError("ECANCELED", "the journal is closed"));
  }
}
