// load-program.js FOLDER JOURNAL SEED WORKERS: the program of a Load. Its workers make, write, append to, overwrite, sync, rename,
// unlink and read files in FOLDER/0, FOLDER/1, …, and write down in JOURNAL what they are about to do and what was answered.
// The journal is not synced: what a fault test kills are processes, and what a process has written outlives it.
import { closeSync, openSync, writeSync } from "node:fs";
import { type FileHandle, open, rename, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../sim/random.js";
import type { LoadReport } from "./load.js";
import { contentOf, type Op, Promises } from "./promises.js";
import { readWhole } from "./read-file.js";

/** Bytes of one write: inline, a packet, several of them, several blocks. */
const SIZES = [1, 5_000, 5_000, 100_000, 100_000, 1_500_000];
/** Files that one worker keeps. */
const MAX_FILES = 8;
/** A file that has grown over this is not appended to any more, bytes. */
const MAX_SIZE = 4_000_000;
/** Pause between two looks at a mount that does not work, ms. */
const RETRY_MS = 200;

const [folder = "", journalPath = "", seed = "1", workers = "1"] = process.argv.slice(2);
const promises = new Promises();
const journal = openSync(journalPath, "a");
const errors: Record<string, number> = {};
let steps = 0;
let stopping = false;

const tell = (report: LoadReport): void => {
  process.send?.(report);
};
const codeOf = (err: unknown): string => (err as NodeJS.ErrnoException).code ?? String(err);
const count = (what: string, err: unknown): void => {
  const key = `${what} ${codeOf(err)}`;
  errors[key] = (errors[key] ?? 0) + 1;
};

/** One of those who work: one thing after another, in a folder of its own. */
class Worker {
  readonly #number: number;
  readonly #random: Random;
  #files: string[] = [];
  #made = 0;

  constructor(number: number) {
    this.#number = number;
    this.#random = new Random(Number(seed) * 1000 + number);
  }

  async run(): Promise<void> {
    while (!stopping) {
      try {
        await this.#step();
        steps += 1;
        tell({ progress: { steps, acknowledged: promises.acknowledged, errors } });
      } catch (err) {
        if (err instanceof Violation) throw err;
        await this.#patiently();
      }
      this.#files = this.#files.filter((name) => !promises.inDoubt(name));
    }
  }

  async #step(): Promise<void> {
    const name = this.#files.length === 0 ? undefined : this.#random.pick(this.#files);
    if (name === undefined) return void (await this.#make());
    if (this.#files.length > MAX_FILES) return this.#unlink(name);
    const what = this.#random.weighted({ make: 30, replace: 15, append: 15, overwrite: 15, read: 20, unlink: 5 });
    if (what === "make") await this.#make();
    else if (what === "replace") await this.#replace(name);
    else if (what === "append") await this.#change(name, () => promises.size(name));
    else if (what === "overwrite") await this.#change(name, () => this.#random.int(0, promises.size(name)));
    else if (what === "unlink") await this.#unlink(name);
    else await this.#read(name);
  }

  async #make(): Promise<string> {
    const name = `${this.#number}/${this.#made++}`;
    const file = await this.#do({ op: "create", name }, () => open(join(folder, name), "wx"));
    await this.#fill(file, name, () => promises.size(name));
    this.#files.push(name);
    return name;
  }

  async #replace(to: string): Promise<void> {
    const name = await this.#make();
    await this.#do({ op: "rename", name, to }, () => rename(join(folder, name), join(folder, to)));
    this.#files = this.#files.filter((n) => n !== name);
  }

  async #change(name: string, where: () => number): Promise<void> {
    if (promises.size(name) > MAX_SIZE) return this.#read(name);
    const file = await open(join(folder, name), "r+").catch((err: unknown) => {
      count("open", err);
      throw err;
    });
    await this.#fill(file, name, where);
  }

  /** Writes some, syncs now and then, closes. */
  async #fill(file: FileHandle, name: string, where: () => number): Promise<void> {
    try {
      for (let left = this.#random.int(1, 3); left > 0; left--) {
        const length = this.#random.pick(SIZES);
        const key = `${seed} ${this.#number} ${this.#random.int(0, 2 ** 31)}`;
        const write = { op: "write", name, at: where(), length, key } as const;
        await this.#do(write, () => writeAll(file, contentOf(key, length), write.at));
        if (this.#random.chance(0.4)) {
          await this.#do({ op: "fsync", name }, () => file.sync());
          tell({ synced: name });
        }
      }
    } catch (err) {
      await file.close().catch(() => undefined); // the name is in doubt already
      throw err;
    }
    await this.#do({ op: "close", name }, () => file.close());
  }

  async #unlink(name: string): Promise<void> {
    await this.#do({ op: "unlink", name }, () => unlink(join(folder, name)));
    this.#files = this.#files.filter((n) => n !== name);
  }

  async #read(name: string): Promise<void> {
    const found = await readWhole(join(folder, name)).catch((err: unknown) => {
      count("read", err);
      throw err;
    });
    if (!found.equals(promises.written(name))) throw new Violation(`${name}: ${promises.problem(name, found)}`);
  }

  /** Writes down what is done, does it, and writes down how it ended. */
  async #do<T>(op: Op, act: () => Promise<T>): Promise<T> {
    note({ worker: this.#number, begin: op });
    try {
      const result = await act();
      note({ worker: this.#number, end: 0 });
      return result;
    } catch (err) {
      note({ worker: this.#number, end: codeOf(err) });
      count(op.op, err);
      throw err;
    }
  }

  /** Waits until the mount works again. */
  async #patiently(): Promise<void> {
    do await sleep(RETRY_MS);
    while (!stopping && (await stat(join(folder, String(this.#number))).catch(() => undefined)) === undefined);
  }
}

/** A promise was broken while the program ran. */
class Violation extends Error {}

function note(entry: Parameters<Promises["apply"]>[0]): void {
  writeSync(journal, `${JSON.stringify(entry)}\n`);
  promises.apply(entry);
}

async function writeAll(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
  }
}

const working = Promise.all(Array.from({ length: Number(workers) }, (_, i) => new Worker(i).run())).catch(
  (err: unknown) => tell({ violation: String(err instanceof Violation ? err.message : err) }),
);

process.on("message", async () => {
  stopping = true;
  await working;
  closeSync(journal);
  process.send?.({ stopped: true } satisfies LoadReport, () => process.exit());
});
// The test that started it has gone.
process.on("disconnect", () => process.exit());
