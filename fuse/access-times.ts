import type { InodeAccess, Metadata } from "../client/contract.js";
import { type Clock, isLater, isSameTime, type Timer, type Timestamp } from "../common/clock.js";
import { messageOf } from "../common/errors.js";
import { MAX_ACCESSES } from "../common/limits.js";
import type { Logger } from "../common/log.js";
import { isOfSnapshot } from "../common/snapshots.js";
import type { Inode } from "../proto/gen/types.js";
import type { MetadataCache } from "./cache.js";
import { isDirectory } from "./inode.js";

/** How long an access time waits, with others, to be told to the namenode, ms. */
const TELL_MS = 5000;
/** Access times that wait, at most; with more, reads are not noted. */
const MAX_WAITING = 65_536;
/** Of one handle, a read is looked at once in so many ms. */
const LOOK_MS = 60_000;
/** An access time that is older is set anew though nothing has changed, s. */
const DAY_S = 86_400;

/** Whose access times follow reads, as relatime has it. */
export interface AccessPolicy {
  /** Of all but directories. */
  readonly files: boolean;
  readonly directories: boolean;
}

/** Something that is open to be read. */
export interface Reader {
  /** When a read through it is to be looked at next, monotonic ms. */
  lookAt: number;
}

/**
 * The access times of what programs of this mount read, as relatime has it: set when nothing was read since the last change, or for a
 * day. A read only makes a note, which is seen in this mount at once. The namenode is told in the background, of many at a time. What it
 * cannot be told is lost: nobody waits for it.
 */
export class AccessTimes {
  readonly #meta: Pick<Metadata, "noteAccesses">;
  readonly #cache: Pick<MetadataCache, "accessed" | "distrust">;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #policy: AccessPolicy;
  readonly #waiting = new Map<number, InodeAccess>();
  /** The namenode is being told. */
  readonly #sent = new Map<number, InodeAccess>();
  #telling: Promise<void> | undefined;
  #timer: Timer | undefined;

  constructor(options: {
    meta: Pick<Metadata, "noteAccesses">;
    cache: Pick<MetadataCache, "accessed" | "distrust">;
    clock: Clock;
    log: Logger;
    policy: AccessPolicy;
  }) {
    this.#meta = options.meta;
    this.#cache = options.cache;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#policy = options.policy;
  }

  /** Whether a read of a file through this is to be looked at: called for every read, so it is cheap. */
  isDue(reader: Reader): boolean {
    if (!this.#policy.files) return false;
    const now = this.#clock.monotonic();
    if (now < reader.lookAt) return false;
    reader.lookAt = now + LOOK_MS;
    return true;
  }

  /**
   * An inode is read. What is in a snapshot stays as it is.
   * @param inode as the namenode describes it @returns whether that changed its access time
   */
  read(inode: Inode): boolean {
    if (isOfSnapshot(inode.ino) || !(isDirectory(inode) ? this.#policy.directories : this.#policy.files)) return false;
    const now = this.#clock.timestamp();
    const seen = this.over(inode);
    if (!isOutdated(seen, now)) return false;
    const { ino } = inode;
    const waiting = this.#waiting.get(ino);
    if (waiting === undefined && this.#waiting.size >= MAX_WAITING) return false;
    const before = waiting !== undefined && isSameTime(seen.atime, waiting.atime) ? waiting.before : seen.atime;
    this.#waiting.set(ino, { ino, atime: now, before });
    this.#tellSoon();
    return true;
  }

  /** An inode with its access time as this mount knows it. */
  over(inode: Inode): Inode {
    if (this.#waiting.size === 0 && this.#sent.size === 0) return inode;
    return noted(noted(inode, this.#sent.get(inode.ino)), this.#waiting.get(inode.ino));
  }

  /** An inode's access time is being set to something else. */
  set(ino: number): void {
    this.#waiting.delete(ino);
    this.#sent.delete(ino);
  }

  /** The namenode has been told of everything, or could not be. */
  async flush(): Promise<void> {
    await this.#telling; // it began before
    await this.#tell();
  }

  #tellSoon(): void {
    this.#timer ??= this.#clock.after(TELL_MS, () => {
      this.#timer = undefined;
      void this.#tell();
    });
  }

  #tell(): Promise<void> {
    this.#telling ??= this.#tellAll().finally(() => {
      this.#telling = undefined;
      if (this.#waiting.size > 0) this.#tellSoon();
    });
    return this.#telling;
  }

  /** One message at a time: the namenode has other things to do. */
  async #tellAll(): Promise<void> {
    for (let left = this.#waiting.size; left > 0; left -= MAX_ACCESSES) {
      const accesses: InodeAccess[] = [];
      for (const [ino, access] of this.#waiting) {
        if (accesses.length === MAX_ACCESSES) break;
        accesses.push(access);
        this.#waiting.delete(ino);
        this.#sent.set(ino, access);
      }
      if (accesses.length === 0) return;
      try {
        const passed = new Set(await this.#meta.noteAccesses(accesses));
        for (const { ino, atime, before } of accesses) {
          if (passed.has(ino)) this.#cache.distrust(ino);
          else this.#cache.accessed(ino, atime, before);
        }
      } catch (err) {
        this.#log.debug({ inodes: accesses.length }, `access times are lost: ${messageOf(err)}`);
      }
      this.#sent.clear();
    }
  }
}

function isOutdated({ atime, mtime, ctime }: Inode, now: Timestamp): boolean {
  return !isLater(atime, mtime) || !isLater(atime, ctime) || now.sec - atime.sec >= DAY_S;
}

/** An inode after an access that the namenode may not know of; as it is when its access time was set since. */
function noted(inode: Inode, access: InodeAccess | undefined): Inode {
  if (access === undefined || !isSameTime(inode.atime, access.before)) return inode;
  return { ...inode, atime: access.atime };
}
