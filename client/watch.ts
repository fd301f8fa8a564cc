import type { Clock } from "../common/clock.js";
import type { Changes, ChangeWatcher, Watch } from "./contract.js";

/** The share of a lease for which an answer is believed after the last sign of the namenode: clocks differ in speed. */
const LEASE_SHARE = 0.9;

/**
 * What a session knows about how far the namenode's answers may be believed. Changes by others come over the same connection
 * as replies and before any reply that is younger, so a reply to a call that was sent at some moment proves that nothing
 * was missed until then.
 */
export class SessionWatch implements Watch {
  /** Whether the namenode is asked to tell of changes. */
  readonly wanted: boolean;
  readonly #clock: Clock;
  readonly #forget: (inos: readonly number[]) => void;
  readonly #watchers: ChangeWatcher[] = [];
  #epoch = 0;
  #leaseMs = 0;
  #proven = Number.NEGATIVE_INFINITY;

  /** @param forget tells the namenode, if it is there, what is not cached any more */
  constructor(clock: Clock, wanted: boolean, forget: (inos: readonly number[]) => void) {
    this.#clock = clock;
    this.wanted = wanted;
    this.#forget = forget;
  }

  get epoch(): number {
    return this.#epoch;
  }

  trustMs(): number {
    if (!this.wanted) return 0;
    return Math.max(0, this.#proven + this.#leaseMs * LEASE_SHARE - this.#clock.monotonic());
  }

  attach(watcher: ChangeWatcher): void {
    this.#watchers.push(watcher);
  }

  forget(inos: readonly number[]): void {
    if (this.wanted && inos.length > 0) this.#forget(inos);
  }

  /** The inodes that are open here, for a namenode that may not know. */
  open(): number[] {
    return this.#watchers.flatMap((watcher) => watcher.openInodes());
  }

  /** The session was opened over a new connection, with a call sent at `sent` (monotonic, ms). */
  connected(sent: number, leaseMs: number): void {
    this.#epoch++;
    this.#leaseMs = leaseMs;
    this.#proven = sent;
    if (this.#epoch > 1) for (const watcher of this.#watchers) watcher.missed();
  }

  /** A call that was sent at `sent` (monotonic, ms) over the connection of an epoch was answered. */
  answered(sent: number, epoch: number): void {
    if (epoch === this.#epoch && sent > this.#proven) this.#proven = sent;
  }

  /** The namenode tells of changes. */
  changed(changes: Changes): void {
    for (const watcher of this.#watchers) watcher.changed(changes);
  }
}
