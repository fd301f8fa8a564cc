import type { Clock, Timer } from "../common/clock.js";
import { CairnError, codeOf, messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import { RateLimit } from "./rate-limit.js";
import type { ReplicaStore } from "./store.js";
import type { Verifier } from "./verifier.js";

/** How long until a replica of which nothing could be said is read again, ms. */
const RETRY_MS = 30_000;

export interface AfterPowerLossOptions {
  store: ReplicaStore;
  verifier: Verifier;
  clock: Clock;
  log: Logger;
  /** Bytes per second that it may read in the background; 0: no limit. */
  bytesPerSecond: number;
}

/**
 * Reads the replicas that a loss of power may have torn, one after the other, so that those that are have others made in their place,
 * and none is taken for synced that is not there.
 */
export class AfterPowerLoss {
  readonly #options: AfterPowerLossOptions;
  readonly #limit: RateLimit;
  /** For whom a sync waits. */
  readonly #unlimited: RateLimit;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(options: AfterPowerLossOptions) {
    this.#options = options;
    this.#limit = new RateLimit(options.bytesPerSecond, options.clock);
    this.#unlimited = new RateLimit(0, options.clock);
  }

  /** Begins to read, in the background. */
  start(): void {
    const { store, log } = this.#options;
    const { unread } = store.doubts;
    if (unread > 0) log.info({ replicas: unread }, "the power may have gone: reading what was written shortly before");
    this.#running = this.#run();
  }

  /** Brings a replica to the platter. ENOENT: there is none. EBADMSG: it is torn. */
  async sync(id: number, generation: number): Promise<void> {
    const { store } = this.#options;
    store.get(id, generation);
    if (store.doubts.has(id) && !(await this.#isWhole(id, this.#unlimited))) {
      store.get(id, generation);
      throw new CairnError("EBADMSG", `cannot sync block ${id}: its replica here is not whole`);
    }
    await store.sync(id, generation);
  }

  /** Stops, in the middle of a replica too. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.clear();
    this.#limit.close();
    this.#unlimited.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { store, clock, log } = this.#options;
    for (const id of store.doubts.ids()) {
      if (this.#closed) return;
      if (!store.doubts.has(id)) continue;
      try {
        await this.#isWhole(id, this.#limit);
      } catch (err) {
        if (!this.#closed)
          log.warn({ block: id, code: codeOf(err), err: messageOf(err) }, "a replica could not be read yet");
      }
    }
    if (this.#closed) return;
    if (store.doubts.unread === 0) return this.#settle();
    this.#timer = clock.after(RETRY_MS, () => {
      this.#running = this.#run();
    });
  }

  async #settle(): Promise<void> {
    const { store, log } = this.#options;
    for (const volume of store.volumes.live) {
      const bad = store.doubts.bad().filter((id) => store.map.get(id)?.volume === volume.index);
      try {
        await volume.mark.settled(bad);
      } catch (err) {
        log.warn({ volume: volume.path, err: messageOf(err) }, "the next start will look for torn replicas again");
      }
    }
  }

  async #isWhole(id: number, limit: RateLimit): Promise<boolean> {
    const { store, verifier } = this.#options;
    const replica = store.map.get(id);
    if (replica === undefined) return false;
    const verdict = await verifier.verify(replica, limit);
    if (verdict === "good" || verdict === "corrupt") store.doubts.settle(id, verdict === "good");
    return verdict === "good";
  }
}
