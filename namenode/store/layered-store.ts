import type { Clock, Timer } from "../../common/clock.js";
import { CairnError, invariant, wrap } from "../../common/errors.js";
import { MIB } from "../../common/limits.js";
import type { Logger } from "../../common/log.js";
import { type Deferred, deferred } from "./deferred.js";
import { checkKey, type Key, type RangeOptions } from "./kv.js";
import { LayeredRange, type Layers, type ScanRange, type SortedReader } from "./merge.js";
import { Overlay } from "./overlay.js";
import type { Snapshot, Store } from "./store.js";

/**
 * How often the overlay is emptied into the base, ms. Safety does not hang on it (the journal holds the edits), only how
 * many edits a start replays; and each flush costs a synced transaction, which at 100 ms took more processor time than the edits.
 */
export const FLUSH_INTERVAL_MS = 500;
/** Entries that start a flush before its time. */
export const FLUSH_ENTRIES = 5000;
/** How long after a failed flush it is tried again, ms. */
export const FLUSH_RETRY_MS = 1000;
/** Memory that what waits for the disk may take, bytes. No edits are taken above it (the last one may reach over it). */
export const MAX_OVERLAY_BYTES = 64 * MIB;
/**
 * Edits that may wait for the disk, and so the most that a start replays: some seconds. Edits that change the same few keys again and
 * again take no memory, so MAX_OVERLAY_BYTES does not bound them. A healthy disk is ten times faster than whoever makes edits.
 */
export const MAX_UNFLUSHED_EDITS = 20_000;

/** A base as it was after one of its writes. */
export interface BaseSnapshot extends SortedReader {
  /** The index written then. */
  readonly index: number;
  get(key: Key): Uint8Array | undefined;
  close(): void;
}

/** The lowest layer: an ordered map on the disk that takes whole overlays, each atomically. */
export interface Base extends SortedReader {
  /** The index written with the last overlay; 0 when there was none. */
  readonly index: number;
  get(key: Key): Uint8Array | undefined;
  /**
   * Writes an overlay and the index in one transaction. Resolves when they are on the disk and reads here see them.
   * Rejects when nothing of it was written.
   */
  write(overlay: Overlay, index: number): Promise<void>;
  /** The base as it is now, whatever is written later, until it is closed. */
  snapshot(): BaseSnapshot;
  close(): Promise<void>;
}

export interface LayeredStoreOptions {
  base: Base;
  clock: Clock;
  log: Logger;
  /** Override of MAX_OVERLAY_BYTES. */
  maxOverlayBytes?: number;
}

/**
 * A store of three layers: the active overlay, which takes the writes; while a flush is under way, the frozen overlay
 * that is being written; and the base. Reads see the newest. A flush that fails keeps its overlay and is tried again.
 */
export class LayeredStore implements Store {
  readonly appliedIndex: number;
  readonly #base: Base;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #maxBytes: number;
  readonly #ticker: Timer;
  readonly #durableListeners: ((index: number) => void)[] = [];
  #active = new Overlay();
  #frozen: Overlay | undefined;
  /** Edits in the active overlay, and in the frozen one. */
  #activeEdits = 0;
  #frozenEdits = 0;
  #layers: Layers;
  #index: number;
  /** Index of the last edit that was frozen, and so of the base once that is written. */
  #frozenIndex: number;
  /** The flush under way, its retries not included. */
  #writing: Promise<void> | undefined;
  #soon: Timer | undefined;
  #failure: CairnError | undefined;
  #room: Deferred | undefined;
  /** Waiting for the frozen overlay, and for the one that will be frozen after it. */
  #flush: Deferred | undefined;
  #nextFlush: Deferred | undefined;
  #closed = false;
  /** What closes the snapshots that are open. */
  readonly #snapshots = new Set<() => void>();

  constructor(options: LayeredStoreOptions) {
    this.#base = options.base;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#maxBytes = options.maxOverlayBytes ?? MAX_OVERLAY_BYTES;
    this.appliedIndex = options.base.index;
    this.#index = this.appliedIndex;
    this.#frozenIndex = this.appliedIndex;
    this.#layers = { overlays: [this.#active], base: this.#base };
    this.#ticker = this.#clock.every(FLUSH_INTERVAL_MS, () => this.#startFlush());
  }

  /** Why the last flush failed; undefined when it did not. */
  get failure(): CairnError | undefined {
    return this.#failure;
  }

  get hasRoom(): boolean {
    return (
      this.#active.bytes + (this.#frozen?.bytes ?? 0) < this.#maxBytes &&
      this.#activeEdits + this.#frozenEdits < MAX_UNFLUSHED_EDITS
    );
  }

  get(key: Key): Uint8Array | undefined {
    let value = this.#active.get(key);
    if (value === undefined) value = this.#frozen?.get(key);
    return value === undefined ? this.#base.get(key) : (value ?? undefined);
  }

  put(key: Key, value: Uint8Array): void {
    this.#set(key, value);
  }

  delete(key: Key): void {
    this.#set(key, null);
  }

