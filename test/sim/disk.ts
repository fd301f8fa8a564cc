import { dirname } from "node:path";
import { CairnError } from "../../common/errors.js";
import type { Disk, DiskFile } from "../../datanode/disk.js";
import type { Process } from "./machine.js";
import type { Random } from "./random.js";
import { EPOCH_MS, type Time } from "./time.js";

/** How long an operation takes, ms: least and most; and a sync. */
const OPERATION_MS = [0.01, 0.2] as const;
const SYNC_MS = [0.5, 8] as const;

interface File {
  /** As the kernel has it. */
  data: Buffer;
  length: number;
  /** When it was last written to, ms since 1970. */
  modified: number;
  /** As the platter has it, but for what `unsynced` says. */
  durable: Buffer;
  /** Writes since the last sync, in order: any of them may have got to the platter, the last one in part. */
  unsynced: { readonly at: number; readonly bytes: Buffer }[];
}

/** The names in a directory: what the kernel has, and what is on the platter. */
interface Directory {
  readonly names: Map<string, File | "directory">;
  durable: Map<string, File | "directory">;
  /** When its names last changed, ms since 1970. */
  modified: number;
}

/**
 * What becomes of what was not synced when the power goes: the worst (what was written or made is lost, what was removed is gone), or
 * to each thing as chance has it: the number is the probability that it is on the platter all the same.
 */
export type Fate = "worst" | number;

/** The disks of one machine. They outlive its processes; what was not synced does not outlive its power. */
export class Platter {
  readonly #directories = new Map<string, Directory>([["/", newDirectory(0)]]);
  readonly #random: Random;
  readonly #locks = new Map<string, Process>();
  /** Bytes that all files may have. */
  capacity = 1 << 30;
  /** Paths below these fail with EIO. */
  readonly broken = new Set<string>();
  /** Probability that a read fails. */
  readErrorChance = 0;
  /** Told of everything that a process does to the disks, when it is done. */
  observer: (operation: string) => void = () => {};
  /** Called right before anything on it changes, or gets to the platter: the power may go there. */
  beforeChange: () => void = () => {};

  constructor(random: Random) {
    this.#random = random;
  }

  /** How often the power has gone. */
  boots = 1;

  /** Bytes of all files. */
  used = 0;

  /** When the power last went, or a disk broke, ms of virtual time. */
  lastDisaster = Number.NEGATIVE_INFINITY;

  /** Every file by path. */
  *files(): IterableIterator<[string, File]> {
    for (const [path, { names }] of this.#directories) {
      for (const [name, file] of names) if (file !== "directory") yield [`${path}/${name}`, file];
    }
  }

