import { type CallId, CallRecord, PrunedRecord } from "../../../proto/gen/types.js";
import { callKey, callsOf, callsWithin, sequenceOfCall } from "../keys.js";
import type { Change } from "./change.js";

/** Every how many calls of a session the records it needs no more are looked for: a range scan is dearer than a record. */
const PRUNE_EVERY = 64;
/** Records removed by one call at most. More than PRUNE_EVERY, so that a backlog shrinks. */
const PRUNE_AT_MOST = 1024;

/** Keeps what a call did, for its retry, and removes records that the client needs no more. */
export function recordCall(change: Change, call: CallId): void {
  const { inode, replaced, copied } = change.effects;
  const record = CallRecord.encode({ ino: inode?.ino, index: change.index, replaced: replaced?.ino, copied }).finish();
  change.kv.put(callKey(call.session, call.sequence), record);
  if (call.sequence % PRUNE_EVERY === 0) prune(change, call);
}

/** Starts where the last pruning ended: a scan over what was deleted since the last flush is slow. */
function prune({ kv }: Change, { session, doneBelow }: CallId): void {
  const prunedKey = callKey(session, 0);
  const pruned = kv.get(prunedKey);
  const from = pruned === undefined ? 1 : PrunedRecord.decode(pruned).below;
  if (doneBelow <= from) return;
  let left = PRUNE_AT_MOST;
  let below = doneBelow;
  for (const [key] of kv.range(callsWithin(session, from, doneBelow))) {
    if (left-- === 0) {
      below = sequenceOfCall(key);
      break;
    }
    kv.delete(key);
  }
  kv.put(prunedKey, PrunedRecord.encode({ below }).finish());
}

/** Removes all records of a session's calls. */
export function forgetCalls(change: Change, session: number): void {
  for (const [key] of change.kv.range(callsOf(session))) change.kv.delete(key);
}