  range(options: RangeOptions): IterableIterator<[Key, Uint8Array]> {
    return new LayeredRange(() => this.#layers, options);
  }

  setIndex(index: number): void {
    invariant(index >= this.#index, () => `the index of the store never goes back (${this.#index} to ${index})`);
    if (index > this.#index) this.#activeEdits++;
    this.#index = index;
  }

  waitForRoom(): Promise<void> {
    if (this.hasRoom) return Promise.resolve();
    if (this.#failure) return Promise.reject(this.#failure);
    this.#startFlush();
    this.#room ??= deferred();
    return this.#room.promise;
  }

  onDurable(listener: (index: number) => void): void {
    this.#durableListeners.push(listener);
  }

  flush(): Promise<void> {
    if (!this.#isDirty && !this.#frozen) return Promise.resolve();
    const wait = (this.#isDirty ? this.#nextFlush : this.#flush) ?? deferred();
    if (this.#isDirty) this.#nextFlush = wait;
    else this.#flush = wait;
    // An overlay whose write has failed is not left to its timer: the caller wants to know now.
    if (this.#frozen && !this.#writing) this.#write(this.#frozen);
    else this.#startFlush();
    return wait.promise;
  }

  async snapshot(): Promise<Snapshot> {
    await this.flush();
    if (this.#closed) throw new CairnError("ECANCELED", "the store is closed");
    const base = this.#base.snapshot();
    let open = true;
    const close = () => {
      if (!open) return;
      open = false;
      this.#snapshots.delete(close);
      base.close();
    };
    this.#snapshots.add(close);
    // Nobody may reach into the base after its end, though the store be closed under their feet.
    const live = (): BaseSnapshot => {
      if (open) return base;
      throw new CairnError("ECANCELED", "the snapshot of the store is closed");
    };
    const layers = { overlays: [], base: { scan: (range: ScanRange) => live().scan(range) } };
    return {
      index: base.index,
      get: (key) => live().get(key),
      range: (options) => new LayeredRange(() => layers, options),
      close,
    };
  }

  async close(): Promise<void> {
    invariant(!this.#closed, "a store is closed once");
    this.#ticker.clear();
    try {
      await this.flush();
    } finally {
      this.#closed = true;
      this.#soon?.clear();
      await this.#writing;
      for (const close of this.#snapshots) close();
      await this.#base.close();
    }
  }

  /** Whether there is anything that is neither in the base nor frozen. */
  get #isDirty(): boolean {
    return this.#active.size > 0 || this.#index > this.#frozenIndex;
  }

  #set(key: Key, value: Uint8Array | null): void {
    checkKey(key);
    this.#active.set(key, value);
    // Not at once: this may be the middle of an edit.
    if (this.#active.size >= FLUSH_ENTRIES) this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#soon || this.#frozen) return;
    this.#soon = this.#clock.after(0, () => {
      this.#soon = undefined;
      this.#startFlush();
    });
  }

  /** Freezes the active overlay, unless the one before is still being written, and begins to write it. */
  #startFlush(): void {
    if (this.#frozen || !this.#isDirty || this.#closed) return;
    this.#frozen = this.#active;
    this.#frozenIndex = this.#index;
    this.#frozenEdits = this.#activeEdits;
    this.#active = new Overlay();
    this.#activeEdits = 0;
    this.#layers = { overlays: [this.#active, this.#frozen], base: this.#base };
    this.#flush = this.#nextFlush;
    this.#nextFlush = undefined;
    this.#write(this.#frozen);
  }

  #write(frozen: Overlay): void {
    this.#soon?.clear();
    this.#soon = undefined;
    this.#writing = this.#base.write(frozen, this.#frozenIndex).then(
      () => this.#written(),
      (err: unknown) => this.#notWritten(err),
    );
  }

  #written(): void {
    this.#writing = undefined;
    if (this.#failure) this.#log.info("the store can be written to the disk again");
    this.#failure = undefined;
    this.#frozen = undefined;
    this.#frozenEdits = 0;
    this.#layers = { overlays: [this.#active], base: this.#base };
    for (const listener of this.#durableListeners) listener(this.#frozenIndex);
    this.#flush?.resolve();
    this.#flush = undefined;
    if (this.hasRoom) {
      this.#room?.resolve();
      this.#room = undefined;
    }
    if (this.#nextFlush || this.#room) this.#startFlush();
    else if (this.#active.size >= FLUSH_ENTRIES) this.#flushSoon();
  }

  #notWritten(err: unknown): void {
    this.#writing = undefined;
    const failure = wrap(err, "write the metadata store to the disk");
    if (this.#failure?.message !== failure.message)
      this.#log.error({ err: failure }, "a flush failed; it is tried again");
    this.#failure = failure;
    for (const waiter of [this.#flush, this.#nextFlush, this.#room]) waiter?.reject(failure);
    this.#flush = undefined;
    this.#nextFlush = undefined;
    this.#room = undefined;
    if (this.#closed) return;
    this.#soon = this.#clock.after(FLUSH_RETRY_MS, () => {
      this.#soon = undefined;
      if (this.#frozen) this.#write(this.#frozen);
    });
  }
}
