import { write } from "node:fs";
import { CairnError, codeOf, messageOf } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import type { KernelCache } from "../types.js";
import { encodeForgetAttributes, encodeForgetContent, encodeForgetName, encodeForgetNames } from "./reply.js";

/** Names that may wait to be forgotten; more, and the kernel forgets all. */
const MAX_NAMES = 4096;
/** Files that may wait to lose their pages: as many as a mount can remember or have open, so that none is left out. */
const MAX_FILES = 131_072;
/** What the kernel answers when it does not have what it is to forget, when the mount has gone, and to what it does not know. */
const EXPECTED = new Set(["ENOENT", "ENODEV", "ENOTDIR", "EINVAL", "ENOTEMPTY", "ECONNABORTED", "EBADF"]);

/** Writes a whole message: as fs.write, in another thread. */
export type Write = (message: Buffer, done: (err: NodeJS.ErrnoException | null) => void) => void;

/** Writes to an open device. */
export function writerOf(fd: number): Write {
  return (message, done) => write(fd, message, done);
}

/**
 * Has the kernel forget what others changed. To forget a name it waits for the directory's lock, and to forget pages for their
 * readers: both may be held by a request that only this process's main thread answers. So these messages are written by another
 * thread, one at a time, in order. What waits is bounded, and said once.
 */
export class Notifier implements KernelCache {
  readonly #write: Write;
  readonly #now: (message: Buffer) => void;
  readonly #log: Logger;
  /** Names that wait, by directory and name. */
  readonly #names = new Map<string, { dir: number; name: Buffer }>();
  readonly #files = new Set<number>();
  /** Those who wait for a file's pages to be forgotten. */
  readonly #waiting = new Map<number, (() => void)[]>();
  #all = false;
  #writing = false;
  #closed = false;

  /**
   * @param write writes what the kernel may wait over
   * @param now writes what it takes at once
   */
  constructor(write: Write, now: (message: Buffer) => void, log: Logger) {
    this.#write = write;
    this.#now = now;
    this.#log = log;
  }

  forgetAttributes(ino: number): void {
    this.#now(encodeForgetAttributes(ino));
  }

  forgetContent(ino: number): void {
    // The size at once: readers ask for what is beyond the old one.
    this.forgetAttributes(ino);
    if (this.#files.size >= MAX_FILES) this.#log.warn({ ino }, "the kernel keeps pages that may be old: too many wait");
    else this.#files.add(ino);
    this.#next();
  }

  /** As forgetContent; resolves when the kernel has none of the pages left. ENOLCK when too many wait. */
  contentForgotten(ino: number): Promise<void> {
    if (this.#closed) return Promise.resolve();
    if (this.#files.size >= MAX_FILES)
      throw new CairnError("ENOLCK", `have the kernel forget inode ${ino}: too many wait`);
    return new Promise((resolve) => {
      this.#waiting.set(ino, [...(this.#waiting.get(ino) ?? []), resolve]);
      this.forgetContent(ino);
    });
  }

  forgetName(dir: number, name: Buffer): void {
    if (this.#all) return;
    this.#names.set(`${dir}/${name.toString("latin1")}`, { dir, name });
    if (this.#names.size > MAX_NAMES) this.forgetNames();
    else this.#next();
  }

  forgetNames(): void {
    this.#all = true;
    this.#names.clear();
    this.#next();
  }

  /** Nothing more is written: the mount has gone. */
  close(): void {
    this.#closed = true;
    for (const waiting of this.#waiting.values()) for (const go of waiting) go();
    this.#waiting.clear();
  }

  #next(): void {
    if (this.#writing || this.#closed) return;
    const next = this.#take();
    if (next === undefined) return;
    this.#writing = true;
    this.#write(next.message, (err) => {
      this.#writing = false;
      for (const go of next.waiting ?? []) go();
      // What an older kernel cannot forget at once it believes for no longer than it was told to.
      if (err !== null && !EXPECTED.has(codeOf(err))) this.#log.error(`have the kernel forget: ${messageOf(err)}`);
      this.#next();
    });
  }

  /** The next message, and who waits for it: all names, then single ones, then pages, which may take long. */
  #take(): { message: Buffer; waiting?: (() => void)[] | undefined } | undefined {
    if (this.#all) {
      this.#all = false;
      return { message: encodeForgetNames() };
    }
    for (const [key, { dir, name }] of this.#names) {
      this.#names.delete(key);
      return { message: encodeForgetName(dir, name) };
    }
    for (const ino of this.#files) {
      this.#files.delete(ino);
      const waiting = this.#waiting.get(ino);
      this.#waiting.delete(ino);
      return { message: encodeForgetContent(ino), waiting };
    }
    return undefined;
  }
}
