import type { Clock, Timer } from "../common/clock.js";
import { messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import type { DiskFile } from "./disk.js";
import { replicaDirectory } from "./replica-name.js";
import type { Volume } from "./volume.js";

/**
 * How long after it was finalized a replica is synced, ms: half of what the kernel waits by itself. Much that is written is
 * deleted again before, and syncs right behind a writer take the disk from it.
 */
const DELAY_MS = 15_000;
/** Replicas waiting for their sync, at most: they are open files. The kernel sees to those beyond. */
const MAX_WAITING = 256;

interface Waiting {
  readonly id: number;
  readonly volume: Volume;
  readonly file: DiskFile;
  readonly due: number;
}

/**
 * Brings finalized replicas to the platter soon, so that little is lost should the power of several machines fail at once:
 * one at a time, and idle for as long as each took, so that writers keep half of the disk.
 */
export class BackgroundSync {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #waiting: Waiting[] = [];
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Has a finalized replica synced; the file is closed after that. */
  add(volume: Volume, id: number, file: DiskFile): void {
    if (this.#closed || this.#waiting.length >= MAX_WAITING) {
      this.close(file);
      return;
    }
    this.#waiting.push({ id, volume, file, due: this.#clock.monotonic() + DELAY_MS });
    if (this.#timer === undefined && this.#running === undefined) this.#schedule(DELAY_MS);
  }

  /** Closes the file of a replica that need not be synced (any more). */
  close(file: DiskFile): void {
    file.close().catch((err) => this.#log.warn({ err: messageOf(err) }, "a block file could not be closed"));
  }

  /** Syncs what still waits, and takes no more. */
  async finish(): Promise<void> {
    this.#closed = true;
    this.#timer?.clear();
    await this.#running;
    for (const next of this.#waiting.splice(0)) await this.#sync(next, undefined);
  }

  #schedule(ms: number): void {
    this.#timer = this.#clock.after(ms, () => {
      this.#timer = undefined;
      this.#running = this.#step();
    });
  }

  async #step(): Promise<void> {
    const next = this.#waiting.shift();
    if (next === undefined) {
      this.#running = undefined;
      return;
    }
    const started = this.#clock.monotonic();
    await this.#sync(next, this.#waiting[0]);
    this.#running = undefined;
    const now = this.#clock.monotonic();
    const [following] = this.#waiting;
    if (following !== undefined && !this.#closed) this.#schedule(Math.max(now - started, following.due - now));
  }

  /** @param following the replica to be synced after it: the name waits when that is in the same directory */
  async #sync({ id, volume, file }: Waiting, following: Waiting | undefined): Promise<void> {
    try {
      await volume.attempt(`cannot sync block ${id}`, () => file.sync());
      const directory = replicaDirectory(volume.blocksPath, id);
      const shared =
        following !== undefined && replicaDirectory(following.volume.blocksPath, following.id) === directory;
      if (!shared) await volume.syncName(id);
    } catch (err) {
      this.#log.warn({ block: id, err: messageOf(err) }, "a replica could not be synced");
    }
    this.close(file);
  }
}
