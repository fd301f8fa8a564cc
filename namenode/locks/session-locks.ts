import type { LockPiece } from "../../common/lock.js";
import type { FileLocks } from "./file-locks.js";
import { type LockOwner, ownerKey, type Waiter } from "./request.js";

/** What one session has locked and waits for. */
export class SessionLocks {
  /** What waits, by its ticket. */
  readonly tickets = new Map<number, Waiter>();
  readonly #places = new Map<FileLocks, Map<string, LockOwner>>();
  /** Process → pieces that it has locked. */
  readonly #processes = new Map<number, number>();
  #count = 0;

  /** How many pieces are locked. */
  get count(): number {
    return this.#count;
  }

  /** Where it has locked anything, and for whom. */
  *places(): IterableIterator<[FileLocks, LockOwner]> {
    for (const [file, owners] of this.#places) for (const owner of owners.values()) yield [file, owner];
  }

  /** Whether a process has locked anything anywhere. */
  isHolder(pid: number): boolean {
    return this.#processes.has(pid);
  }

  /** What an owner has locked of a file has changed. */
  changed(file: FileLocks, owner: LockOwner, before: readonly LockPiece[], after: readonly LockPiece[]): void {
    this.#count += after.length - before.length;
    for (const { pid } of after) this.#processes.set(pid, (this.#processes.get(pid) ?? 0) + 1);
    for (const { pid } of before) {
      const left = this.#processes.get(pid)! - 1;
      if (left > 0) this.#processes.set(pid, left);
      else this.#processes.delete(pid);
    }
    const owners = this.#places.get(file) ?? new Map<string, LockOwner>();
    this.#places.set(file, owners);
    if (after.length > 0) owners.set(ownerKey(owner), owner);
    else owners.delete(ownerKey(owner));
    if (owners.size === 0) this.#places.delete(file);
  }
}
