import sortedBtree from "sorted-btree";
import type { Key } from "./kv.js";

// sorted-btree is CommonJS: its default export arrives as a property.
const BTree = sortedBtree.default;

/** Entries per node of the tree of keys. */
const NODE_SIZE = 64;
/** What an entry costs beside its key and value, bytes: its places in map and tree, and the headers of both. */
const ENTRY_OVERHEAD = 160;

function compareKeys(a: Key, b: Key): number {
  return a < b ? -1 : a === b ? 0 : 1;
}

/** Sorted writes in memory. A value of null is a tombstone: it says that the key is gone from whatever lies below. */
export class Overlay {
  // A map for the values and a tree for the order: gets and overwrites, which are most, are four times as fast as in a tree.
  readonly #values = new Map<Key, Uint8Array | null>();
  readonly #keys = new BTree<Key, undefined>(undefined, compareKeys, NODE_SIZE);
  #bytes = 0;
  #version = 0;

  /** Number of keys, tombstones included. */
  get size(): number {
    return this.#values.size;
  }

  /** Memory held, bytes, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Changes whenever a key comes or goes: what was found out about the order of keys is out of date then. */
  get version(): number {
    return this.#version;
  }

  /** The value; null for a tombstone; undefined when nothing is known of the key here. */
  get(key: Key): Uint8Array | null | undefined {
    return this.#values.get(key);
  }

  /** Sets a value, or with null a tombstone. */
  set(key: Key, value: Uint8Array | null): void {
    const old = this.#values.get(key);
    this.#values.set(key, value);
    this.#bytes += value?.length ?? 0;
    if (old !== undefined) {
      this.#bytes -= old?.length ?? 0;
      return;
    }
    this.#keys.set(key, undefined);
    this.#bytes += key.length + ENTRY_OVERHEAD;
    this.#version++;
  }

  /** Forgets a key altogether, where there is nothing below to hide. */
  remove(key: Key): void {
    const old = this.#values.get(key);
    if (old === undefined) return;
    this.#values.delete(key);
    this.#keys.delete(key);
    this.#bytes -= (old?.length ?? 0) + key.length + ENTRY_OVERHEAD;
    this.#version++;
  }

  /** The first key at or after `key`. */
  ceiling(key: Key): Key | undefined {
    return this.#values.has(key) ? key : this.#keys.nextHigherKey(key);
  }

  /** The first key after `key`. */
  higher(key: Key): Key | undefined {
    return this.#keys.nextHigherKey(key);
  }

  /** The last key before `key`. */
  lower(key: Key): Key | undefined {
    return this.#keys.nextLowerKey(key);
  }

  /** Every key in order with its value or tombstone. The overlay must not change meanwhile. */
  *entries(): IterableIterator<[Key, Uint8Array | null]> {
    for (const key of this.#keys.keys()) yield [key, this.#values.get(key)!];
  }
}
