import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { expect } from "chai";
import fc from "fast-check";
import { KIB, MAX_MESSAGE, MIB } from "../../common/limits.js";
import { type CallContext, Dispatcher } from "../../proto/dispatch.js";
import { receiveInPlace } from "../../proto/in-place.js";
import { MessageBuffers } from "../../proto/message-buffers.js";
import { Echo, Note, Wires } from "../support/echo.js";
import { until } from "../support/until.js";

/** From this size payloads are received where they stay, bytes. */
const LARGE = 16 * KIB;

/** A connection on which the test says what is read, and sees what is handed on. */
class FakeSocket extends EventEmitter {
  readonly pieces: Buffer[] = [];
  readableLength = 0;
  destroyed = false;
  paused = false;
  /** What Node.js itself was asked to handle: the ends of reads that brought nothing. */
  readonly others: number[] = [];
  #target: Buffer = Buffer.alloc(0);
  #result = 0;
  readonly #others = this.others;
  readonly _handle = {
    reading: true,
    onread: (): unknown => this.#others.push(this.#result),
    useUserBuffer: (buffer: Buffer) => {
      this.#target = buffer;
    },
    readStart: () => 0,
    readStop: () => 0,
  };

  constructor() {
    super();
    this.on("data", (piece: Buffer) => this.pieces.push(piece));
  }

  isPaused(): boolean {
    return this.paused;
  }

  begin(buffers = new MessageBuffers()): boolean {
    return receiveInPlace(this as unknown as Socket, buffers, () => this.#result);
  }

  /** The kernel has bytes: they are read as far as there is room, in as many reads as that takes. Returns the sizes of the reads. */
  arrive(bytes: Buffer): number[] {
    const reads: number[] = [];
    for (let at = 0; at < bytes.length; ) {
      expect(this._handle.reading, "reads while it was told to stop").to.equal(true);
      const read = bytes.copy(this.#target, 0, at);
      reads.push(read);
      at += read;
      this.finish(read);
    }
    return reads;
  }

  /** A read ends. */
  finish(result: number): void {
    this.#result = result;
    const next = this._handle.onread();
    if (next instanceof Buffer) this.#target = next;
  }
}

/** A WebSocket frame (RFC 6455, section 5.2) with a payload of some bytes that differ from one frame to the next. */
function frame(length: number, { masked = false, opcode = 2, fin = true, salt = 0 } = {}): Buffer {
  const head = Buffer.alloc(14);
  head[0] = (fin ? 0x80 : 0) | opcode;
  let at = 2;
  if (length < 126) head[1] = length;
  else if (length < 65536) {
    head[1] = 126;
    head.writeUInt16BE(length, 2);
    at = 4;
  } else {
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(length), 2);
    at = 10;
  }
  if (masked) {
    head[1]! |= 0x80;
    head.writeUInt32BE(0x01020304 + salt, at);
    at += 4;
  }
  const payload = Buffer.alloc(Math.min(length, 2 * MAX_MESSAGE));
  for (let i = 0; i < payload.length; i += 1 + (i >> 3)) payload[i] = (i * 7 + salt) & 0xff;
  return Buffer.concat([head.subarray(0, at), payload]);
}

const sizes = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.constantFrom(125, 126, LARGE - 1, LARGE, LARGE + 1, 65535, 65536, 65537),
  fc.integer({ min: 0, max: 150 * KIB }),
);

