/** A message with some fields changed; itself it stays as it is. */
export function withFields<T extends object>(message: T, change: Partial<T>): T {
  return { ...message, ...change };
}
