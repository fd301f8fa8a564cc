import { expect } from "chai";
import fc from "fast-check";
import { ExtentMap, type Piece } from "../../client/extent-map.js";

const FILE = 200;

describe("ExtentMap", () => {
  it("is what an array of bytes would be, whatever is put and cut", () => {
    const change = fc.record({
      put: fc.boolean(),
      offset: fc.nat(FILE - 1),
      length: fc.integer({ min: 1, max: 60 }),
      source: fc.constantFrom("a", "b"),
      at: fc.nat(300),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), fc.nat(FILE), fc.nat(FILE), (changes, a, b) => {
        const map = new ExtentMap<string>();
        const model: (string | undefined)[] = new Array(FILE + 60).fill(undefined);
        for (const { put, offset, length, source, at } of changes) {
          if (put) map.put(offset, length, source, at);
          else map.cut(offset, offset + length);
          for (let i = 0; i < length; i++) model[offset + i] = put ? `${source}${at + i}` : undefined;
        }
        const found: (string | undefined)[] = new Array(model.length).fill(undefined);
        let last: Piece<string> | undefined;
        for (const piece of map.pieces()) {
          expect(piece.length).to.be.greaterThan(0);
          expect(piece.offset).to.be.at.least(last === undefined ? 0 : last.offset + last.length);
          for (let i = 0; i < piece.length; i++) found[piece.offset + i] = `${piece.source}${piece.at + i}`;
          last = piece;
        }
        expect(found).to.deep.equal(model);
        expect(map.end).to.equal(last === undefined ? 0 : last.offset + last.length);

        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const seen: (string | undefined)[] = [];
        map.visit(
          from,
          to,
          (piece) => {
            expect(piece.offset).to.equal(from + seen.length);
            for (let i = 0; i < piece.length; i++) seen.push(`${piece.source}${piece.at + i}`);
          },
          (start, end) => {
            expect(start).to.equal(from + seen.length);
            for (let i = start; i < end; i++) seen.push(undefined);
          },
        );
        expect(seen).to.deep.equal(model.slice(from, to));
      }),
      { numRuns: 500 },
    );
  });

  it("keeps one piece of what continues itself, written forwards, backwards or into a gap", () => {
    const map = new ExtentMap<null>();
    map.put(0, 10, null, 0);
    map.put(10, 10, null, 10);
    map.put(30, 10, null, 30);
    map.put(20, 10, null, 20);
    expect([...map.pieces()]).to.deep.equal([{ offset: 0, length: 40, source: null, at: 0 }]);
    map.put(5, 5, null, 5);
    expect(map.count).to.equal(1);
  });

  it("takes ten thousand scattered pieces in well under a second", () => {
    const map = new ExtentMap<null>();
    const started = performance.now();
    for (let i = 0; i < 10_000; i++) map.put(((i * 7919) % 10_000) * 8192, 4096, null, i * 4096);
    expect(map.count).to.equal(10_000);
    expect(performance.now() - started).to.be.lessThan(1_000);
  });
});
