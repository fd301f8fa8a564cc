import { MIB } from "../../common/limits.js";
import type { Key } from "./kv.js";
import type { Overlay } from "./overlay.js";

/** Length that stands for "removed". */
const TOMBSTONE = 0xffffffff;
/** Bytes before each entry's key: u16 key length, u32 value length. */
export const ENTRY_HEADER = 6;

/** Entries in one batch, at most: what is encoded in one turn of the event loop, about a millisecond. */
const BATCH_ENTRIES = 2000;
/** Bytes after which a batch ends, at most one entry more. */
const BATCH_BYTES = 1 * MIB;

/** A key with its value; null: it was removed. */
export type Entry = [Key, Uint8Array | null];

/**
 * The entries of an overlay in batches, each one piece of memory that can be handed to another thread. The overlay must
 * not change meanwhile; the event loop may turn between two batches.
 */
export function* encodeBatches(overlay: Overlay): IterableIterator<Buffer<ArrayBuffer>> {
  let entries: Entry[] = [];
  let bytes = 0;
  for (const entry of overlay.entries()) {
    entries.push(entry);
    bytes += ENTRY_HEADER + entry[0].length + (entry[1]?.length ?? 0);
    if (entries.length < BATCH_ENTRIES && bytes < BATCH_BYTES) continue;
    yield encodeBatch(entries, bytes);
    entries = [];
    bytes = 0;
  }
  if (entries.length > 0) yield encodeBatch(entries, bytes);
}

/** Encodes entries; `bytes` is the length of all keys and values, and ENTRY_HEADER for each. */
export function encodeBatch(entries: readonly Entry[], bytes: number): Buffer<ArrayBuffer> {
  const out = Buffer.allocUnsafeSlow(bytes);
  let at = 0;
  for (const [key, value] of entries) {
    out.writeUInt16LE(key.length, at);
    out.writeUInt32LE(value === null ? TOMBSTONE : value.length, at + 2);
    at += ENTRY_HEADER;
    at += out.write(key, at, "latin1");
    if (value !== null) {
      out.set(value, at);
      at += value.length;
    }
  }
  return out;
}

/** The entries of an encoded batch, in order; null for a removed key. Values share memory with the batch. */
export function* decodeBatch(batch: Buffer): IterableIterator<[Key, Buffer | null]> {
  for (let at = 0; at < batch.length; ) {
    const keyEnd = at + ENTRY_HEADER + batch.readUInt16LE(at);
    const length = batch.readUInt32LE(at + 2);
    const key = batch.toString("latin1", at + ENTRY_HEADER, keyEnd);
    at = length === TOMBSTONE ? keyEnd : keyEnd + length;
    yield [key, length === TOMBSTONE ? null : batch.subarray(keyEnd, at)];
  }
}
