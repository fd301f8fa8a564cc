import type { Key } from "./kv.js";
import type { Overlay } from "./overlay.js";

/** Length that stands for "removed". */
const TOMBSTONE = 0xffffffff;
/** Bytes before each entry's key: u16 key length, u32 value length. */
const ENTRY_HEADER = 6;

/** An overlay as one piece of memory, to be handed to the thread that writes it. Owns its ArrayBuffer alone. */
export function encodeBatch(overlay: Overlay): Buffer<ArrayBuffer> {
  // overlay.bytes counts more per entry than ENTRY_HEADER.
  const out = Buffer.allocUnsafeSlow(overlay.bytes);
  let at = 0;
  for (const [key, value] of overlay.entries()) {
    out.writeUInt16LE(key.length, at);
    out.writeUInt32LE(value === null ? TOMBSTONE : value.length, at + 2);
    at += ENTRY_HEADER;
    at += out.write(key, at, "latin1");
    if (value !== null) {
      out.set(value, at);
      at += value.length;
    }
  }
  return out.subarray(0, at);
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
