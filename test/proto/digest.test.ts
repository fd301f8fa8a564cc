import { expect } from "chai";
import fc from "fast-check";
import { BLOCK_RANGE, MAX_BLOCKS_PAGE } from "../../common/limits.js";
import { RangeDigests, rangeOf, regionOf, regionPages, replicaDigest, xorDigests } from "../../proto/digest.js";

const digest = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const replica = fc.record({
  id: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  generation: fc.nat({ max: 0xffffffff }),
  length: fc.nat({ max: 64 * 2 ** 20 }),
});

describe("proto/digest", () => {
  it("is a whole number below 2^53 for every replica", () => {
    fc.assert(
      fc.property(replica, (r) => {
        const d = replicaDigest(r);
        expect(Number.isSafeInteger(d) && d >= 0).to.equal(true);
      }),
    );
  });

  it("xors all 53 bits as BigInt does", () => {
    fc.assert(
      fc.property(digest, digest, (a, b) => {
        expect(xorDigests(a, b)).to.equal(Number(BigInt(a) ^ BigInt(b)));
        expect(xorDigests(xorDigests(a, b), b)).to.equal(a);
      }),
    );
  });

  it("tells replicas apart that differ in id, generation or length", () => {
    const base = { id: 2 ** 40 + 7, generation: 3, length: 1000 };
    const seen = new Set([replicaDigest(base)]);
    for (let i = 1; i <= 1000; i++) {
      seen.add(replicaDigest({ ...base, id: base.id + i }));
      seen.add(replicaDigest({ ...base, id: base.id + i * 2 ** 32 }));
      seen.add(replicaDigest({ ...base, generation: base.generation + i }));
      seen.add(replicaDigest({ ...base, length: base.length + i }));
    }
    expect(seen.size).to.equal(4001);
  });

  it("moves every bit about half of the time when neighbouring ids are compared", () => {
    const flips = new Array<number>(53).fill(0);
    const n = 4000;
    for (let id = 0; id < n; id++) {
      const x = xorDigests(
        replicaDigest({ id, generation: 0, length: 4096 }),
        replicaDigest({ id: id + 1, generation: 0, length: 4096 }),
      );
      for (let bit = 0; bit < 53; bit++) if (Math.floor(x / 2 ** bit) % 2 === 1) flips[bit]!++;
    }
    for (const [bit, count] of flips.entries()) expect(count / n, `bit ${bit}`).to.be.within(0.45, 0.55);
  });

  it("cuts the regions of a report into messages that leave no gap", () => {
    const region = (range: number) => ({ range, count: 1, digest: 1 });
    expect([...regionPages([])]).to.deep.equal([{ regions: [], from: 0, until: 0 }]);
    const many = Array.from({ length: 2 * MAX_BLOCKS_PAGE + 1 }, (_, i) => region(3 * i + 1));
    const pages = [...regionPages(many)];
    expect(pages.flatMap((p) => p.regions)).to.deep.equal(many);
    const edge = (n: number) => 3 * n * MAX_BLOCKS_PAGE + 1;
    expect(pages.map((p) => [p.from, p.until])).to.deep.equal([
      [0, edge(1)],
      [edge(1), edge(2)],
      [edge(2), 0],
    ]);
  });

  it("keeps the digests of a changing set equal to those made afresh", () => {
    const one = fc.record({
      id: fc.oneof(fc.nat({ max: 5 * BLOCK_RANGE }), fc.nat({ max: 2 ** 31 - 1 })),
      generation: fc.nat(9),
      length: fc.nat(9999),
    });
    fc.assert(
      fc.property(fc.uniqueArray(one, { selector: (r) => r.id }), fc.func(fc.boolean()), (all, keep) => {
        const changed = new RangeDigests();
        for (const r of all) changed.add(r);
        for (const r of all) if (!keep(r.id)) changed.remove(r);
        const fresh = new RangeDigests();
        for (const r of all.filter((x) => keep(x.id)).reverse()) fresh.add(r);
        const ranges = (digests: RangeDigests) => digests.regions().flatMap((r) => digests.within(r.range));
        expect(changed.regions()).to.deep.equal(fresh.regions());
        expect(ranges(changed)).to.deep.equal(ranges(fresh));
        const inOrder = (numbers: number[]) => [...new Set(numbers)].sort((a, b) => a - b);
        const kept = all.filter((x) => keep(x.id)).map((x) => rangeOf(x.id));
        expect(ranges(changed).map((s) => s.range)).to.deep.equal(inOrder(kept));
        expect(changed.regions().map((s) => s.range)).to.deep.equal(inOrder(kept.map(regionOf)));
        const count = (summaries: { count: number }[]) => summaries.reduce((sum, s) => sum + s.count, 0);
        expect([count(ranges(changed)), count(changed.regions())]).to.deep.equal([kept.length, kept.length]);
      }),
    );
  });
});
