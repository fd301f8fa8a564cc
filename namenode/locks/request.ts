import type { LockSpace } from "../../common/lock.js";
import type { FileLock, TakenLock } from "../../proto/lock.js";

/** Who holds a lock: what the kernel of a mount calls an owner, in one of its two spaces. */
export interface LockOwner {
  readonly session: number;
  readonly space: LockSpace;
  /** As its mount's kernel numbers it. */
  readonly owner: bigint;
}

/** A range of a file that an owner wants, or wants no more (kind undefined). */
export type LockRequest = FileLock & LockOwner;

/** A lock as it is held. */
export type HeldLock = TakenLock & LockOwner;

/** Names an owner in maps. */
export type OwnerKey = string;

export function ownerKey({ session, space, owner }: LockOwner): OwnerKey {
  return `${session}/${space}/${owner}`;
}

/** A request that waits for others to let go. */
export interface Waiter extends HeldLock {
  readonly key: OwnerKey;
  /** The session's number for it. */
  readonly ticket: number;
}
