/**
 * Waits for all, also when one fails, and throws the first failure: afterwards nothing writes to what they were given any
 * more.
 */
export async function all(promises: readonly Promise<void>[]): Promise<void> {
  if (promises.length === 1) return promises[0];
  for (const result of await Promise.allSettled(promises)) if (result.status === "rejected") throw result.reason;
}
