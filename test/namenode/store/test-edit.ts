import { expect } from "chai";
import type { KeyValue } from "../../../namenode/store/kv.js";
import type { Storage } from "../../../namenode/store/storage.js";

/** Keys that the edits of the crash test go round. */
const KEYS = 3000;

const keyOf = (n: number) => `key${n % KEYS}`;
const valueFor = (index: number) => Buffer.from(`edit ${index} `.repeat(index % 9));

/** An edit that puts two keys and deletes one; which, follows from its index. */
export function applyTestEdit(kv: KeyValue, index: number): void {
  kv.put(keyOf(index * 7), valueFor(index));
  kv.put(keyOf(index * 13 + 1), valueFor(index));
  kv.delete(keyOf(index * 11 + 5));
}

/** What the journal keeps of it. */
export function encodeTestEdit(index: number): Buffer {
  return Buffer.from(`edit ${index} `.repeat(1 + (index % 30)));
}

/** Applies the journal's edits that the store has not, as a start does. */
export function replay({ store, journal }: Storage): void {
  for (const { index, record } of journal.read(store.appliedIndex + 1)) {
    expect(Buffer.from(record).equals(encodeTestEdit(index))).equal(true);
    applyTestEdit(store, index);
    store.setIndex(index);
  }
}
