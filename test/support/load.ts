import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";

/** Bytes of one file that the load writes: some of less than a packet, some of several. */
const SIZES = [1, 5_000, 100_000, 3_000_000];
/** How many of the files written lately are read again. */
const REMEMBERED = 50;

/**
 * A program that writes and reads on a folder until told to stop, and knows every byte it was promised: a file counts as
 * promised when its close has returned.
 */
export class Load {
  readonly #folder: string;
  readonly #promised = new Map<string, string>();
  readonly #running: Promise<void>;
  #stop = false;
  #failure: unknown;
  #written = 0;
  /** The longest that one step (write a file, read one) took, ms. */
  longestMs = 0;

  constructor(folder: string) {
    this.#folder = folder;
    this.#running = this.#run();
    this.#running.catch((err: unknown) => {
      this.#failure = err;
    });
  }

  /** Files written so far. Throws what a program would have seen, if that was an error. */
  get written(): number {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#written;
  }

  /** Ends the load; rejects with the first error a program would have seen. */
  async stop(): Promise<void> {
    this.#stop = true;
    await this.#running;
  }

  /** Reads everything that was promised and compares. */
  async verify(): Promise<void> {
    for (const name of this.#promised.keys()) await this.#check(name);
  }

  async #run(): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    while (!this.#stop) {
      const started = performance.now();
      await this.#write(`file-${this.#written}`, randomBytes(SIZES[this.#written % SIZES.length] ?? 1));
      this.#written += 1;
      const lately = [...this.#promised.keys()].slice(-REMEMBERED);
      await this.#check(lately[(this.#written >> 1) % lately.length] ?? "");
      this.longestMs = Math.max(this.longestMs, performance.now() - started);
    }
  }

  async #write(name: string, data: Buffer): Promise<void> {
    const file = await open(join(this.#folder, name), "w");
    try {
      await file.writeFile(data);
    } finally {
      await file.close();
    }
    this.#promised.set(name, digest(data));
  }

  async #check(name: string): Promise<void> {
    const found = digest(await readFile(join(this.#folder, name)));
    if (found !== this.#promised.get(name)) throw new Error(`${name} is not what was written`);
  }
}

function digest(data: Buffer): string {
  return createHash("sha256").update(data).digest("hex");
}
