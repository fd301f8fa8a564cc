import { roomy } from "../common/evict.js";
import { SNAPSHOTS } from "../common/snapshots.js";

/** Names and directories that are remembered, at most. */
const MAX_NAMES = 65_536;

/** What is known of a name: the inode it stands for, or that there is none. */
export type Meaning = number | "absent";

interface Directory {
  /** By name, the last one learned last; undefined: to be asked for, though the directory is complete. */
  readonly names: Map<string, Meaning | undefined>;
  /** Whether a name that is not here does not exist; but for that of the snapshots, which is never listed. */
  complete: boolean;
}

/**
 * Names by directory: what they stand for, which ones do not exist, and of which directories all are known. Bounded: the directory
 * that was used least lately goes first, and of the last one its oldest names.
 */
export class Names {
  readonly #max: number;
  readonly #evicted: (dir: number) => void;
  readonly #directories = new Map<number, Directory>();
  /** Names and directories. */
  #count = 0;
  /** The directory that was used last: it is the last of all. */
  #last: Directory | undefined;

  /** @param evicted called with a directory of which names were forgotten to make room */
  constructor(evicted: (dir: number) => void, max = MAX_NAMES) {
    this.#evicted = evicted;
    this.#max = max;
  }

  /** Whether anything is known of names in a directory. */
  has(dir: number): boolean {
    return this.#directories.has(dir);
  }

  /** What a name means; undefined when that is not known. */
  get(dir: number, name: string): Meaning | undefined {
    const directory = this.#directories.get(dir);
    if (directory === undefined) return undefined;
    this.#use(dir, directory);
    const { names, complete } = directory;
    return names.get(name) ?? (complete && !names.has(name) && name !== SNAPSHOTS ? "absent" : undefined);
  }

  put(dir: number, name: string, meaning: Meaning): void {
    const directory = this.#directory(dir);
    const { names } = directory;
    if (meaning === "absent" && directory.complete) {
      if (names.delete(name)) this.#count--;
      return;
    }
    if (names.delete(name)) this.#count--;
    names.set(name, meaning);
    this.#count++;
    this.#shrink();
  }

  /** What a name means is not known any more; what was known is returned. */
  forget(dir: number, name: string): Meaning | undefined {
    const directory = this.#directories.get(dir);
    if (directory === undefined) return undefined;
    const { names } = directory;
    const known = names.get(name);
    if (names.delete(name)) this.#count--;
    if (directory.complete) {
      names.set(name, undefined);
      this.#count++;
      this.#shrink();
    }
    return known;
  }

  /** All names of a directory are known now. */
  complete(dir: number): void {
    this.#directory(dir).complete = true;
    this.#shrink();
  }

  /** Nothing of a directory's names is known any more. */
  forgetDirectory(dir: number): void {
    const directory = this.#directories.get(dir);
    if (directory === undefined) return;
    this.#directories.delete(dir);
    if (directory === this.#last) this.#last = undefined;
    this.#count -= 1 + directory.names.size;
  }

  clear(): void {
    this.#directories.clear();
    this.#last = undefined;
    this.#count = 0;
  }

  #directory(dir: number): Directory {
    let directory = this.#directories.get(dir);
    if (directory === undefined) {
      directory = { names: new Map(), complete: false };
      this.#count++;
    }
    this.#use(dir, directory);
    return directory;
  }

  /** Of all directories this one was used last. */
  #use(dir: number, directory: Directory): void {
    if (directory === this.#last) return;
    this.#directories.delete(dir);
    this.#directories.set(dir, directory);
    this.#last = directory;
  }

  #shrink(): void {
    if (this.#count <= this.#max) return;
    const rest = roomy(this.#max);
    for (const [dir, directory] of this.#directories) {
      if (this.#count <= rest) return;
      if (this.#directories.size > 1) this.forgetDirectory(dir);
      else this.#forgetOldest(directory, this.#count - rest);
      this.#evicted(dir);
    }
  }

  #forgetOldest(directory: Directory, many: number): void {
    directory.complete = false;
    for (const name of directory.names.keys()) {
      if (many-- === 0) return;
      directory.names.delete(name);
      this.#count--;
    }
  }
}
