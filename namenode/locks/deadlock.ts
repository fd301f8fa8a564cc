import type { OwnerKey, Waiter } from "./request.js";

/** Owners looked at in one search, at most. Beyond that a request waits, deadlock or not. */
const MAX_STEPS = 10_000;

/**
 * Whether an owner would wait for itself: one of those in its way waits for another who waits … for it.
 * @param blockers the owners that hold what a waiter wants
 * @param waiting what an owner waits for
 */
export function isDeadlock(
  start: Waiter,
  blockers: (waiter: Waiter) => Iterable<OwnerKey>,
  waiting: (owner: OwnerKey) => Iterable<Waiter>,
): boolean {
  const seen = new Set<OwnerKey>();
  const open: Waiter[] = [start];
  for (let waiter = open.pop(); waiter !== undefined; waiter = open.pop()) {
    for (const owner of blockers(waiter)) {
      if (owner === start.key) return true;
      if (seen.has(owner)) continue;
      if (seen.size === MAX_STEPS) return false;
      seen.add(owner);
      open.push(...waiting(owner));
    }
  }
  return false;
}
