import { invariant } from "../common/errors.js";

/** A number of bytes that may be in use at once: who wants more than is left waits, first come, first served. */
export class Budget {
  readonly limit: number;
  #used = 0;
  #peak = 0;
  readonly #waiting: { bytes: number; grant: () => void }[] = [];

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Bytes in use. */
  get used(): number {
    return this.#used;
  }

  /** The most bytes that were in use at once. */
  get peak(): number {
    return this.#peak;
  }

  /** Whether somebody waits for bytes. */
  get isShort(): boolean {
    return this.#waiting.length > 0;
  }

  /** Takes bytes if they are there and nobody waits for some. */
  tryTake(bytes: number): boolean {
    if (this.isShort || this.#used + bytes > this.limit) return false;
    this.#use(bytes);
    return true;
  }

  /** Resolves once the bytes are the caller's. */
  take(bytes: number): Promise<void> {
    invariant(bytes <= this.limit, () => `a piece of ${bytes} bytes fits into a budget of ${this.limit}`);
    if (this.tryTake(bytes)) return Promise.resolve();
    return new Promise((grant) => this.#waiting.push({ bytes, grant }));
  }

  /** Gives bytes back. */
  give(bytes: number): void {
    this.#used -= bytes;
    invariant(this.#used >= 0, "what is given back was taken before");
    while (this.#waiting.length > 0 && this.#used + this.#waiting[0]!.bytes <= this.limit) {
      const { bytes: wanted, grant } = this.#waiting.shift()!;
      this.#use(wanted);
      grant();
    }
  }

  #use(bytes: number): void {
    this.#used += bytes;
    if (this.#used > this.#peak) this.#peak = this.#used;
  }
}
