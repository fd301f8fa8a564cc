import type { Clock, Timer } from "../common/clock.js";
import { messageOf } from "../common/errors.js";
import { MAX_BLOCKS_PAGE, MAX_REGIONS_PAGE } from "../common/limits.js";
import type { Logger } from "../common/log.js";
import { regionPages } from "../proto/digest.js";
import { Registry } from "../proto/gen/services.js";
import { type ReplicaChange, ReplicaChangeState } from "../proto/gen/types.js";
import type { Caller } from "../proto/link.js";
import type { ReplicaMap } from "./replica-map.js";

/** Changes that may wait while the namenode cannot be reached; beyond that a full report takes their place. */
const MAX_WAITING = 5 * MAX_BLOCKS_PAGE;
/** Pause before a report that failed is tried again, ms. */
const RETRY_MS = 1_000;

/** Tells the namenode which replicas are here: every change at once, in order, and all of them by digests when asked to. */
export class Reporter {
  readonly #namenode: Caller;
  readonly #map: ReplicaMap;
  readonly #clock: Clock;
  readonly #log: Logger;
  #waiting: ReplicaChange[] = [];
  #fullReport = false;
  #running = false;
  #retry: Timer | undefined;
  #closed = false;

  constructor(namenode: Caller, map: ReplicaMap, clock: Clock, log: Logger) {
    this.#namenode = namenode;
    this.#map = map;
    this.#clock = clock;
    this.#log = log;
  }

  /** Reports that a replica came, went, or was found good or corrupt. */
  change(change: ReplicaChange): void {
    if (this.#waiting.length >= MAX_WAITING) {
      // What came and went is in the full report; what was found corrupt is not.
      this.#waiting = this.#waiting.filter((c) => c.state === ReplicaChangeState.CORRUPT).slice(-MAX_BLOCKS_PAGE);
      this.#fullReport = true;
    }
    this.#waiting.push(change);
    this.#start();
  }

  /** Has all replicas reported. */
  fullReport(): void {
    this.#fullReport = true;
    this.#start();
  }

  /** Reports nothing more. */
  close(): void {
    this.#closed = true;
    this.#retry?.clear();
  }

  #start(): void {
    if (this.#running || this.#retry !== undefined || this.#closed) return;
    this.#running = true;
    queueMicrotask(() => void this.#run());
  }

  async #run(): Promise<void> {
    try {
      while (!this.#closed && (this.#waiting.length > 0 || this.#fullReport)) {
        if (this.#waiting.length > 0) await this.#sendChanges();
        else await this.#sendAll();
      }
    } catch (err) {
      this.#log.warn({ err: messageOf(err) }, "could not report to the namenode");
      this.#retry = this.#clock.after(RETRY_MS, () => {
        this.#retry = undefined;
        this.#start();
      });
    } finally {
      this.#running = false;
    }
  }

  async #sendChanges(): Promise<void> {
    const changes = this.#waiting.splice(0, MAX_BLOCKS_PAGE);
    try {
      await this.#namenode.call(Registry.reportChanges, { changes });
    } catch (err) {
      this.#waiting.unshift(...changes);
      throw err;
    }
  }

  /** Sends what is in regions that the namenode sees differently. */
  async #sendRegions(regions: readonly number[]): Promise<void> {
    const digests = regions.flatMap((region) => this.#map.digests(region));
    const { ranges } = await this.#namenode.call(Registry.reportDigests, { regions, ranges: digests });
    for (const range of ranges) {
      const replicas = this.#map.inRange(range).map(({ id, generation, length }) => ({ id, generation, length }));
      await this.#namenode.call(Registry.reportRange, { range, replicas });
    }
  }

  async #sendAll(): Promise<void> {
    this.#fullReport = false;
    try {
      for (const page of regionPages(this.#map.regions())) {
        const { ranges: regions } = await this.#namenode.call(Registry.reportRegions, page);
        for (let at = 0; at < regions.length; at += MAX_REGIONS_PAGE)
          await this.#sendRegions(regions.slice(at, at + MAX_REGIONS_PAGE));
      }
    } catch (err) {
      this.#fullReport = true;
      throw err;
    }
  }
}
