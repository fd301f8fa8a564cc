import { type FileHandle, rm } from "node:fs/promises";
import type { Clock, Timer } from "../../common/clock.js";
import { CairnError, wrap } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import { type Deferred, deferred } from "./deferred.js";
import { createSpare, sparePath } from "./segment.js";

/** How long after a failed attempt to prepare a segment it is tried again, ms. */
const PREPARE_RETRY_MS = 1000;

export interface SpareOptions {
  folder: string;
  segmentBytes: number;
  clock: Clock;
  log: Logger;
}

/** Keeps one segment prepared ahead, so that a full disk shows before an edit depends on it. */
export class SpareSegment {
  readonly #options: SpareOptions;
  #file: FileHandle | undefined;
  #preparing: Promise<void>;
  #retry: Timer | undefined;
  #failure: CairnError | undefined;
  #ready: Deferred = deferred();
  #closed = false;

  constructor(options: SpareOptions) {
    this.#options = options;
    this.#preparing = this.#prepare();
  }

  /** Whether take() has one to give. */
  get isReady(): boolean {
    return this.#file !== undefined;
  }

  /** Resolves when isReady. Rejects (ENOSPC, EIO) while the last attempt failed. */
  whenReady(): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    return this.#file ? Promise.resolve() : this.#ready.promise;
  }

  /** Hands the segment over, still under the name of the spare, and begins to make the next; call it once that is renamed. */
  take(): FileHandle | undefined {
    const file = this.#file;
    if (file === undefined) return undefined;
    this.#file = undefined;
    this.#ready = deferred();
    this.#preparing = this.#prepare();
    return file;
  }

  /** Removes what is prepared. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.clear();
    await this.#preparing;
    this.#ready.reject(new CairnError("ECANCELED", "the journal is closed"));
    await this.#file?.close();
    await rm(sparePath(this.#options.folder), { force: true });
  }

  async #prepare(): Promise<void> {
    const { folder, segmentBytes, clock, log } = this.#options;
    try {
      this.#file = await createSpare(folder, segmentBytes);
      this.#failure = undefined;
      this.#ready.resolve();
    } catch (err) {
      const failure = wrap(err, `make room for the journal in ${folder}`);
      if (this.#failure?.message !== failure.message) log.error({ err: failure }, "the journal cannot grow");
      this.#failure = failure;
      this.#ready.reject(failure);
      this.#ready = deferred();
      if (this.#closed) return;
      this.#retry = clock.after(PREPARE_RETRY_MS, () => {
        this.#preparing = this.#prepare();
      });
    }
  }
}
