import { type CairnError, wrap } from "../common/errors.js";
import { type DiskFile, MAX_VECTOR } from "./disk.js";

interface Waiting {
  readonly data: Buffer;
  readonly resolve: () => void;
  readonly reject: (err: CairnError) => void;
}

/**
 * A file that is written at its end. One write is under way at a time; what is appended meanwhile goes with the next, so
 * that many small pieces cost few trips to the thread pool. What waits is bounded by whoever appends (the window).
 */
export class AppendFile {
  readonly path: string;
  readonly #file: DiskFile;
  #position: number;
  #waiting: Waiting[] = [];
  #busy: Promise<void> | undefined;
  #failure: CairnError | undefined;

  /** @param position where the file ends now, bytes */
  constructor(path: string, file: DiskFile, position: number) {
    this.path = path;
    this.#file = file;
    this.#position = position;
  }

  /** Writes data at the end. The buffer must not change until this resolves. After a failure everything is refused. */
  append(data: Buffer): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ data, resolve, reject });
      // From a microtask, so that what is appended in the same turn (a packet and the footer) goes in one write.
      this.#busy ??= Promise.resolve().then(() => this.#drain());
    });
  }

  /** Resolves when nothing is under way, whether it failed or not. */
  async settled(): Promise<void> {
    await this.#busy;
  }

  /** Brings what was appended so far to the platter. */
  async sync(): Promise<void> {
    await this.settled();
    if (this.#failure !== undefined) throw this.#failure;
    try {
      await this.#file.sync();
    } catch (err) {
      throw this.#fail(wrap(err, `cannot sync ${this.path}`));
    }
  }

  /** Cuts the file, once nothing is under way, and makes it writable again if it had failed. */
  async truncate(length: number): Promise<void> {
    await this.settled();
    try {
      await this.#file.truncate(length);
    } catch (err) {
      throw this.#fail(wrap(err, `cannot cut ${this.path} to ${length} bytes`));
    }
    this.#position = length;
    this.#failure = undefined;
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MAX_VECTOR);
      try {
        const buffers = batch.map((w) => w.data);
        await this.#file.write(buffers, this.#position);
        for (const { length } of buffers) this.#position += length;
        for (const w of batch) w.resolve();
      } catch (err) {
        const failure = this.#fail(wrap(err, `cannot write to ${this.path}`));
        for (const w of [...batch, ...this.#waiting.splice(0)]) w.reject(failure);
      }
    }
    this.#busy = undefined;
  }

  #fail(err: CairnError): CairnError {
    this.#failure ??= err;
    return this.#failure;
  }
}
