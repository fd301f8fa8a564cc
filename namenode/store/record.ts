// The bytes of a journal segment: a header, records one after the other from multiples of ALIGN on, then zeros.
//
//   header  "CAIRNJ01" | f64 first index | u32 salt | u32 crc32 of what is before
//   record  u32 crc32 of what follows, begun with the salt | u32 length | f64 index | f64 synced | the record | padding
//
// Numbers are little-endian. `synced` is the index up to which records were on the disk when this one was made: a record
// that cannot be read but was on the disk has been damaged; one that was not may have been lost with the power. The salt
// keeps bytes within a record from passing for a record.
import { crc32 } from "@node-rs/crc32";

const MAGIC = Buffer.from("CAIRNJ01", "latin1");
const ALIGN = 8;
/** Bytes of a segment's header. */
export const SEGMENT_HEADER = 24;
/** Bytes of a record's header. */
export const RECORD_HEADER = 24;

/** Where a segment begins, and what its records' checksums begin with. */
export interface SegmentHeader {
  first: number;
  salt: number;
}

/** A valid record within the bytes of a segment. */
export interface FoundRecord {
  index: number;
  synced: number;
  /** Shares memory with the segment's bytes. */
  record: Buffer;
  /** Offset of its header. */
  start: number;
  /** Offset of what follows it. */
  end: number;
}

/** Bytes that a record of `length` takes in a segment. */
export function frameSize(length: number): number {
  return (RECORD_HEADER + length + ALIGN - 1) & -ALIGN;
}

/** A segment's header as bytes. */
export function encodeHeader({ first, salt }: SegmentHeader): Buffer {
  const out = Buffer.alloc(SEGMENT_HEADER);
  MAGIC.copy(out);
  out.writeDoubleLE(first, 8);
  out.writeUInt32LE(salt, 16);
  out.writeUInt32LE(crc32(out.subarray(0, 20)), 20);
  return out;
}

/** The header of a segment's bytes; undefined when they do not begin with one. */
export function decodeHeader(bytes: Buffer): SegmentHeader | undefined {
  if (bytes.length < SEGMENT_HEADER || !bytes.subarray(0, 8).equals(MAGIC)) return undefined;
  if (bytes.readUInt32LE(20) !== crc32(bytes.subarray(0, 20))) return undefined;
  return { first: bytes.readDoubleLE(8), salt: bytes.readUInt32LE(16) };
}

/** Writes a record with its header into `target` at `at`: frameSize(record.length) bytes. */
export function encodeRecord(
  target: Buffer,
  at: number,
  salt: number,
  { index, synced, record }: { index: number; synced: number; record: Uint8Array },
): void {
  const end = at + RECORD_HEADER + record.length;
  target.writeUInt32LE(record.length, at + 4);
  target.writeDoubleLE(index, at + 8);
  target.writeDoubleLE(synced, at + 16);
  target.set(record, at + RECORD_HEADER);
  target.writeUInt32LE(crc32(target.subarray(at + 4, end), salt), at);
  target.fill(0, end, at + frameSize(record.length));
}

/** The record at `at`; undefined when there is no valid one with an index of at least `minIndex`. */
function decodeRecord(bytes: Buffer, at: number, salt: number, minIndex: number): FoundRecord | undefined {
  if (at + RECORD_HEADER > bytes.length) return undefined;
  const index = bytes.readDoubleLE(at + 8);
  if (!(index >= minIndex)) return undefined;
  const end = at + RECORD_HEADER + bytes.readUInt32LE(at + 4);
  if (end > bytes.length) return undefined;
  if (bytes.readUInt32LE(at) !== crc32(bytes.subarray(at + 4, end), salt)) return undefined;
  const record = bytes.subarray(at + RECORD_HEADER, end);
  return { index, synced: bytes.readDoubleLE(at + 16), record, start: at, end: (end + ALIGN - 1) & -ALIGN };
}

/**
 * Every valid record in a segment's bytes, with rising indexes from `minIndex` on. Bytes that are no record are passed over: it is
 * for the caller to see that an index is missing, and to judge.
 */
export function* scanRecords(bytes: Buffer, salt: number, minIndex: number): IterableIterator<FoundRecord> {
  let next = minIndex;
  for (let at = SEGMENT_HEADER; at + RECORD_HEADER <= bytes.length; ) {
    const found = decodeRecord(bytes, at, salt, next);
    if (found) {
      next = found.index + 1;
      at = found.end;
      yield found;
    } else {
      at += ALIGN;
    }
  }
}
