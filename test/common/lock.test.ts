import { expect } from "chai";
import fc from "fast-check";
import { covers, LAST_BYTE, type LockKind, type LockPiece, withRange } from "../../common/lock.js";

/** Positions of the naive model: one entry for each byte. */
const BYTES = 12;
const kind = fc.constantFrom<LockKind | undefined>("shared", "exclusive", undefined);
const range = fc
  .tuple(fc.integer({ min: 0, max: BYTES - 1 }), fc.integer({ min: 0, max: BYTES - 1 }))
  .map(([a, b]) => ({ first: BigInt(Math.min(a, b)), last: BigInt(Math.max(a, b)) }));

const bytesOf = (pieces: readonly LockPiece[]) =>
  Array.from({ length: BYTES }, (_, i) => pieces.find((p) => p.first <= i && i <= p.last)?.kind);

describe("what an owner has locked", () => {
  it("is, byte for byte, what it asked for last, in as few pieces as can be", () => {
    const requests = fc.array(fc.record({ kind, range }), { maxLength: 20 });
    fc.assert(
      fc.property(requests, (all) => {
        let pieces: readonly LockPiece[] = [];
        const bytes: (LockKind | undefined)[] = new Array(BYTES).fill(undefined);
        for (const { kind, range } of all) {
          pieces = withRange(pieces, { ...range, kind, pid: 1 });
          bytes.fill(kind, Number(range.first), Number(range.last) + 1);
          expect(bytesOf(pieces)).to.deep.equal(bytes);
          for (const [i, piece] of pieces.entries()) {
            expect(piece.first <= piece.last).to.equal(true);
            const next = pieces[i + 1];
            if (next === undefined) continue;
            expect(next.first > piece.last).to.equal(true);
            expect(next.first > piece.last + 1n || next.kind !== piece.kind).to.equal(true);
          }
        }
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  it("covers a range if every byte of it is held, exclusively where that is asked", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ kind, range }), { maxLength: 10 }), range, (all, asked) => {
        const pieces = all.reduce<LockPiece[]>(
          (held, { kind, range }) => withRange(held, { ...range, kind, pid: 1 }),
          [],
        );
        const bytes = bytesOf(pieces).slice(Number(asked.first), Number(asked.last) + 1);
        expect(covers(pieces, { ...asked, kind: "exclusive" })).to.equal(bytes.every((b) => b === "exclusive"));
        expect(covers(pieces, { ...asked, kind: "shared" })).to.equal(bytes.every((b) => b !== undefined));
      }),
      { seed: 2, numRuns: 500 },
    );
  });

  it("is exact beyond 2^53, to the last byte there can be", () => {
    const all = withRange([], { first: 0n, last: LAST_BYTE, kind: "exclusive", pid: 7 });
    const middle = 2n ** 62n + 1n;
    const split = withRange(all, { first: middle, last: middle, kind: undefined, pid: 7 });
    expect(split.map(({ first, last }) => [first, last])).to.deep.equal([
      [0n, middle - 1n],
      [middle + 1n, LAST_BYTE],
    ]);
    expect(withRange(split, { first: middle, last: middle, kind: "exclusive", pid: 7 })).to.deep.equal(all);
  });
});
