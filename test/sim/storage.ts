import { CairnError, invariant } from "../../common/errors.js";
import { GroupSync } from "../../namenode/store/group-sync.js";
import { type Journal, type JournalEntry, SYNC_INTERVAL_MS } from "../../namenode/store/journal.js";
import type { Key } from "../../namenode/store/kv.js";
import { type Base, type BaseSnapshot, LayeredStore } from "../../namenode/store/layered-store.js";
import type { Piece, ScanRange } from "../../namenode/store/merge.js";
import { Overlay } from "../../namenode/store/overlay.js";
import type { Storage, StorageOptions } from "../../namenode/store/storage.js";
import { scanOverlay, snapshotOf } from "../namenode/store/memory-base.js";
import type { Fate } from "./disk.js";
import type { Process } from "./machine.js";
import type { Random } from "./random.js";
import type { Time } from "./time.js";

/** How long the sync of the journal takes, and a transaction of the store, ms: least and most. */
const SYNC_MS = [0.5, 10] as const;
const TRANSACTION_MS = [1, 30] as const;
/** How long a turn of the event loop takes: records appended in it are written at its end, ms. */
const TURN_MS = 0.05;

/** The disk of a namenode: journal and store, which outlive its processes. */
export class NamenodeDisk {
  readonly entries = new Overlay();
  /** Index of the last edit in `entries`. */
  index = 0;
  /** The journal's records in the kernel's hands; the first one has the index `first`. */
  records: Uint8Array[] = [];
  first = 1;
  /** Records up to this index are on the platter. */
  synced = 0;
  /** Called right before anything on it changes, or gets to the platter: the power may go there. */
  beforeChange: () => void = () => {};

  get lastIndex(): number {
    return this.first + this.records.length - 1;
  }

  /** The power goes: records that were not synced meet their fate, those at the end first. Returns the last that is left. */
  losePower(random: Random, fate: Fate = 0.5): number {
    const synced = Math.max(this.synced, this.first - 1);
    const left = fate === "worst" ? synced : random.int(synced, this.lastIndex);
    this.records.length = left - this.first + 1;
    this.synced = left;
    return Math.max(left, this.index);
  }

  /** What a namenode's process opens it with. */
  opener(process: Process, time: Time, random: Random): (options: StorageOptions) => Promise<Storage> {
    return async ({ clock, log, syncIntervalMs }) => {
      await time.sleep(random.next() * 100);
      const journal = new SimJournal(this, process, time, random, clock, syncIntervalMs ?? SYNC_INTERVAL_MS);
      const store = new LayeredStore({ base: new SimBase(this, process, time, random), clock, log });
      store.onDurable((index) => void journal.trim(index + 1));
      return {
        store,
        journal,
        close: async () => {
          await store.close();
          await journal.close();
        },
      };
    };
  }
}

function duration(random: Random, [least, most]: readonly [number, number]): number {
  return least + random.next() * (most - least);
}

/** The lowest layer of the store: takes whole overlays, each at once. */
class SimBase implements Base {
  readonly index: number;
  readonly #disk: NamenodeDisk;
  readonly #process: Process;
  readonly #time: Time;
  readonly #random: Random;

  constructor(disk: NamenodeDisk, process: Process, time: Time, random: Random) {
    this.#disk = disk;
    this.#process = process;
    this.#time = time;
    this.#random = random;
    this.index = disk.index;
  }

  get(key: Key): Uint8Array | undefined {
    return this.#disk.entries.get(key) ?? undefined;
  }

  scan(range: ScanRange): Piece {
    return scanOverlay(this.#disk.entries, range);
  }

  snapshot(): BaseSnapshot {
    return snapshotOf(this.#disk.entries, this.#disk.index);
  }

  write(overlay: Overlay, index: number): Promise<void> {
    const written = [...overlay.entries()];
    return new Promise((resolve) => {
      this.#time.after(duration(this.#random, TRANSACTION_MS), () =>
        this.#process.run(() => {
          this.#disk.beforeChange();
          if (!this.#process.alive) return;
          const { entries } = this.#disk;
          for (const [key, value] of written) value === null ? entries.remove(key) : entries.set(key, value);
          this.#disk.index = index;
          resolve();
        }),
      );
    });
  }

