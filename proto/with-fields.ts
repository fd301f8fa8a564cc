/**
 * A message with some fields changed; itself it stays as it is. (Not by a spread: of a decoded one that has only the fields that were
 * sent. The others' defaults are on its prototype. The compiler knows, see gen/types.ts.)
 */
export function withFields<T extends object>(message: T, change: Partial<T>): T {
  return Object.assign(Object.create(Object.getPrototypeOf(message) as object) as T, message, change);
}
