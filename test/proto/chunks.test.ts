import { randomBytes } from "node:crypto";
import { expect } from "chai";
import fc from "fast-check";
import { CairnError } from "../../common/errors.js";
import { CHUNK_SIZE, MAX_BLOCK_CHUNKS, MAX_CHUNKS } from "../../common/limits.js";
import { decodeFooter, encodeFooter, readFooter } from "../../proto/block-footer.js";
import { ChunkTable } from "../../proto/chunk-table.js";
import { checkChunks, checkShape, decodeChunks, encodeChunks, lengthOf } from "../../proto/chunks.js";
import { Compression } from "../../proto/gen/types.js";

const { RAW, LZ4 } = Compression;

/** Data that compresses in part: runs of text and of noise, as a seed and a length say. */
function mixed(length: number, noisy: (piece: number) => boolean): Buffer {
  const data = Buffer.alloc(length);
  for (let at = 0, piece = 0; at < length; at += 10_000, piece++) {
    const part = data.subarray(at, at + 10_000);
    if (noisy(piece)) part.set(randomBytes(part.length));
    else part.fill(`piece ${piece} `);
  }
  return data;
}

function codeThrown(fn: () => unknown): string {
  try {
    fn();
  } catch (err) {
    expect(err).to.be.instanceOf(CairnError);
    return (err as CairnError).code;
  }
  return "nothing thrown";
}

describe("chunks", () => {
  it("leave raw data where it is, in pieces of CHUNK_SIZE", () => {
    const data = randomBytes(2 * CHUNK_SIZE + 5);
    const { chunks, body } = encodeChunks(data, RAW);
    expect(body).to.equal(data);
    expect(chunks.map((c) => [c.length, c.stored])).to.deep.equal([
      [CHUNK_SIZE, CHUNK_SIZE],
      [CHUNK_SIZE, CHUNK_SIZE],
      [5, 5],
    ]);
    expect(lengthOf(chunks)).to.equal(data.length);
    checkChunks(chunks, body);
  });

  it("of no data are none", () => {
    expect(encodeChunks(Buffer.alloc(0), LZ4).chunks).to.deep.equal([]);
    checkChunks([], Buffer.alloc(0));
  });

  it("are compressed where that saves an eighth, and only there", () => {
    const data = Buffer.concat([randomBytes(CHUNK_SIZE), Buffer.alloc(CHUNK_SIZE, "text "), randomBytes(100)]);
    const { chunks, body } = encodeChunks(data, LZ4);
    expect(chunks[0]!.stored).to.equal(CHUNK_SIZE);
    expect(chunks[1]!.stored).to.be.lessThan(1000);
    expect(chunks[2]!.stored).to.equal(100);
    expect(body.length).to.equal(CHUNK_SIZE + chunks[1]!.stored + 100);
    const noise = randomBytes(3 * CHUNK_SIZE);
    expect(encodeChunks(noise, LZ4).body, "noise is not copied").to.equal(noise);
  });

  it("give any range back, whatever the data and its compression", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 * CHUNK_SIZE }),
        fc.integer(),
        fc.constantFrom(RAW, LZ4),
        fc.nat(),
        fc.nat(),
        fc.integer({ min: 0, max: 1 << 20 }),
        (length, seed, compression, a, b, offset) => {
          const data = mixed(length, (piece) => ((seed >> (piece % 31)) & 1) === 1);
          const { chunks, body } = encodeChunks(data, compression);
          checkChunks(chunks, body);
          const [from, to] = [a % length, b % (length + 1)].sort((x, y) => x - y) as [number, number];
          const target = Buffer.alloc(to - from + 7, 0xee);
          const copied = decodeChunks(chunks, body, offset, offset + from, offset + to, target, 3);
          expect(copied).to.equal(to - from);
          expect(target.subarray(3, 3 + copied).equals(data.subarray(from, to))).to.equal(true);
          expect([...target.subarray(0, 3), ...target.subarray(3 + copied)]).to.deep.equal(Array(7).fill(0xee));
        },
      ),
      { numRuns: 200 },
    );
  });

  it("put what they have of a wider range where it belongs", () => {
    const { chunks, body } = encodeChunks(Buffer.from("abcdef"), RAW);
    const target = Buffer.alloc(10, ".");
    expect(decodeChunks(chunks, body, 102, 100, 110, target, 0)).to.equal(6);
    expect(target.toString()).to.equal("..abcdef..");
    expect(() => decodeChunks(chunks, body, 102, 100, 110, Buffer.alloc(5), 0)).to.throw(RangeError);
  });

  it("are refused when any stored byte changed, naming the chunk", () => {
    const { chunks, body } = encodeChunks(
      mixed(3 * CHUNK_SIZE, (p) => p % 2 === 0),
      LZ4,
    );
    fc.assert(
      fc.property(fc.nat(body.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const bad = Buffer.from(body);
        bad[at]! ^= flip;
        expect(codeThrown(() => checkChunks(chunks, bad))).to.equal("EBADMSG");
      }),
      { numRuns: 50 },
    );
    const bad = Buffer.from(body);
    bad[chunks[0]!.stored]! ^= 1;
    expect(() => checkChunks(chunks, bad)).to.throw(/chunk 1 of 3/);
  });

  it("are refused when their lengths cannot be", () => {
    const body = Buffer.alloc(10);
    const refused = (length: number, stored: number) =>
      codeThrown(() => checkShape([{ length, stored, crc: 0 }], body)) === "EPROTO";
    expect(refused(0, 10)).to.equal(true);
    expect(refused(10, 0)).to.equal(true);
    expect(refused(9, 10)).to.equal(true);
    expect(refused(CHUNK_SIZE + 1, 10)).to.equal(true);
    expect(refused(11, 11)).to.equal(true);
    expect(refused(10, 9)).to.equal(true);
    expect(refused(10, 10)).to.equal(false);
    const many = Array.from({ length: MAX_CHUNKS + 1 }, () => ({ length: 1, stored: 1, crc: 0 }));
    expect(codeThrown(() => checkShape(many, Buffer.alloc(MAX_CHUNKS + 1)))).to.equal("EPROTO");
  });

  it("that do not decompress to their length are refused", () => {
    const { chunks, body } = encodeChunks(Buffer.alloc(1000, "x"), LZ4);
    const lying = [{ ...chunks[0]!, length: 1001 }];
    expect(codeThrown(() => decodeChunks(lying, body, 0, 0, 1001, Buffer.alloc(1001), 0))).to.equal("EBADMSG");
    const garbage = Buffer.alloc(body.length, 0xff);
    expect(codeThrown(() => decodeChunks(chunks, garbage, 0, 0, 1000, Buffer.alloc(1000), 0))).to.equal("EBADMSG");
  });
});

