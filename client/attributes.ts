import { type Clock, isLater, type Timestamp } from "../common/clock.js";
import type { Inode } from "../proto/gen/types.js";
import type { AttributeChange } from "./contract.js";

/** Mask of the permission bits of a mode. */
const PERMISSIONS = 0o7777;

/** Attributes with which a file's next commit is sent. */
export interface CommittedAttributes {
  mode?: number;
  uid?: number;
  gid?: number;
  atime?: Timestamp;
  mtime?: Timestamp;
}

/**
 * Changes of a file's attributes that go along with the commit of its content: a file that is made, written, given its owner,
 * mode and times, and closed costs one commit. Until then they are seen in this client only, as the content is.
 */
export class UncommittedAttributes {
  readonly #clock: Clock;
  /** Not sent yet. */
  #waiting: CommittedAttributes | undefined;
  /** Sent, with no reply yet. */
  #sent: CommittedAttributes | undefined;
  /** Of the last change. */
  #ctime: Timestamp | undefined;
  #since = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether there is any change that the namenode is not known to have. */
  get any(): boolean {
    return this.#waiting !== undefined || this.#sent !== undefined;
  }

  /** Since when the oldest change waits to be sent, monotonic ms; undefined when none does. */
  get since(): number | undefined {
    return this.#waiting && this.#since;
  }

  /** Adds a change. "now" is this machine's clock, as for writes. */
  change({ mode, uid, gid, atime, mtime }: AttributeChange): void {
    const now = this.#clock.timestamp();
    if (this.#waiting === undefined) {
      this.#waiting = {};
      this.#since = this.#clock.monotonic();
    }
    const changed = this.#waiting;
    if (mode !== undefined) changed.mode = mode;
    if (uid !== undefined) changed.uid = uid;
    if (gid !== undefined) changed.gid = gid;
    if (atime !== undefined) changed.atime = atime === "now" ? now : atime;
    if (mtime !== undefined) changed.mtime = mtime === "now" ? now : mtime;
    this.#ctime = now;
  }

  /** The file was written: that sets its modification time, whatever was asked for before. */
  written(): void {
    if (this.#waiting !== undefined) delete this.#waiting.mtime;
    if (this.#sent?.mtime === undefined) return;
    const { mtime: _, ...rest } = this.#sent; // a copy: the object itself is on its way
    this.#sent = rest;
  }

  /**
   * Takes what waits, to be sent. settled() must follow.
   * @param last whether nothing that was written is left to be committed later: that would set the modification time again
   */
  take(last: boolean): CommittedAttributes | undefined {
    const waiting = this.#waiting;
    if (waiting === undefined) return undefined;
    const { mtime, ...rest } = waiting;
    if (last || mtime === undefined) {
      this.#waiting = undefined;
      this.#sent = waiting;
    } else if (Object.keys(rest).length > 0) {
      this.#waiting = { mtime };
      this.#sent = rest;
    }
    return this.#sent;
  }

  /** What was taken has been committed, or is lost. */
  settled(): void {
    this.#sent = undefined;
  }

  /** What is not committed is lost. */
  discard(): void {
    this.#waiting = this.#sent = undefined;
  }

  /** An inode with the changes that it does not show yet. */
  over(inode: Inode): Inode {
    if (!this.any) return inode;
    const shown = { ...inode };
    for (const changed of [this.#sent, this.#waiting]) {
      if (changed === undefined) continue;
      const { mode, uid, gid, atime, mtime } = changed;
      if (mode !== undefined) shown.mode = (inode.mode & ~PERMISSIONS) | mode;
      if (uid !== undefined) shown.uid = uid;
      if (gid !== undefined) shown.gid = gid;
      if (atime !== undefined) shown.atime = atime;
      if (mtime !== undefined) shown.mtime = mtime;
    }
    const ctime = this.#ctime;
    if (ctime !== undefined && isLater(ctime, inode.ctime)) shown.ctime = ctime;
    return shown;
  }
}
