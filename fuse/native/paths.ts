import { CairnError, codeOf } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import type { FileSystem } from "../core.js";
import type { Caller } from "../types.js";

/** A name in a directory. */
export interface Place {
  readonly dir: number;
  readonly name: Buffer;
}

/**
 * From libfuse's paths to inode numbers. A path is walked by names the core remembers; what it does not, the namenode is asked.
 * Paths hold no symlinks but at their end: the kernel has resolved them.
 */
export class Paths {
  readonly #fs: FileSystem;

  constructor(fs: FileSystem) {
    this.#fs = fs;
  }

  /** Does something with the inode of a path. */
  inode<T>(path: string, caller: Caller, use: (ino: number) => Promise<T>): Promise<T> {
    return this.#retried(path, async () => use(await this.#walk(split(path), caller)));
  }

  /** Does something with the directory and the name that a path ends in. EBUSY for the root. */
  place<T>(path: string, caller: Caller, use: (place: Place) => Promise<T>): Promise<T> {
    return this.#retried(path, async () => use(await this.#place(path, caller)));
  }

  /** As place(), for two paths. */
  places<T>(from: string, to: string, caller: Caller, use: (from: Place, to: Place) => Promise<T>): Promise<T> {
    return this.#retried(from, () =>
      this.#retried(to, async () => use(await this.#place(from, caller), await this.#place(to, caller))),
    );
  }

  async #place(path: string, caller: Caller): Promise<Place> {
    const names = split(path);
    const name = names.pop();
    if (!name) throw new CairnError("EBUSY", "use the root directory as a name");
    return { dir: await this.#walk(names, caller), name };
  }

  async #walk(names: readonly Buffer[], caller: Caller): Promise<number> {
    let ino = ROOT_INO;
    for (const name of names) ino = this.#fs.known(ino, name) ?? (await this.#fs.lookup(ino, name, caller)).ino;
    return ino;
  }

  /** Tries again, asking the namenode for every name, where something remembered of the path has gone (another client's doing). */
  async #retried<T>(path: string, attempt: () => Promise<T>): Promise<T> {
    try {
      return await attempt();
    } catch (err) {
      if (codeOf(err) !== "ESTALE" || !this.#distrust(path)) throw err;
      return await attempt();
    }
  }

  #distrust(path: string): boolean {
    let dir: number | undefined = ROOT_INO;
    for (const name of split(path)) {
      const ino: number | undefined = this.#fs.known(dir, name);
      this.#fs.distrust(dir, name);
      if (ino === undefined) break;
      dir = ino;
    }
    return dir !== ROOT_INO;
  }
}

function split(path: string): Buffer[] {
  const names: Buffer[] = [];
  for (const name of path.split("/")) if (name !== "") names.push(Buffer.from(name, "latin1"));
  return names;
}