describe("receiving in place", () => {
  it("hands on exactly what came, and each large payload in one piece, however it is cut up", () => {
    const aFrame = fc.record({ length: sizes, masked: fc.boolean(), fin: fc.boolean() });
    const cuts = fc.array(fc.integer({ min: 1, max: 40 * KIB }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(fc.array(aFrame, { minLength: 1, maxLength: 12 }), cuts, (frames, lengths) => {
        const socket = new FakeSocket();
        expect(socket.begin()).to.equal(true);
        const encoded = frames.map(({ length, ...options }, salt) => frame(length, { ...options, salt }));
        const stream = Buffer.concat(encoded);
        const ends = new Set<number>();
        for (let at = 0, i = 0; at < stream.length; i++) {
          const piece = stream.subarray(at, at + lengths[i % lengths.length]!);
          for (const read of socket.arrive(piece)) {
            at += read;
            ends.add(at);
          }
        }
        expect(Buffer.concat(socket.pieces).equals(stream), "what came").to.equal(true);
        const pieces = new Set<string>();
        let at = 0;
        for (const { length } of socket.pieces) {
          pieces.add(`${at} ${at + length}`);
          at += length;
        }
        let end = 0;
        for (const [i, { length }] of frames.entries()) {
          end += encoded[i]!.length;
          // Whole in one read with its header: nothing is gained by handing it on by itself.
          const begin = end - length;
          const cut = [...ends].some((e) => e >= begin && e < end);
          if (length >= LARGE && cut) expect(pieces.has(`${begin} ${end}`), `frame ${i} in one piece`).to.equal(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("takes one byte at a time", () => {
    const socket = new FakeSocket();
    socket.begin();
    const stream = Buffer.concat([
      frame(3),
      frame(300, { masked: true }),
      frame(LARGE, { masked: true }),
      frame(0),
      frame(9),
    ]);
    for (let i = 0; i < stream.length; i++) socket.arrive(stream.subarray(i, i + 1));
    expect(Buffer.concat(socket.pieces).equals(stream)).to.equal(true);
  });

  it("stops reading when the socket is paused, also within a payload, and goes on", () => {
    const socket = new FakeSocket();
    socket.begin();
    const stream = Buffer.concat([frame(10), frame(5 * LARGE), frame(10)]);
    socket.arrive(stream.subarray(0, 100));
    socket.paused = true;
    socket.arrive(stream.subarray(100, 200));
    expect(socket._handle.reading).to.equal(false);
    socket.emit("resume"); // one that was asked for before the pause
    expect(socket._handle.reading).to.equal(false);
    socket.paused = false;
    socket.emit("resume");
    expect(socket._handle.reading).to.equal(true);
    socket.arrive(stream.subarray(200));
    expect(Buffer.concat(socket.pieces).equals(stream)).to.equal(true);
  });

  it("ends the connection when reading cannot go on", () => {
    const socket = new FakeSocket();
    socket.begin();
    let error: Error | undefined;
    Object.assign(socket, { destroy: (err: Error) => (error = err) });
    socket._handle.readStart = () => -5;
    socket._handle.reading = false;
    socket.emit("resume");
    expect(error?.message).to.match(/error -5/);
  });

  it("leaves the end of a connection, and its errors, to Node.js", () => {
    const socket = new FakeSocket();
    socket.begin();
    socket.arrive(frame(5 * LARGE).subarray(0, 20_000));
    for (const result of [0, -104, -4095]) socket.finish(result);
    expect(socket.others).to.deep.equal([0, -104, -4095]);
  });

  it("takes no memory for what is longer than any message, and hands it on for ws to refuse", () => {
    const socket = new FakeSocket();
    const asked: number[] = [];
    const buffers = new MessageBuffers();
    const take = buffers.take.bind(buffers);
    buffers.take = (length) => {
      asked.push(length);
      return take(length);
    };
    socket.begin(buffers);
    socket.arrive(frame(MAX_MESSAGE).subarray(0, MAX_MESSAGE + 10));
    const long = frame(MAX_MESSAGE + 1);
    socket.arrive(long);
    const endless = frame(200, { masked: true });
    endless.fill(0xff, 1, 14); // 2^64 - 1 bytes
    socket.arrive(endless);
    socket.arrive(frame(LARGE));
    expect(asked).to.deep.equal([MAX_MESSAGE]);
    expect(Buffer.concat(socket.pieces).length).to.equal(2 * MAX_MESSAGE + 21 + endless.length + LARGE + 4);
  });

  it("does nothing where bytes came with the handshake, or Node.js has no such handle", () => {
    const early = new FakeSocket();
    early.readableLength = 3;
    expect(early.begin()).to.equal(false);
    const other = new FakeSocket();
    Object.assign(other._handle, { useUserBuffer: undefined });
    expect(other.begin()).to.equal(false);
  });
});

describe("links that receive in place", () => {
  const wires = new Wires();
  afterEach(() => wires.close());

  it("use the memory of large messages again when its user says so, and not before", async () => {
    const got: CallContext[] = [];
    const dispatcher = new Dispatcher()
      .serve(Echo, { say: () => ({}) })
      .take(Note, { take: (_note, context) => void got.push(context) });
    const server = await wires.listen(dispatcher);
    const link = await wires.connect(server);
    const send = async (fill: number) => {
      link.push(Note.take, {}, Buffer.alloc(MIB, fill));
      const next = got.length + 1;
      await until(() => got.length === next, { what: "the message" });
      return got[next - 1]!;
    };
    const first = await send(1);
    const second = await send(2);
    // More than the message: so it was received in memory that can be used again, which this Node.js allows.
    expect(first.raw.buffer.byteLength).to.be.greaterThan(first.raw.length);
    expect(second.raw.buffer).not.to.equal(first.raw.buffer);
    expect(first.body.equals(Buffer.alloc(MIB, 1))).to.equal(true);
    first.recycle();
    first.recycle();
    const third = await send(3);
    expect(third.raw.buffer).to.equal(first.raw.buffer);
    expect((await send(4)).raw.buffer).not.to.equal(first.raw.buffer);
    for (const [i, context] of [second, third].entries())
      expect(context.body.equals(Buffer.alloc(MIB, i + 2)), `message ${i + 2}`).to.equal(true);
  });

  it("carry messages of all sizes in both directions, many at once", async () => {
    const dispatcher = new Dispatcher().serve(Echo, { say: ({ name }) => ({ value: name }) });
    const server = await wires.listen(dispatcher);
    const link = await wires.connect(server);
    const lengths = [0, 1, 100, LARGE - 40, LARGE, LARGE + 1, 70_000, MIB, MAX_MESSAGE - 100];
    await Promise.all(
      [...lengths, ...lengths, ...lengths].map(async (length, i) => {
        const name = Buffer.alloc(length, i + 1);
        const { value } = await link.call(Echo.say, { name });
        expect(value.equals(name), `${length} bytes`).to.equal(true);
      }),
    );
  });
});

describe("memory of messages", () => {
  it("is taken back once, only if it is from there, and kept up to a bound", () => {
    const buffers = new MessageBuffers();
    const all = Array.from({ length: 40 }, () => buffers.take(MIB));
    expect(new Set(all.map((b) => b.buffer)).size).to.equal(40);
    for (const buffer of all) buffers.giveBack(buffer.subarray(100));
    for (const buffer of all) buffers.giveBack(buffer);
    buffers.giveBack(Buffer.allocUnsafeSlow(all[0]!.buffer.byteLength));
    const before = new Set(all.map((b) => b.buffer));
    const after = Array.from({ length: 40 }, () => buffers.take(MIB));
    expect(new Set(after.map((b) => b.buffer)).size).to.equal(40);
    expect(after.filter((b) => before.has(b.buffer)).length).to.equal(16);
  });

  it("is as long as asked for", () => {
    const buffers = new MessageBuffers();
    for (const length of [1, 100 * KIB, MIB / 4, MIB, MIB + 64 * KIB, MIB + 64 * KIB + 1, MAX_MESSAGE])
      expect(buffers.take(length).length).to.equal(length);
  });
});
