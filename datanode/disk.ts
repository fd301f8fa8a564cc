import fs, { constants } from "node:fs";
import { mkdir, open, readdir, readFile, rename, stat, statfs, unlink } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { CairnError } from "../common/errors.js";

/** Buffers one write takes at most (IOV_MAX of Linux). */
export const MAX_VECTOR = 1024;
/** Block files: their owner writes; readers on the same machine prove by the group that they may open them. */
const FILE_MODE = 0o640;

/** An open file. */
export interface DiskFile {
  /** Writes all of the buffers (at most MAX_VECTOR), one after the other, at a position. */
  write(buffers: readonly Buffer[], position: number): Promise<void>;
  read(buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  truncate(length: number): Promise<void>;
  /** Brings data and size to the platter. */
  sync(): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

/** What a datanode needs of its disks. Errors carry the errno of the system; callers say what was attempted. */
export interface Disk {
  /** Makes a new file for reading and writing (EEXIST), or opens an existing one. */
  open(path: string, how: "create" | "read" | "write"): Promise<DiskFile>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Makes a directory and those above it; true when it was not there before. */
  makeDirectory(path: string): Promise<boolean>;
  /** The names in a directory. ENOENT. */
  list(path: string): Promise<string[]>;
  /** Brings the names in a directory to the platter. */
  syncDirectory(path: string): Promise<void>;
  /** When a file was written to last, or the names in a directory changed: ms since 1970. ENOENT. */
  modified(path: string): Promise<number>;
  /** A small file. ENOENT. */
  readText(path: string): Promise<string>;
  /** Replaces a small file atomically and durably. */
  replaceText(path: string, text: string): Promise<void>;
  /** Bytes of the file system that a directory is on. */
  space(path: string): Promise<{ capacity: number; free: number }>;
  /** Takes a directory for this process alone until the returned function is called. EBUSY when another has it. */
  lock(path: string): Promise<() => Promise<void>>;
}

/** The machine's disks. Linux. */
export class RealDisk implements Disk {
  async open(path: string, how: "create" | "read" | "write"): Promise<DiskFile> {
    const flags = how === "create" ? "wx+" : how === "read" ? "r" : "r+";
    return new RealFile(await openDescriptor(path, flags, FILE_MODE));
  }

  rename(from: string, to: string): Promise<void> {
    return rename(from, to);
  }

  unlink(path: string): Promise<void> {
    return unlink(path);
  }

  async makeDirectory(path: string): Promise<boolean> {
    return (await mkdir(path, { recursive: true, mode: 0o750 })) !== undefined;
  }

  list(path: string): Promise<string[]> {
    return readdir(path);
  }

  async syncDirectory(path: string): Promise<void> {
    const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  async modified(path: string): Promise<number> {
    return (await stat(path)).mtimeMs;
  }

  readText(path: string): Promise<string> {
    return readFile(path, "utf8");
  }

  async replaceText(path: string, text: string): Promise<void> {
    const beside = `${path}.new`;
    const file = await open(beside, "w", FILE_MODE);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
    await this.syncDirectory(dirname(path));
  }

  async space(path: string): Promise<{ capacity: number; free: number }> {
    const { bsize, blocks, bavail } = await statfs(path);
    return { capacity: blocks * bsize, free: bavail * bsize };
  }

  /**
   * By a socket in the abstract namespace, named after the directory's device and inode: the kernel lets one process have
   * it, and takes it back whatever the process dies of.
   */
  async lock(path: string): Promise<() => Promise<void>> {
    const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    const { dev, ino } = await directory.stat({ bigint: true }).finally(() => directory.close());
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve, reject) => {
      server.once("error", (err: NodeJS.ErrnoException) =>
        reject(
          err.code === "EADDRINUSE"
            ? new CairnError("EBUSY", `${path} is in use by another datanode process`)
            : new CairnError(err.code ?? "EIO", `cannot lock ${path}`, err),
        ),
      );
      server.listen(`\0cairnfs-volume-${dev}-${ino}`, resolve);
    });
    server.unref();
    return () => new Promise((resolve) => server.close(() => resolve()));
  }
}

// Plain descriptors: less work for every operation than a FileHandle, and they can be closed without a trip to a thread.
const openDescriptor = promisify(fs.open);
const read = promisify(fs.read);
const writev = promisify(fs.writev);
const ftruncate = promisify(fs.ftruncate);
const fdatasync = promisify(fs.fdatasync);
const fstat = promisify(fs.fstat);

class RealFile implements DiskFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  async write(buffers: readonly Buffer[], position: number): Promise<void> {
    let rest = buffers;
    for (let at = position; rest.length > 0; ) {
      const { bytesWritten } = await writev(this.#fd, rest, at);
      at += bytesWritten;
      rest = without(rest, bytesWritten);
    }
  }

  read(buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }> {
    return read(this.#fd, buffer, offset, length, position);
  }

  truncate(length: number): Promise<void> {
    return ftruncate(this.#fd, length);
  }

  sync(): Promise<void> {
    return fdatasync(this.#fd);
  }

  async size(): Promise<number> {
    return (await fstat(this.#fd)).size;
  }

  /** Closing a file of a local disk does not wait for anything. */
  async close(): Promise<void> {
    fs.closeSync(this.#fd);
  }
}

/** What is left of the buffers after their first bytes: a write may be cut short. */
function without(buffers: readonly Buffer[], bytes: number): readonly Buffer[] {
  let left = bytes;
  for (let i = 0; i < buffers.length; i++) {
    const buffer = buffers[i]!;
    if (left < buffer.length) return [buffer.subarray(left), ...buffers.slice(i + 1)];
    left -= buffer.length;
  }
  return [];
}
