import { expect } from "chai";
import fc from "fast-check";
import { MAX_PIECES, MIN_SAVED, planCompaction, type Stretch } from "../../client/compaction-plan.js";
import { KIB, MIB } from "../../common/limits.js";
import type { Extent } from "../../proto/gen/types.js";

const BLOCK = 64 * MIB;
const alive = () => ({ length: MIB, live: MIB });

/** Pieces of these lengths, one after the other, each of a block of its own; a negative one is a hole. */
function file(...lengths: number[]): Extent[] {
  const extents: Extent[] = [];
  let offset = 0;
  for (const [block, length] of lengths.entries()) {
    if (length > 0) extents.push({ offset, length, block, blockOffset: 7 });
    offset += Math.abs(length);
  }
  return extents;
}
const many = (count: number, length: number): number[] => Array<number>(count).fill(length);
const shape = (stretches: Stretch[]) => stretches.map((s) => [s[0]!.offset, s.length]);

describe("what is worth compaction", () => {
  it("is many small pieces, between large ones", () => {
    const extents = file(2 * MIB, ...many(MIN_SAVED + 1, 4 * KIB), 2 * MIB, ...many(MIN_SAVED, 4 * KIB));
    expect(shape(planCompaction(extents, alive, BLOCK))).to.deep.equal([[2 * MIB, MIN_SAVED + 1]]);
  });

  it("is no sparse file, whose pieces cannot become one", () => {
    const sparse = file(...many(1000, 4 * KIB).flatMap((length) => [length, -length]));
    expect(planCompaction(sparse, alive, BLOCK)).to.deep.equal([]);
    const pairs = file(...many(MIN_SAVED, 4 * KIB).flatMap((length) => [length, length, -length]));
    expect(shape(planCompaction(pairs, alive, BLOCK))).to.deep.equal([[0, 2 * MIN_SAVED]]);
  });

  it("is not what was compacted before, when a file grows at its end", () => {
    const log = file(600 * KIB, ...many(MIN_SAVED + 1, KIB));
    expect(shape(planCompaction(log, alive, BLOCK))).to.deep.equal([[600 * KIB, MIN_SAVED + 1]]);
  });

  it("is what is left of a block that is mostly dead, however large the piece", () => {
    const life = (block: number) => (block === 1 ? { length: 40 * MIB, live: 8 * MIB } : alive());
    expect(shape(planCompaction(file(3 * MIB, 8 * MIB, 3 * MIB), life, BLOCK))).to.deep.equal([[3 * MIB, 1]]);
    const busy = (block: number) => (block === 1 ? { length: 40 * MIB, live: 12 * MIB } : alive());
    expect(planCompaction(file(3 * MIB, 8 * MIB, 3 * MIB), busy, BLOCK)).to.deep.equal([]);
    const little = () => ({ length: MIB, live: 10 * KIB });
    expect(planCompaction(file(10 * KIB), little, BLOCK)).to.deep.equal([]);
  });

  it("is cut where a block would be full, or a commit", () => {
    const size = 4 * MIB;
    const stretches = planCompaction(file(...many(3000, 3 * KIB)), alive, size);
    expect(stretches.map((s) => s.reduce((sum, { length }) => sum + length, 0))).to.deep.equal([size, size, 808 * KIB]);
    expect(shape(planCompaction(file(...many(2 * MAX_PIECES, 1)), alive, size))).to.deep.equal([
      [0, MAX_PIECES],
      [MAX_PIECES, MAX_PIECES],
    ]);
  });

  it("is, of any file, pieces of it in order that fit a block", () => {
    const length = fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 3 * MIB }));
    const lengths = fc.array(fc.tuple(length, fc.integer({ min: 0, max: 3 })), { minLength: 60, maxLength: 300 });
    fc.assert(
      fc.property(lengths, fc.nat(5), (parts, dead) => {
        const extents = file(...parts.flatMap(([l, kind]) => (kind === 0 ? [l, -l] : [l])));
        const life = (block: number) => (block % 6 < dead ? { length: 4 * MIB, live: KIB } : alive());
        let reached = 0;
        for (const stretch of planCompaction(extents, life, 2 * MIB)) {
          expect(stretch.reduce((sum, piece) => sum + piece.length, 0)).to.be.within(1, 2 * MIB);
          for (const piece of stretch) {
            expect(piece.offset).to.be.at.least(reached);
            reached = piece.offset + piece.length;
            const whole = extents.find((e) => e.block === piece.block)!;
            expect(piece.offset).to.be.at.least(whole.offset);
            expect(reached).to.be.at.most(whole.offset + whole.length);
            expect(piece.blockOffset - whole.blockOffset).to.equal(piece.offset - whole.offset);
          }
        }
      }),
      { numRuns: 200, seed: 7 },
    );
  });
});
