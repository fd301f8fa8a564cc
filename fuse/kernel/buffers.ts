import { invariant } from "../../common/errors.js";

/** Buffers kept for later use, at most; more may be in use. */
const MAX_IDLE = 16;

/** Buffers of one size, used again, at most so many at a time. */
export class Buffers {
  readonly #size: number;
  readonly #max: number;
  readonly #idle: Buffer[] = [];
  readonly #waiting: ((buffer: Buffer) => void)[] = [];
  #used = 0;

  /**
   * @param size bytes of each
   * @param max in use at a time
   */
  constructor(size: number, max: number) {
    this.#size = size;
    this.#max = max;
  }

  /** How many may still be taken without waiting. */
  get left(): number {
    return this.#max - this.#used;
  }

  /** One that is free. There must be one left. */
  take(): Buffer {
    invariant(this.#used < this.#max, "a buffer is taken when there is one");
    this.#used++;
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(this.#size);
  }

  /** One that is free, or the next that becomes so, in turn. */
  wait(): Buffer | Promise<Buffer> {
    if (this.left > 0) return this.take();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Gives one back. */
  give(buffer: Buffer): void {
    const next = this.#waiting.shift();
    if (next !== undefined) return next(buffer);
    this.#used--;
    if (this.#idle.length < MAX_IDLE) this.#idle.push(buffer);
  }
}
