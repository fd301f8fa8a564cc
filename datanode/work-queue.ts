import { messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";

export interface WorkQueueOptions<T> {
  /** What is done, for messages. */
  name: string;
  /** Items under way at once, and waiting at most. */
  parallel: number;
  limit: number;
  run: (item: T) => Promise<void>;
  log: Logger;
}

/** Work that the namenode ordered, done in turn. What does not fit is refused: the namenode orders it again. */
export class WorkQueue<T> {
  readonly #options: WorkQueueOptions<T>;
  readonly #waiting: T[] = [];
  readonly #running = new Set<Promise<void>>();
  #closed = false;

  constructor(options: WorkQueueOptions<T>) {
    this.#options = options;
  }

  /** Items under way. */
  get running(): number {
    return this.#running.size;
  }

  /** Items that wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes an item; false when the queue is full. */
  add(item: T): boolean {
    const { limit, log, name } = this.#options;
    if (this.#closed) return false;
    if (this.#waiting.length >= limit) {
      log.warn({ limit }, `too many orders to ${name}: one is dropped`);
      return false;
    }
    this.#waiting.push(item);
    this.#fill();
    return true;
  }

  /** Drops what waits; resolves when what was under way is done. */
  async forget(): Promise<void> {
    this.#waiting.length = 0;
    await Promise.all(this.#running);
  }

  /** As forget, for good. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.forget();
  }

  #fill(): void {
    while (this.#running.size < this.#options.parallel && this.#waiting.length > 0) {
      const done = this.#run(this.#waiting.shift()!).finally(() => {
        this.#running.delete(done);
        this.#fill();
      });
      this.#running.add(done);
    }
  }

  async #run(item: T): Promise<void> {
    const { run, log, name } = this.#options;
    try {
      await run(item);
    } catch (err) {
      log.warn({ item, err: messageOf(err) }, `could not ${name}`);
    }
  }
}
