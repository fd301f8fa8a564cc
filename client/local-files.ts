import { constants, readSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { CairnError } from "../common/errors.js";
import type { Readable } from "../proto/block-footer.js";

/** A file of this machine, open for reading. */
export interface LocalFile extends Readable {
  /** Bytes. */
  readonly size: number;
  /** As read, within this turn of the event loop: everything waits for the disk. Returns the bytes read. */
  readNow(buffer: Buffer, position: number): number;
  close(): Promise<void>;
}

/** This machine, as far as short-circuit reads need it. */
export interface LocalFiles {
  /** The kernel's id since it was booted: two processes with the same one share a machine. */
  bootId(): Promise<string>;
  /** How often this process has had to read from a disk so far: what was in the kernel's memory does not count. */
  diskReads(): number;
  /** Opens a regular file. ENOENT, EACCES, EINVAL. */
  open(path: string): Promise<LocalFile>;
}

/** The real machine. */
export const machineFiles: LocalFiles = {
  async bootId() {
    return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  },
  diskReads: () => process.resourceUsage().fsRead,
  async open(path) {
    // O_NONBLOCK: a path that turns out to be a pipe must not keep us waiting for its writer.
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (!stats.isFile()) {
      await handle.close();
      throw new CairnError("EINVAL", `${path} is no regular file`);
    }
    return {
      size: stats.size,
      read: (buffer, offset, length, position) => handle.read(buffer, offset, length, position),
      readNow: (buffer, position) => readSync(handle.fd, buffer, 0, buffer.length, position),
      close: () => handle.close(),
    };
  },
};
