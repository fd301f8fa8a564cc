import type { ReleaseEdit } from "../../../proto/gen/types.js";
import { heldBy, heldKey, holderKey, holdersOf, inoOfHeld, reclaimKey } from "../keys.js";
import type { Change } from "./change.js";

const NOTHING = new Uint8Array(0);

/** An inode has lost its last name, but sessions may have it open: it stays until the last of them gives it up. */
export function hold(change: Change, sessions: number[], ino: number): void {
  for (const session of sessions) {
    change.kv.put(heldKey(session, ino), NOTHING);
    change.kv.put(holderKey(ino, session), NOTHING);
  }
  change.effects.held = { ino, sessions };
}

/** Nobody can reach an inode any more: it goes to the reclaim list. */
export function abandon(change: Change, ino: number): void {
  change.kv.put(reclaimKey(change.index, ino), NOTHING);
  change.effects.reclaimable = true;
}

/** A session needs inodes no more. Those it does not hold are passed over: a repeated call names them again. */
export function release(change: Change, { session, inos }: ReleaseEdit): void {
  for (const ino of inos) giveUp(change, session, ino);
}

/** A session has ended, and with it all it held. */
export function releaseAll(change: Change, session: number): void {
  for (const [key] of change.kv.range(heldBy(session))) giveUp(change, session, inoOfHeld(key));
}

function giveUp(change: Change, session: number, ino: number): void {
  const key = heldKey(session, ino);
  if (change.kv.get(key) === undefined) return;
  change.kv.delete(key);
  change.kv.delete(holderKey(ino, session));
  if (change.kv.range(holdersOf(ino)).next().done) abandon(change, ino);
}