  /** The power goes. What was not synced meets its fate, names and bytes each their own. */
  losePower(fate: Fate = 0.5): void {
    this.boots++;
    for (const directory of this.#directories.values()) {
      const changed = new Set([...directory.names.keys(), ...directory.durable.keys()]);
      for (const name of changed) {
        const [now, then] = [directory.names.get(name), directory.durable.get(name)];
        // A name may get to the platter unasked.
        if (now === then || (fate === "worst" ? now === undefined : this.#random.chance(fate))) continue;
        if (then === undefined) directory.names.delete(name);
        else directory.names.set(name, then);
      }
      directory.durable = new Map(directory.names);
    }
    const seen = new Set<File>();
    for (const { names } of this.#directories.values()) {
      for (const file of names.values()) if (file !== "directory") seen.add(file);
    }
    for (const file of seen) this.#tear(file, fate);
    for (const path of [...this.#directories.keys()]) if (!this.#isReachable(path)) this.#directories.delete(path);
    this.used = 0;
    for (const [, { length }] of this.files()) this.used += length;
  }

  /** Flips a bit of a file, on the platter and in the cache. */
  flip(file: File, at: number): void {
    if (at >= file.length) return;
    file.data[at]! ^= 0x10;
    if (at < file.durable.length) file.durable[at]! ^= 0x10;
  }

  directory(path: string): Directory {
    const directory = this.#directories.get(path);
    if (directory === undefined) throw new CairnError("ENOENT", `no directory ${path}`);
    return directory;
  }

  makeDirectory(path: string, now = 0): boolean {
    if (this.#directories.has(path)) return false;
    const above = dirname(path);
    this.makeDirectory(above, now);
    this.directory(above).names.set(path.slice(path.lastIndexOf("/") + 1), "directory");
    this.#directories.set(path, newDirectory(now));
    return true;
  }

  lock(path: string, process: Process): void {
    const holder = this.#locks.get(path);
    if (holder?.alive && holder !== process) throw new CairnError("EBUSY", `${path} is in use`);
    this.#locks.set(path, process);
  }

  unlock(path: string): void {
    this.#locks.delete(path);
  }

  #tear(file: File, fate: Fate): void {
    const image = Buffer.alloc(Math.max(file.length, file.durable.length));
    file.durable.copy(image);
    let length = file.durable.length;
    for (const { at, bytes } of file.unsynced) {
      if (fate === "worst" || !this.#random.chance(fate)) continue;
      const kept = this.#random.chance(0.7) ? bytes.length : this.#random.int(0, bytes.length);
      bytes.copy(image, at, 0, kept);
      length = Math.max(length, Math.min(at + kept, image.length));
    }
    file.data = image;
    file.length = length;
    file.durable = Buffer.from(image.subarray(0, length));
    file.unsynced = [];
  }

  #isReachable(path: string): boolean {
    if (path === "/") return true;
    const above = this.#directories.get(dirname(path));
    return above?.names.get(path.slice(path.lastIndexOf("/") + 1)) === "directory" && this.#isReachable(dirname(path));
  }
}

/** A platter in the hands of one process. */
export class SimDisk implements Disk {
  readonly #platter: Platter;
  readonly #process: Process;
  readonly #time: Time;
  readonly #random: Random;

  constructor(platter: Platter, process: Process, time: Time, random: Random) {
    this.#platter = platter;
    this.#process = process;
    this.#time = time;
    this.#random = random;
  }

  open(path: string, how: "create" | "read" | "write"): Promise<DiskFile> {
    const open = () => {
      const directory = this.#platter.directory(dirname(path));
      const { names } = directory;
      const name = nameOf(path);
      let file = names.get(name);
      if (file === "directory") throw new CairnError("EISDIR", `open ${path}`);
      if (how === "create") {
        if (file !== undefined) throw new CairnError("EEXIST", `create ${path}`);
        file = { data: Buffer.alloc(0), length: 0, modified: this.#now, durable: Buffer.alloc(0), unsynced: [] };
        names.set(name, file);
        directory.modified = this.#now;
      }
      if (file === undefined) throw new CairnError("ENOENT", `open ${path}`);
      return this.#file(path, file);
    };
    return how === "create" ? this.#change(how, path, open) : this.#do(how, path, open);
  }

  rename(from: string, to: string): Promise<void> {
    return this.#change("rename", to, () => {
      const source = this.#platter.directory(dirname(from));
      const file = source.names.get(nameOf(from));
      if (file === undefined) throw new CairnError("ENOENT", `rename ${from}`);
      const target = this.#platter.directory(dirname(to));
      const replaced = target.names.get(nameOf(to));
      if (replaced !== undefined && replaced !== "directory") this.#platter.used -= replaced.length;
      source.names.delete(nameOf(from));
      target.names.set(nameOf(to), file);
      source.modified = this.#now;
      target.modified = this.#now;
    });
  }

  unlink(path: string): Promise<void> {
    return this.#change("unlink", path, () => {
      const directory = this.#platter.directory(dirname(path));
      const file = directory.names.get(nameOf(path));
      if (file === undefined || file === "directory") throw new CairnError("ENOENT", `unlink ${path}`);
      directory.names.delete(nameOf(path));
      directory.modified = this.#now;
      this.#platter.used -= file.length;
    });
  }

  makeDirectory(path: string): Promise<boolean> {
    return this.#change("mkdir", path, () => this.#platter.makeDirectory(path, this.#now));
  }

  list(path: string): Promise<string[]> {
    return this.#do("list", path, () => [...this.#platter.directory(path).names.keys()]);
  }

  syncDirectory(path: string): Promise<void> {
    return this.#change("fsyncdir", path, () => this.#syncNames(path), SYNC_MS);
  }

  modified(path: string): Promise<number> {
    return this.#do("stat", path, () => {
      const found = this.#platter.directory(dirname(path)).names.get(nameOf(path));
      if (found === undefined) throw new CairnError("ENOENT", `stat ${path}`);
      return found === "directory" ? this.#platter.directory(path).modified : found.modified;
    });
  }

  async readText(path: string): Promise<string> {
    if (path === "/proc/sys/kernel/random/boot_id")
      return `boot ${this.#platter.boots} of ${this.#process.machine.name}`;
    return this.#do("readText", path, () => {
      const file = this.#platter.directory(dirname(path)).names.get(nameOf(path));
      if (file === undefined || file === "directory") throw new CairnError("ENOENT", `read ${path}`);
      return file.data.toString("utf8", 0, file.length);
    });
  }

  replaceText(path: string, text: string): Promise<void> {
    return this.#change(
      "replace",
      path,
      () => {
        const data = Buffer.from(text);
        const file = { data, length: data.length, modified: this.#now, durable: Buffer.from(data), unsynced: [] };
        this.#platter.directory(dirname(path)).names.set(nameOf(path), file);
        this.#syncNames(dirname(path));
      },
      SYNC_MS,
    );
  }

  space(path: string): Promise<{ capacity: number; free: number }> {
    return this.#do("statfs", path, () => {
      const { capacity, used } = this.#platter;
      return { capacity, free: Math.max(0, capacity - used) };
    });
  }

  async lock(path: string): Promise<() => Promise<void>> {
    await this.#do("lock", path, () => this.#platter.lock(path, this.#process));
    return async () => this.#platter.unlock(path);
  }

  /** As the machine's clock has it, ms since 1970. */
  get #now(): number {
    return EPOCH_MS + this.#process.wallOffset + Math.floor(this.#time.now);
  }

  #file(path: string, file: File): DiskFile {
    return {
      write: (buffers, position) =>
        this.#change("write", path, () => {
          // Taken now, as late as a kernel might: who changes the buffers before this resolves has them written so.
          const bytes = Buffer.concat(buffers);
          const end = position + bytes.length;
          const growth = Math.max(0, end - file.length);
          if (this.#platter.used + growth > this.#platter.capacity) throw new CairnError("ENOSPC", `write ${path}`);
          this.#platter.used += growth;
          if (end > file.data.length) {
            const larger = Buffer.alloc(Math.max(end, file.data.length * 2));
            file.data.copy(larger, 0, 0, file.length);
            file.data = larger;
          }
          bytes.copy(file.data, position);
          file.length = Math.max(file.length, end);
          file.modified = this.#now;
          file.unsynced.push({ at: position, bytes });
        }),
      read: (buffer, offset, length, position) =>
        this.#do("pread", path, () => {
          if (this.#random.chance(this.#platter.readErrorChance)) throw new CairnError("EIO", `read ${path}`);
          const end = Math.min(position + length, file.length);
          const bytesRead = Math.max(0, end - position);
          if (bytesRead > 0) file.data.copy(buffer, offset, position, end);
          return { bytesRead };
        }),
      truncate: (length) =>
        this.#change("truncate", path, () => {
          const data = Buffer.alloc(length);
          file.data.copy(data, 0, 0, Math.min(length, file.length));
          file.data = data;
          this.#platter.used += length - file.length;
          file.length = length;
          // As if it were in the file system's journal: a cut is not undone by what was written before it.
          file.durable = Buffer.from(file.durable.subarray(0, length));
          file.unsynced = file.unsynced
            .filter(({ at }) => at < length)
            .map(({ at, bytes }) => ({ at, bytes: bytes.subarray(0, length - at) }));
        }),
      sync: () =>
        this.#change(
          "sync",
          path,
          () => {
            file.durable = Buffer.from(file.data.subarray(0, file.length));
            file.unsynced = [];
          },
          SYNC_MS,
        ),
      size: () => this.#do("stat", path, () => file.length),
      close: async () => {},
    };
  }

  #syncNames(path: string): void {
    const directory = this.#platter.directory(path);
    directory.durable = new Map(directory.names);
  }

  /** An operation that changes something. Nothing happens, nor is answered, if the power goes right before. */
  #change<T>(what: string, path: string, operation: () => T, ms: readonly [number, number] = OPERATION_MS): Promise<T> {
    return this.#do(what, path, operation, ms, () => this.#platter.beforeChange());
  }

  /** One operation: some time passes before it happens, and after it. A process that has died does nothing. */
  #do<T>(
    what: string,
    path: string,
    operation: () => T,
    [least, most]: readonly [number, number] = OPERATION_MS,
    before = () => {},
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const ms = least + this.#random.next() * (most - least);
      this.#time.after(ms / 2, () =>
        this.#process.run(() => {
          before();
          if (!this.#process.alive) return;
          let outcome: () => void;
          try {
            for (const broken of this.#platter.broken) {
              if (path.startsWith(broken)) throw new CairnError("EIO", `use ${path}, whose disk is broken`);
            }
            const result = operation();
            outcome = () => resolve(result);
            this.#platter.observer(what);
          } catch (err) {
            outcome = () => reject(err);
          }
          this.#time.after(ms / 2, () => this.#process.run(outcome));
        }),
      );
    });
  }
}

function newDirectory(modified: number): Directory {
  return { names: new Map(), durable: new Map(), modified };
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
