import { CairnError } from "../common/errors.js";
import { MAX_MESSAGE } from "../common/limits.js";
import { Envelope, type EnvelopeInit } from "./gen/types.js";

/** Bytes in front of the envelope: its length, u16 little endian. */
const PREFIX = 2;
/** Longest envelope. Requests and replies that need more carry it in the body's place: see encodeFrame. */
const MAX_ENVELOPE = 0xffff;
/** In the prefix: the envelope fills the whole message (it is longer than a u16 can say) and there is no body. */
const WHOLE = 0;

/** A received WebSocket message, taken apart. `body` and `raw` share the memory of what was received. */
export interface Frame {
  readonly envelope: Envelope;
  /** Raw bytes beside the message: block data. Empty when there are none. */
  readonly body: Buffer;
  /** The whole WebSocket message, for passing on unchanged. */
  readonly raw: Buffer;
}

/** The bytes of one WebSocket message. EMSGSIZE when it would be longer than MAX_MESSAGE. */
export function encodeFrame(envelope: EnvelopeInit, body?: Uint8Array): Buffer {
  const writer = Envelope.encode(envelope);
  const length = writer.len;
  const whole = length > MAX_ENVELOPE;
  if (whole && body !== undefined && body.length > 0) throw tooLong(length, "it has a body too");
  const total = PREFIX + length + (body?.length ?? 0);
  if (total > MAX_MESSAGE) throw tooLong(total, `the limit is ${MAX_MESSAGE}`);
  const frame = Buffer.allocUnsafe(total);
  frame.writeUInt16LE(whole ? WHOLE : length, 0);
  writer.finishInto(frame, PREFIX);
  if (body !== undefined) frame.set(body, PREFIX + length);
  return frame;
}

/**
 * Builds a message around a body that lies in `buffer` at [from, to) already, so that no body byte is copied: the head is
 * written directly before it. Returns the message, a part of `buffer`. EMSGSIZE when it is too long; RangeError when there is
 * no room for the head.
 */
export function encodeFrameAround(envelope: EnvelopeInit, buffer: Buffer, from: number, to: number): Buffer {
  const writer = Envelope.encode(envelope);
  const { len } = writer;
  const start = from - PREFIX - len;
  if (len > MAX_ENVELOPE) throw tooLong(len, "it has a body too");
  if (start < 0) throw new RangeError(`no room for an envelope of ${len} bytes before offset ${from}`);
  if (to - start > MAX_MESSAGE) throw tooLong(to - start, `the limit is ${MAX_MESSAGE}`);
  buffer.writeUInt16LE(len, start);
  writer.finishInto(buffer, start + PREFIX);
  return buffer.subarray(start, to);
}

function tooLong(bytes: number, why: string): CairnError {
  return new CairnError("EMSGSIZE", `a message of ${bytes} bytes is too long: ${why}`);
}

/** Takes a WebSocket message apart. Throws an Error that says what is wrong with it. */
export function decodeFrame(raw: Buffer): Frame {
  if (raw.length < PREFIX) throw new Error(`message of ${raw.length} bytes is shorter than its prefix`);
  const said = raw.readUInt16LE(0);
  const end = said === WHOLE ? raw.length : PREFIX + said;
  if (end > raw.length) throw new Error(`envelope of ${said} bytes in a message of ${raw.length}`);
  let envelope: Envelope;
  try {
    envelope = Envelope.decode(raw.subarray(PREFIX, end));
  } catch (err) {
    throw new Error("undecodable envelope", { cause: err });
  }
  return { envelope, body: raw.subarray(end), raw };
}
