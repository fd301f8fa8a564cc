import { invariant } from "../../common/errors.js";

/**
 * A key of the store: bytes, as a string with one character (0..255, "latin1") per byte. JavaScript compares such
 * strings as memcmp does, and far faster than Buffers.
 */
export type Key = string;

/** Longest key, bytes: above the longest of ours (a name or attribute of 255 bytes behind a prefix), below LMDB's 1978. */
export const MAX_KEY = 1024;

export interface RangeOptions {
  /** First key, inclusive. */
  gte: Key;
  /** End, exclusive. */
  lt: Key;
  /** From the end to the start. */
  reverse?: boolean;
}

/** An ordered map of binary keys to binary values. The whole state of a namenode is one. */
export interface KeyValue {
  /** The value, or undefined. The bytes must not be changed, and stay as they are. */
  get(key: Key): Uint8Array | undefined;
  /** Sets a value. The store keeps the array: it must not be changed afterwards. Keys have 1 to MAX_KEY bytes. */
  put(key: Key, value: Uint8Array): void;
  /** Removes a key; nothing happens when there is none. */
  delete(key: Key): void;
  /**
   * The entries of a range in order, lazily. The store may be changed while iterating: a change behind the cursor is not
   * seen, one ahead of it is.
   */
  range(options: RangeOptions): IterableIterator<[Key, Uint8Array]>;
}

/** The key after every key that starts with `prefix`: the `lt` of a prefix scan. */
export function prefixEnd(prefix: Key): Key {
  for (let i = prefix.length - 1; i >= 0; i--) {
    const c = prefix.charCodeAt(i);
    if (c < 0xff) return prefix.slice(0, i) + String.fromCharCode(c + 1);
  }
  throw new RangeError("no key follows a prefix of 0xff bytes only");
}

/** Throws InvariantError for a key that is no key: empty, too long, or with a character that is not a byte. */
export function checkKey(key: Key): void {
  let bits = 0;
  for (let i = 0; i < key.length; i++) bits |= key.charCodeAt(i);
  invariant(
    key.length > 0 && key.length <= MAX_KEY && bits <= 0xff,
    () => `a key has 1 to ${MAX_KEY} characters, each a byte: ${JSON.stringify(key.slice(0, 80))}`,
  );
}
