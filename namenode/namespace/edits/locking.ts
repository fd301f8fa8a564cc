import { lockingKey } from "../keys.js";
import type { Change } from "./change.js";

const NOTHING = new Uint8Array(0);

/** A session is about to have locks. */
export function lockingSession(change: Change, session: number): void {
  change.kv.put(lockingKey(session), NOTHING);
}

/** A session has ended, and with it all its locks. */
export function forgetLocking(change: Change, session: number): void {
  change.kv.delete(lockingKey(session));
}
