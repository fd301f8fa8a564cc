/** How often a condition is looked at, ms. */
const POLL_MS = 20;

/** What is left of a type when it is known to be truthy. */
type Truthy<T> = Exclude<T, false | null | undefined | 0 | "">;

/**
 * Resolves to what `condition` gives as soon as that is truthy. Fails after `timeoutMs` (default 60,000), saying what was
 * waited for.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = 60_000, what }: { timeoutMs?: number; what: string },
): Promise<Truthy<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value as Truthy<T>;
    if (performance.now() >= deadline) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
