import type { Changes, ChangeWatcher, Watch } from "../client/contract.js";
import type { Clock, Timer } from "../common/clock.js";
import { MAX_BLOCKS_PAGE } from "../common/limits.js";
import type { MetadataCache } from "./cache.js";
import type { Holds } from "./holds.js";
import type { KernelCache } from "./types.js";

/** Inodes that wait to be told to the namenode as forgotten, at most. It stops telling of further ones by itself, in time. */
const MAX_FORGOTTEN = 65_536;
/** How often the namenode is told what was forgotten, ms. */
const FORGET_MS = 1000;

/**
 * The mount's side of the namenode's callbacks: what others change is forgotten here and in the kernel, and what is forgotten here
 * the namenode is told, once the kernel cannot believe it any more.
 */
export class Watching implements ChangeWatcher {
  /** The kernel's cache, where it can be told of changes. */
  kernel: KernelCache | undefined;
  readonly #watch: Watch;
  readonly #cache: MetadataCache;
  readonly #holds: Holds;
  readonly #clock: Clock;
  readonly #kernelMs: number;
  /** Inode → when it was forgotten, ms. */
  readonly #forgotten = new Map<number, number>();
  #timer: Timer | undefined;

  /** @param options kernelMs: how long the kernel may believe what it was told, ms */
  constructor(options: { watch: Watch; cache: MetadataCache; holds: Holds; clock: Clock; kernelMs: number }) {
    this.#watch = options.watch;
    this.#cache = options.cache;
    this.#holds = options.holds;
    this.#clock = options.clock;
    this.#kernelMs = options.kernelMs;
    options.watch.attach(this);
  }

  changed({ attributes, contents, names, nameless, forgotten, accessed }: Changes): void {
    for (const { dir, name } of names) {
      const bytes = Buffer.from(name);
      this.#cache.distrustDentry(dir, bytes);
      this.kernel?.forgetName(dir, bytes);
    }
    // First: of what changed otherwise, too, more is to be asked. The kernel finds out in its time.
    for (const { ino, atime } of accessed) this.#cache.accessed(ino, atime);
    for (const ino of attributes) {
      this.#cache.distrust(ino);
      this.kernel?.forgetAttributes(ino);
    }
    for (const ino of contents) this.#forgetContent(ino);
    for (const ino of forgotten) {
      this.#forgetContent(ino);
      this.#cache.distrustDirectory(ino);
    }
    if (forgotten.length > 0) this.kernel?.forgetNames();
    if (nameless.length > 0) this.#holds.nameless(nameless);
  }

  missed(): void {
    this.#cache.distrustAll();
    if (this.kernel === undefined) return;
    this.kernel.forgetNames();
    for (const ino of new Set([...this.#cache.inos(), ...this.#holds.open()])) this.kernel.forgetContent(ino);
  }

  openInodes(): number[] {
    return [...this.#holds.open()];
  }

  /** Something of an inode, or of names in it, is not remembered any more. */
  evicted(ino: number): void {
    if (this.#forgotten.size >= MAX_FORGOTTEN) return;
    this.#forgotten.set(ino, this.#clock.monotonic());
    this.#timer ??= this.#clock.after(FORGET_MS, () => this.#tell());
  }

  #forgetContent(ino: number): void {
    this.#cache.distrust(ino);
    this.#cache.distrustPages(ino);
    this.kernel?.forgetContent(ino);
  }

  #tell(): void {
    this.#timer = undefined;
    const before = this.#clock.monotonic() - this.#kernelMs;
    const inos: number[] = [];
    for (const [ino, when] of this.#forgotten) {
      if (when > before || inos.length === MAX_BLOCKS_PAGE) break;
      this.#forgotten.delete(ino);
      // What is open must not be lost: the namenode goes on telling of it.
      if (this.#cache.remembers(ino) || this.#holds.has(ino)) continue;
      // What was asked before is answered before the namenode hears this: it would not tell of changes.
      this.#cache.distrust(ino);
      this.#cache.distrustDirectory(ino);
      inos.push(ino);
    }
    this.#watch.forget(inos);
    if (this.#forgotten.size > 0) this.#timer = this.#clock.after(FORGET_MS, () => this.#tell());
  }
}
