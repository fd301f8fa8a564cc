// How the generated code (gen/types.ts) reads and writes messages, where protobufjs's reader and writer do not suffice.
import protobuf, { type Reader, type Writer } from "protobufjs/minimal.js";
import { MIB } from "../common/limits.js";

// 64-bit fields are plain numbers here: ids, sizes and times stay below 2^53, which is checked where they are used. With
// the `long` package installed (a dependency of others), protobufjs would make objects of them.
(protobuf.util as { Long: unknown }).Long = null;
protobuf.configure();

/** No bytes: what a field of bytes has that was not sent. */
export const NO_BYTES: Buffer = Buffer.alloc(0);
/** No elements: what a repeated field has that was not sent. Cannot be added to. */
export const NONE: never[] = [];
Object.freeze(NONE);

/** The writer's memory is given up after a message that needed more, bytes. */
const KEPT = 1 * MIB;
const MAX_UINT32 = 0xffffffff;

let writer = protobuf.Writer.create();

/**
 * The one writer that all messages are encoded with, emptied: memory is taken only for what comes of it. What is in it lasts until the next
 * message is encoded.
 */
export function scratch(): Writer {
  const { buf, states } = writer as unknown as { buf: Uint8Array; states: number[] | null };
  // Open states are those of a message that could not be encoded.
  if (buf.length > KEPT || (states !== null && states.length > 0)) writer = protobuf.Writer.create();
  return writer.reset();
}

/** Reads a message from its bytes. */
export function readerOf(bytes: Uint8Array): Reader {
  return protobuf.Reader.create(bytes);
}

/** Reads a message within another. RangeError when it is longer than that one. */
export function nested<T>(r: Reader, decode: (r: Reader) => T): T {
  const length = r.size();
  const end = r.pos + length;
  const outer = r.len;
  if (end > outer) throw new RangeError(`a message of ${length} bytes at ${r.pos} of ${outer}`);
  r.len = end;
  const message = decode(r);
  if (r.pos !== end) throw new RangeError(`a message that ends at ${end} is read up to ${r.pos}`);
  r.len = outer;
  return message;
}

/** Reads the elements of a repeated field that lie side by side, after those that were read already. */
export function packed<T>(r: Reader, before: readonly T[], read: (r: Reader) => T): T[] {
  return nested(r, () => {
    const all = [...before];
    while (r.pos < r.len) all.push(read(r));
    return all;
  });
}

/** Passes over a field that this software does not know. */
export function skip(r: Reader, tag: number): void {
  r.skipType(tag & 7, 0, tag >>> 3);
}

/** Reads a number, as a plain one: by far the most are below 2^28, and need no more than one of 32 bits does. */
export function readUint64(r: Reader): number {
  const { buf, pos } = r;
  // The continuation bit of the fourth byte decides; bytes beyond the end are undefined, which is none.
  if (pos + 4 <= r.len && (buf[pos]! & buf[pos + 1]! & buf[pos + 2]! & buf[pos + 3]! & 0x80) === 0) return r.uint32();
  return r.uint64() as unknown as number;
}

/** Reads a number that may be negative, as a plain one. */
export function readInt64(r: Reader): number {
  return r.int64() as unknown as number;
}

/** Reads a number of eight bytes, as a plain one. */
export function readFixed64(r: Reader): number {
  return r.fixed64() as unknown as number;
}

/** Writes a number of up to 2^53. */
export function writeUint64(w: Writer, value: number): Writer {
  return value >= 0 && value <= MAX_UINT32 ? w.uint32(value) : w.uint64(value);
}