  async close(): Promise<void> {}
}

/** The journal: records are staged, written at the end of a turn, synced in groups. */
class SimJournal implements Journal {
  readonly hasRoom = true;
  readonly #disk: NamenodeDisk;
  readonly #process: Process;
  readonly #time: Time;
  readonly #sync: GroupSync;
  #staged: Uint8Array[] = [];
  #turn: { promise: Promise<void>; resolve: () => void } | undefined;

  constructor(
    disk: NamenodeDisk,
    process: Process,
    time: Time,
    random: Random,
    clock: StorageOptions["clock"],
    intervalMs: number,
  ) {
    this.#disk = disk;
    this.#process = process;
    this.#time = time;
    // As FileJournal.open: what is there is on the platter before anybody builds on it. What the store has needs no record.
    if (disk.lastIndex < disk.index) {
      disk.records = [];
      disk.first = disk.index + 1;
    }
    disk.synced = disk.lastIndex;
    this.#sync = new GroupSync({
      clock,
      intervalMs,
      syncedIndex: disk.lastIndex,
      sync: () => {
        const { lastIndex } = disk;
        return new Promise((resolve) => {
          time.after(duration(random, SYNC_MS), () =>
            process.run(() => {
              disk.beforeChange();
              if (!process.alive) return;
              disk.synced = Math.max(disk.synced, lastIndex);
              resolve();
            }),
          );
        });
      },
      onFailure: (err) => {
        throw err;
      },
    });
  }

  get lastIndex(): number {
    return this.#disk.lastIndex + this.#staged.length;
  }

  get syncedIndex(): number {
    return this.#sync.syncedIndex;
  }

  waitForRoom(): Promise<void> {
    return Promise.resolve();
  }

  append(index: number, record: Uint8Array): void {
    invariant(index === this.lastIndex + 1, `record ${index} follows record ${index - 1}, not ${this.lastIndex}`);
    this.#staged.push(Uint8Array.from(record));
    if (this.#turn !== undefined) return;
    let resolve!: () => void;
    const promise = new Promise<void>((r) => {
      resolve = r;
    });
    this.#turn = { promise, resolve };
    this.#time.after(TURN_MS, () => this.#process.run(() => this.#endTurn()));
  }

  async appended(index: number): Promise<void> {
    while (index > this.#disk.lastIndex) await this.#turn!.promise;
  }

  async synced(index: number): Promise<void> {
    await this.appended(index);
    await this.#sync.synced(index);
  }

  onSynced(listener: (index: number) => void): void {
    this.#sync.onSynced(listener);
  }

  *read(fromIndex: number): IterableIterator<JournalEntry> {
    const { first, lastIndex } = this.#disk;
    for (let index = fromIndex; index <= lastIndex; index++) {
      const record = this.#disk.records[index - first];
      if (record === undefined) throw new CairnError("EIO", `read record ${index} of the journal: it is not there`);
      yield { index, record };
    }
  }

  async trim(belowIndex: number): Promise<void> {
    // Only what is on the platter too: a start reads it no more, but the sync under way counts it.
    const count = Math.min(belowIndex, this.#disk.lastIndex + 1) - this.#disk.first;
    if (count <= 0) return;
    this.#disk.records.splice(0, count);
    this.#disk.first += count;
    this.#disk.synced = Math.max(this.#disk.synced, this.#disk.first - 1);
  }

  async close(): Promise<void> {
    await this.synced(this.lastIndex);
    this.#sync.stop(new CairnError("ECANCELED", "the journal is closed"));
  }

  #endTurn(): void {
    this.#disk.beforeChange();
    if (!this.#process.alive) return;
    const turn = this.#turn;
    this.#turn = undefined;
    this.#disk.records.push(...this.#staged.splice(0));
    this.#sync.written(this.#disk.lastIndex);
    turn?.resolve();
  }
}
