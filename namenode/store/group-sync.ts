import type { Clock, Timer } from "../../common/clock.js";
import { invariant } from "../../common/errors.js";
import { type Deferred, deferred } from "./deferred.js";

export interface GroupSyncOptions {
  clock: Clock;
  /** How long written records may wait for a sync, ms. */
  intervalMs: number;
  /** Index up to which everything is on the disk already. */
  syncedIndex: number;
  /** Puts everything written so far on the disk. */
  sync: () => Promise<void>;
  /** Called when a sync failed. What it was to sync may be lost, whatever a later one says. */
  onFailure: (err: unknown) => void;
}

/** Decides when to sync: one sync at a time for all who wait; whoever comes while it runs shares the next. */
export class GroupSync {
  readonly #options: GroupSyncOptions;
  readonly #listeners: ((index: number) => void)[] = [];
  #written: number;
  #synced: number;
  /** What the sync under way will have put on the disk; undefined when none is. */
  #target: number | undefined;
  /** Those who wait for the sync under way, and for the one after it. */
  #current: Deferred | undefined;
  #next: Deferred | undefined;
  #timer: Timer | undefined;
  /** Why there are no further syncs; undefined while there are. */
  #stopped: Error | undefined;

  constructor(options: GroupSyncOptions) {
    this.#options = options;
    this.#written = options.syncedIndex;
    this.#synced = options.syncedIndex;
  }

  get syncedIndex(): number {
    return this.#synced;
  }

  /** Says that records up to `index` have been written. */
  written(index: number): void {
    this.#written = index;
    if (this.#target === undefined) this.#schedule();
  }

  /** Resolves when the record `index`, which has been written, is on the disk. Rejects once stopped. */
  synced(index: number): Promise<void> {
    invariant(index <= this.#written, () => `record ${index} is to be synced, but only ${this.#written} are written`);
    if (index <= this.#synced) return Promise.resolve();
    if (this.#stopped !== undefined) return Promise.reject(this.#stopped);
    if (this.#target !== undefined && index <= this.#target) {
      this.#current ??= deferred();
      return this.#current.promise;
    }
    this.#next ??= deferred();
    const { promise } = this.#next;
    this.#start();
    return promise;
  }

  onSynced(listener: (index: number) => void): void {
    this.#listeners.push(listener);
  }

  /** No further syncs; the one under way is not waited for. Whoever waits is rejected. */
  stop(err: Error): void {
    this.#stopped ??= err;
    this.#timer?.clear();
    this.#current?.reject(err);
    this.#next?.reject(err);
  }

  /** Sees to it that what is written gets synced in time. */
  #schedule(): void {
    if (this.#options.intervalMs === 0) return this.#start();
    this.#timer ??= this.#options.clock.after(this.#options.intervalMs, () => {
      this.#timer = undefined;
      this.#start();
    });
  }

  #start(): void {
    if (this.#stopped !== undefined || this.#target !== undefined || this.#written === this.#synced) return;
    this.#timer?.clear();
    this.#timer = undefined;
    const target = this.#written;
    this.#target = target;
    this.#current = this.#next;
    this.#next = undefined;
    this.#options.sync().then(
      () => this.#done(target),
      (err: unknown) => this.#options.onFailure(err),
    );
  }

  #done(target: number): void {
    if (this.#stopped !== undefined) return;
    this.#synced = target;
    this.#target = undefined;
    const round = this.#current;
    this.#current = undefined;
    for (const listener of this.#listeners) listener(target);
    round?.resolve();
    if (this.#next) this.#start();
    else if (this.#written > target) this.#schedule();
  }
}
