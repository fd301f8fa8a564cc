import { human } from "./format.js";

/** How often the line is written again, ms. */
const REFRESH_MS = 200;

/** A line on standard error, where that is a terminal, that says how far a long job is. */
export class Progress {
  readonly #label: string;
  readonly #started = performance.now();
  readonly #shown = process.stderr.isTTY === true;
  #timer: NodeJS.Timeout | undefined;
  #bytes = 0;
  #files = 0;

  /** @param label what is being done: "put" */
  constructor(label: string) {
    this.#label = label;
    if (this.#shown) this.#timer = setInterval(() => this.#draw(), REFRESH_MS).unref();
  }

  /** Counts bytes that have been moved. */
  addBytes(count: number): void {
    this.#bytes += count;
  }

  /** Counts files that are done. */
  addFile(): void {
    this.#files += 1;
  }

  /** Clears the line. */
  end(): void {
    clearInterval(this.#timer);
    if (this.#shown) process.stderr.write("\r\x1b[K");
  }

  #draw(): void {
    const seconds = (performance.now() - this.#started) / 1000;
    const rate = this.#bytes > 0 ? `, ${human(this.#bytes)} (${human(Math.round(this.#bytes / seconds))}/s)` : "";
    process.stderr.write(`\r\x1b[K${this.#label}: ${this.#files} files${rate}`);
  }
}
