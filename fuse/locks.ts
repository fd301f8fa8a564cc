import type { FileLocks, LockPlace, LostLocks } from "../client/contract.js";
import { codeOf, InvariantError, messageOf } from "../common/errors.js";
import { LAST_BYTE } from "../common/lock.js";
import type { Logger } from "../common/log.js";
import type { FileLock, TakenLock } from "../proto/lock.js";
import type { FileHandles } from "./files.js";

/** A lock as a program asks for it, through a file that it has open. */
export type LockAsked = Omit<FileLock, "ino">;

/** An owner's locks on a file, and the handles through which it has asked for them. */
interface Place {
  readonly place: LockPlace;
  readonly handles: Set<number>;
}

/**
 * The locks of this mount's programs: what they hold is the client's to know; when it ends with a file being closed, and what is
 * written and read under a lock, is told here.
 */
export class MountLocks {
  readonly #locks: FileLocks;
  readonly #files: FileHandles;
  readonly #refresh: (ino: number) => Promise<boolean>;
  readonly #log: Logger;
  readonly #places = new Map<string, Place>();
  readonly #byHandle = new Map<number, Set<Place>>();
  #used = false;

  /** @param refresh has reads see what others have committed to a file; resolves to whether the kernel's pages of it may stay */
  constructor(locks: FileLocks, files: FileHandles, refresh: (ino: number) => Promise<boolean>, log: Logger) {
    this.#locks = locks;
    this.#files = files;
    this.#refresh = refresh;
    this.#log = log;
    locks.onLost((lost) => this.#lost(lost));
  }

  /** Whether any program has asked for a range since this mount began: then it matters who closes which file. */
  get areUsed(): boolean {
    return this.#used;
  }

  /** The first lock in the way of one. EBADF. */
  test(handle: number, asked: Omit<TakenLock, "ino">): Promise<TakenLock | undefined> {
    return this.#locks.test({ ...asked, ino: this.#files.ino(handle) });
  }

  /**
   * Locks, or unlocks, after what was written has been committed: whoever has the lock next is to see it. As FileLocks.set, and
   * EBADF; EIO through a handle whose locks were lost. Resolves to whether the kernel's pages of the file may stay.
   */
  async set(handle: number, asked: LockAsked, how: { wait: boolean; signal: AbortSignal }): Promise<boolean> {
    const lock = { ...asked, ino: this.#files.ino(handle) };
    if (lock.kind === undefined) {
      await this.#unlock(lock);
      return true;
    }
    this.#files.check(handle);
    if (lock.kind === "shared" && this.#locks.holds(lock)) await this.#files.commit(lock.ino);
    this.#note(handle, lock);
    await this.#locks.set(lock, how);
    try {
      return await this.#refresh(lock.ino);
    } catch (err) {
      // It has no name left, and so no other mount can open and change it.
      if (codeOf(err) === "ESTALE") return true;
      await this.#unlock({ ...lock, kind: undefined });
      throw err;
    }
  }

  /** A process has closed one of its descriptors of a file: none of its ranges of it stays locked. */
  async closed(ino: number, owner: bigint): Promise<void> {
    const entry = this.#places.get(keyOf({ ino, space: "range", owner }));
    if (entry === undefined) return;
    for (const handle of [...entry.handles]) this.#forget(handle, entry);
    await this.#unlock(allOf(entry.place));
  }

  /**
   * A handle is about to be released: what comes back is to be called when all that was written is committed. It unlocks what was
   * locked through this handle and no other. Never throws: nobody could hear it.
   */
  released(handle: number): () => Promise<void> {
    const entries = [...(this.#byHandle.get(handle) ?? [])];
    for (const entry of entries) this.#forget(handle, entry);
    return async () => {
      for (const { place, handles } of entries) {
        if (handles.size === 0) await this.#unlock(allOf(place)).catch((err: unknown) => this.#leaked(place, err));
      }
    };
  }

  async #unlock(lock: FileLock): Promise<void> {
    if (!this.#locks.holds(lock)) return;
    await this.#files.commit(lock.ino);
    await this.#locks.set(lock);
  }

  #note(handle: number, { ino, space, owner }: LockPlace): void {
    if (space === "range") this.#used = true;
    const key = keyOf({ ino, space, owner });
    const entry = this.#places.get(key) ?? { place: { ino, space, owner }, handles: new Set() };
    this.#places.set(key, entry);
    entry.handles.add(handle);
    const entries = this.#byHandle.get(handle) ?? new Set();
    this.#byHandle.set(handle, entries.add(entry));
  }

  #forget(handle: number, entry: Place): void {
    entry.handles.delete(handle);
    if (entry.handles.size === 0) this.#places.delete(keyOf(entry.place));
    const entries = this.#byHandle.get(handle);
    entries?.delete(entry);
    if (entries?.size === 0) this.#byHandle.delete(handle);
  }

  /** What was read, was written or will be written under a lost lock is not to be trusted: others may have the lock by now. */
  #lost(lost: readonly LostLocks[]): void {
    for (const place of lost) {
      for (const handle of this.#places.get(keyOf(place))?.handles ?? []) this.#files.lose(handle);
      if (place.exclusive) this.#files.discard(place.ino);
    }
  }

  #leaked(place: LockPlace, err: unknown): void {
    if (err instanceof InvariantError) throw err;
    this.#log.error({ ino: place.ino }, `unlocking a file that was closed failed: ${messageOf(err)}`);
  }
}

/** Unlocks all that an owner holds of a file. */
function allOf(place: LockPlace): FileLock {
  return { ...place, kind: undefined, first: 0n, last: LAST_BYTE, pid: 0 };
}

function keyOf({ ino, space, owner }: LockPlace): string {
  return `${ino}/${space}/${owner}`;
}