describe("ChunkTable", () => {
  function tableOf(lengths: number[]): ChunkTable {
    const table = new ChunkTable();
    for (const length of lengths) {
      table.append([{ length, stored: Math.max(1, length >> 1), crc: (length * 2654435761) >>> 0 }]);
    }
    return table;
  }

  it("finds the chunks of any range", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: CHUNK_SIZE }), { minLength: 1, maxLength: 60 }),
        fc.nat(),
        fc.nat(),
        (lengths, a, b) => {
          const table = tableOf(lengths);
          const total = lengths.reduce((x, y) => x + y, 0);
          expect(table.length).to.equal(total);
          const from = a % total;
          const to = from + 1 + (b % (total - from));
          const run = table.run(from, to, MAX_CHUNKS);
          const end = run.offset + lengthOf(run.chunks);
          expect(run.offset).to.be.at.most(from);
          expect(end).to.be.at.least(to);
          expect(run.offset + run.chunks[0]!.length, "no chunk too many in front").to.be.greaterThan(from);
          expect(end - run.chunks.at(-1)!.length, "none at the end").to.be.lessThan(to);
          const stored = run.chunks.reduce((sum, c) => sum + c.stored, 0);
          expect(run.storedTo - run.storedFrom).to.equal(stored);
        },
      ),
    );
  });

  it("gives an empty run beyond the end, and no more chunks than asked for", () => {
    const table = tableOf([10, 10, 10]);
    expect(table.run(30, 40, 9).chunks).to.deep.equal([]);
    expect(table.run(30, 40, 9).storedTo).to.equal(table.run(30, 40, 9).storedFrom);
    expect(table.run(0, 30, 2).chunks).to.have.length(2);
  });

  it("is cut at the end of a chunk only", () => {
    const table = tableOf([10, 20, 30]);
    expect(codeThrown(() => table.truncate(29))).to.equal("EINVAL");
    expect(codeThrown(() => table.truncate(61))).to.equal("EINVAL");
    table.truncate(30);
    expect([table.count, table.length, table.storedLength]).to.deep.equal([2, 30, 15]);
    table.truncate(0);
    expect(table.count).to.equal(0);
  });

  it("takes no more than a block holds", () => {
    const table = tableOf(Array(MAX_BLOCK_CHUNKS).fill(1));
    expect(codeThrown(() => table.append([{ length: 1, stored: 1, crc: 0 }]))).to.equal("EPROTO");
    const long = tableOf(Array(1024).fill(CHUNK_SIZE));
    expect(codeThrown(() => long.append([{ length: 1, stored: 1, crc: 0 }]))).to.equal("EPROTO");
    expect(long.count).to.equal(1024);
  });

  it("survives its encoding in a footer, in which every changed byte is noticed", async () => {
    const table = tableOf([CHUNK_SIZE, 1, 500, CHUNK_SIZE]);
    const block = { id: 2 ** 50 + 3, generation: 7, length: table.length };
    const footer = encodeFooter({ block, cluster: "a cluster", table });
    const file = Buffer.concat([Buffer.alloc(table.storedLength), footer]);
    const readable = {
      read: async (into: Buffer, at: number, length: number, position: number) => ({
        bytesRead: file.copy(into, at, position, position + length),
      }),
    };
    const read = await readFooter(readable, file.length);
    expect(read.block).to.deep.equal(block);
    expect(read.cluster).to.equal("a cluster");
    expect(read.table.run(0, table.length, 99)).to.deep.equal(table.run(0, table.length, 99));
    for (let at = 0; at < footer.length; at++) {
      const bad = Buffer.from(footer);
      bad[at]! ^= 0x41;
      expect(
        codeThrown(() => decodeFooter(bad, file.length)),
        `byte ${at}`,
      ).to.equal("EBADMSG");
    }
    expect(codeThrown(() => decodeFooter(footer, file.length + 1))).to.equal("EBADMSG");
    expect(codeThrown(() => decodeFooter(footer.subarray(0, 10), 10))).to.equal("EBADMSG");
  });

  it("of very many chunks is read back too", async () => {
    const table = tableOf(Array(5000).fill(3));
    const footer = encodeFooter({ block: { id: 1, generation: 1, length: 15_000 }, cluster: "c", table });
    const file = Buffer.concat([Buffer.alloc(table.storedLength), footer]);
    const readable = {
      read: async (into: Buffer, at: number, length: number, position: number) => ({
        bytesRead: file.copy(into, at, position, position + Math.min(length, 1000)),
      }),
    };
    expect((await readFooter(readable, file.length)).table.count).to.equal(5000);
  });
});
