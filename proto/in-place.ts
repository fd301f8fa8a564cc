import type { Socket } from "node:net";
import { CairnError } from "../common/errors.js";
import { KIB, MAX_MESSAGE } from "../common/limits.js";
import type { MessageBuffers } from "./message-buffers.js";

/** Longest header of a WebSocket frame, bytes: two, eight for the length, four for the mask (RFC 6455, section 5.2). */
const MAX_HEADER = 14;
/** What is read at once where a header is expected, bytes. */
const READ_BYTES = 16 * KIB;
/** Payloads from this size are received where they stay, bytes. */
const IN_PLACE_BYTES = 16 * KIB;

/** Node's handle of a connection: what net.Socket with its option `onread` makes of it, which cannot be asked for later. */
interface StreamHandle {
  reading: boolean;
  onread: (this: StreamHandle, data?: ArrayBuffer) => unknown;
  useUserBuffer?(buffer: Buffer): void;
  readStart(): number;
  readStop(): number;
}

/** What a handle says of the read it tells of. */
interface StreamState {
  streamBaseState?: Int32Array;
  kReadBytesOrError?: number;
}

/** Where the memory for payloads comes from. */
type Memory = Pick<MessageBuffers, "take">;

/**
 * Where headers are read, by all connections in turn: what is read is taken out of it at once. In front there is room for the part of a
 * header that came before.
 */
const shared = Buffer.allocUnsafeSlow(MAX_HEADER + READ_BYTES);
const forHeaders = shared.subarray(MAX_HEADER);

/**
 * Has the payloads of a WebSocket's connection received where they stay. By itself Node.js reads 64 KiB into fresh memory each time, and
 * ws copies these pieces into one message: 0.75 ms of processor time for a MiB, instead of 0.5, or 0.25 in memory that is used again (docs/performance.md). ws still reads and
 * checks everything: it is only handed each large payload as one piece, which it takes without copying.
 * To be called when ws has just taken the connection over and nothing was read yet. False, and nothing changes, where this
 * Node.js has no such handle.
 * @param bytesRead tells of the read that a handle calls onread for: its bytes, or its error (negative)
 */
export function receiveInPlace(socket: Socket, buffers: Memory, bytesRead = readResult()): boolean {
  const { _handle: handle } = socket as unknown as { _handle: StreamHandle | null };
  if (typeof handle?.useUserBuffer !== "function" || bytesRead === undefined) return false;
  if (socket.readableLength > 0) return false; // what came with the handshake: ws would see it out of turn
  new InPlaceReader(socket, handle, bytesRead, buffers).start();
  return true;
}

/** Where Node.js says how a read went. */
function readResult(): (() => number) | undefined {
  const { binding } = process as unknown as { binding(name: string): unknown };
  try {
    const { streamBaseState, kReadBytesOrError } = binding.call(process, "stream_wrap") as StreamState;
    if (streamBaseState === undefined || kReadBytesOrError === undefined) return undefined;
    return () => streamBaseState[kReadBytesOrError]!;
  } catch {
    return undefined; // a Node.js without it: the ordinary way works, too
  }
}

/** Follows the frames of one connection, to know where payloads begin and end. */
class InPlaceReader {
  readonly #socket: Socket;
  readonly #handle: StreamHandle;
  readonly #bytesRead: () => number;
  readonly #buffers: Memory;
  /** The payload that is being received, and how much of it is there. */
  #payload: Buffer | undefined;
  #filled = 0;
  /** The beginning of a header whose end has not come. */
  #header: Buffer | undefined;
  /** Bytes of a small payload that are still to come. */
  #rest = 0;

  constructor(socket: Socket, handle: StreamHandle, bytesRead: () => number, buffers: Memory) {
    this.#socket = socket;
    this.#handle = handle;
    this.#bytesRead = bytesRead;
    this.#buffers = buffers;
  }

  start(): void {
    const handle = this.#handle;
    const otherwise = handle.onread;
    const onRead = () => this.#onRead();
    handle.useUserBuffer!(forHeaders);
    handle.onread = function (data) {
      // The end, and errors, are Node's own business.
      return onRead() ?? otherwise.call(this, data);
    };
    this.#socket.on("resume", () => this.#resume());
  }

  /** Returns the buffer for the next read; undefined when nothing was read. */
  #onRead(): Buffer | undefined {
    const bytes = this.#bytesRead();
    if (bytes <= 0) return undefined;
    if (this.#payload === undefined) this.#found(bytes);
    else this.#received(this.#payload, bytes);
    if (this.#socket.isPaused()) this.#check(this.#stop());
    return this.#payload?.subarray(this.#filled) ?? forHeaders;
  }

  #received(payload: Buffer, bytes: number): void {
    this.#filled += bytes;
    if (this.#filled < payload.length) return;
    this.#payload = undefined;
    this.#hand(payload);
  }

  /** Bytes were read where headers are expected. */
  #found(bytes: number): void {
    const from = MAX_HEADER - (this.#header?.copy(shared, MAX_HEADER - this.#header.length) ?? 0);
    const end = MAX_HEADER + bytes;
    this.#header = undefined;
    let at = from;
    while (at < end) {
      if (this.#rest > 0) {
        const passed = Math.min(this.#rest, end - at);
        this.#rest -= passed;
        at += passed;
        continue;
      }
      const payload = at + headerLength(at, end);
      if (payload > end) {
        this.#header = Buffer.from(shared.subarray(at, end));
        break;
      }
      const length = payloadLength(at);
      if (length >= IN_PLACE_BYTES && length > end - payload && length <= MAX_MESSAGE) {
        return this.#begin(length, from, payload, end);
      }
      this.#rest = length; // what is too long ws refuses; it is not kept here
      at = payload;
    }
    if (at > from) this.#hand(Buffer.from(shared.subarray(from, at)));
  }

  /** The payload of the frame whose header ends at `payload` goes into memory of its own. */
  #begin(length: number, from: number, payload: number, end: number): void {
    const buffer = this.#buffers.take(length);
    this.#filled = shared.copy(buffer, 0, payload, end);
    this.#payload = buffer;
    this.#hand(Buffer.from(shared.subarray(from, payload)));
  }

  /** ws listens to the socket, as to any. */
  #hand(piece: Buffer): void {
    this.#socket.emit("data", piece);
  }

  #stop(): number {
    this.#handle.reading = false;
    return this.#handle.readStop();
  }

  #resume(): void {
    if (this.#handle.reading || this.#socket.destroyed || this.#socket.isPaused()) return;
    this.#handle.reading = true;
    this.#check(this.#handle.readStart());
  }

  #check(error: number): void {
    if (error !== 0 && !this.#socket.destroyed) {
      this.#socket.destroy(new CairnError("EIO", `read from a connection: error ${error}`));
    }
  }
}

/** How long the header at `at` is; MAX_HEADER when too little of it is there (before `end`) to say. */
function headerLength(at: number, end: number): number {
  if (end - at < 2) return MAX_HEADER;
  const second = shared[at + 1]!;
  const said = second & 0x7f;
  return 2 + (said === 127 ? 8 : said === 126 ? 2 : 0) + (second & 0x80 ? 4 : 0);
}

/** How long the payload is whose frame's header is at `at`, bytes. */
function payloadLength(at: number): number {
  const said = shared[at + 1]! & 0x7f;
  if (said < 126) return said;
  if (said === 126) return shared.readUInt16BE(at + 2);
  return shared.readUInt32BE(at + 2) * 2 ** 32 + shared.readUInt32BE(at + 6);
}
