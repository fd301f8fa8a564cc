import type { Clock, Timer } from "../common/clock.js";
import { messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import { RateLimit } from "./rate-limit.js";
import type { PlacedReplica, ReplicaMap } from "./replica-map.js";
import { readScrubPosition, type ScrubPosition, writeScrubPosition } from "./scrub-position.js";
import type { Verdict } from "./verifier.js";
import type { Volume } from "./volume.js";

/** Replicas looked up at a time. */
const BATCH = 1_000;
/** Longest sleep before it looks again when the next replica is due, ms: more may have come, so that they are due sooner. */
const MAX_SLEEP_MS = 600_000;
/** How often the position is written down, ms. After a crash so much is read again. */
const SAVE_MS = 60_000;

export interface ScrubberOptions {
  volume: Volume;
  map: ReplicaMap;
  verify: (replica: PlacedReplica, limit: RateLimit) => Promise<Verdict>;
  clock: Clock;
  log: Logger;
  /** How long a pass over all replicas takes, ms. */
  periodMs: number;
  /** Bytes per second it may read; 0: no limit. */
  bytesPerSecond: number;
}

/** What a scrubber shows of itself. */
export interface ScrubFigures {
  readonly path: string;
  /** Replicas and bytes verified since the start. */
  readonly replicas: number;
  readonly bytes: number;
  /** Replicas found corrupt or missing since the start. */
  readonly bad: number;
  /** Passes completed since the start. */
  readonly passes: number;
  /** How much of the pass is done, 0..1. */
  readonly progress: number;
}

/**
 * Re-reads every replica of a volume once in a period, in the order of block ids, evenly spread over it: what rots on the
 * disk is found while other copies are good. Who is behind (a long stop, a full disk's worth in a short period) reads
 * as fast as the throttle allows. The position survives a restart.
 */
export class Scrubber {
  readonly #options: ScrubberOptions;
  readonly #limit: RateLimit;
  readonly #figures = { replicas: 0, bytes: 0, bad: 0, passes: 0 };
  #position: ScrubPosition = { startedMs: 0, after: -1 };
  #batch: PlacedReplica[] = [];
  /** When the last replica was done (at first: the start), and the position last written, ms since 1970. */
  #lastMs = 0;
  #savedMs = 0;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(options: ScrubberOptions) {
    this.#options = options;
    this.#limit = new RateLimit(options.bytesPerSecond, options.clock);
  }

  /** Begins where the last process stopped. */
  async start(): Promise<void> {
    const { volume, clock, log } = this.#options;
    const now = clock.now();
    this.#position = { startedMs: now, after: -1 };
    this.#lastMs = now;
    this.#savedMs = now;
    try {
      const found = await readScrubPosition(volume.disk, volume.path);
      // A clock that was set back must not stretch the pass.
      if (found !== undefined) this.#position = { ...found, startedMs: Math.min(found.startedMs, now) };
    } catch (err) {
      log.warn({ volume: volume.path, err: messageOf(err) }, "the scrubber starts from the beginning");
    }
    this.#sleep();
  }

  /** What it has done. */
  figures(): ScrubFigures {
    const { volume, map } = this.#options;
    const total = map.countOn(volume.index);
    const progress = total === 0 ? 1 : Math.max(0, 1 - this.#left / total);
    return { path: volume.path, ...this.#figures, progress };
  }

  /** Stops, in the middle of a replica too; the position is written down. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.clear();
    this.#limit.close();
    await this.#running;
    if (this.#options.volume.failure === undefined) await this.#save();
  }

  /** When the next replica is due: the rest of the time is shared out among the rest of the replicas. */
  #dueMs(): number {
    const rest = this.#position.startedMs + this.#options.periodMs - this.#lastMs;
    return this.#lastMs + Math.max(0, rest) / Math.max(1, this.#left);
  }

  /** Replicas that this pass has not come to, about: volumes share the ids evenly. */
  get #left(): number {
    const { map, volume } = this.#options;
    return map.size === 0
      ? 0
      : Math.ceil((map.countAbove(this.#position.after) * map.countOn(volume.index)) / map.size);
  }

  #sleep(): void {
    const { clock, volume } = this.#options;
    if (this.#closed || volume.failure !== undefined) return;
    const ms = Math.min(MAX_SLEEP_MS, Math.max(0, this.#dueMs() - clock.now()));
    this.#timer = clock.after(ms, () => {
      this.#running = this.#turn().finally(() => {
        this.#running = undefined;
        this.#sleep();
      });
    });
  }

  async #turn(): Promise<void> {
    const { clock, map, volume } = this.#options;
    const now = clock.now();
    if (now < this.#lastMs) this.#lastMs = now; // the clock was set back
    if (now < this.#dueMs()) return;
    this.#lastMs = now;
    if (this.#batch.length === 0) this.#batch = map.following(volume.index, this.#position.after, BATCH);
    const next = this.#batch.shift();
    if (next === undefined) return this.#endPass(now);
    const current = map.get(next.id);
    if (current?.volume === volume.index) await this.#verify(current);
    if (this.#closed) return; // it was perhaps not read to its end
    this.#position = { ...this.#position, after: next.id };
    if (now - this.#savedMs >= SAVE_MS) await this.#save();
  }

  async #verify(replica: PlacedReplica): Promise<void> {
    try {
      const verdict = await this.#options.verify(replica, this.#limit);
      this.#figures.replicas++;
      this.#figures.bytes += replica.length;
      if (verdict === "corrupt" || verdict === "missing") this.#figures.bad++;
    } catch (err) {
      if (this.#closed) return;
      const facts = { block: replica.id, err: messageOf(err) };
      this.#options.log.warn(facts, "the scrubber could not read a replica; the next pass tries again");
    }
  }

  /** A pass is done, at the end of its period (or later); the next one begins. */
  async #endPass(now: number): Promise<void> {
    const { log, volume } = this.#options;
    if (this.#position.after >= 0) {
      this.#figures.passes++;
      log.info({ volume: volume.path }, "every replica of a volume has been read again");
    }
    this.#position = { startedMs: now, after: -1 };
    await this.#save();
  }

  async #save(): Promise<void> {
    const { volume, log, clock } = this.#options;
    this.#savedMs = clock.now();
    try {
      await writeScrubPosition(volume.disk, volume.path, this.#position);
    } catch (err) {
      // A full disk: the position is worth less than a block.
      log.warn({ volume: volume.path, err: messageOf(err) }, "the scrubber's position could not be written");
    }
  }
}
