import { expect } from "chai";
import fc from "fast-check";
import { BLOCK_RANGE, REGION_RANGES } from "../../../common/limits.js";
import { encodeDigest, regionKey } from "../../../namenode/blocks/keys.js";
import { differingRanges } from "../../../namenode/blocks/reports.js";
import { CLUSTER } from "../../../namenode/namespace/keys.js";
import { readCluster } from "../../../namenode/namespace/records.js";
import { RangeDigests, rangeOf, regionPages } from "../../../proto/digest.js";
import { DatanodeCommands, Registry } from "../../../proto/gen/services.js";
import { ClusterRecord, ReplicaChangeState as State } from "../../../proto/gen/types.js";
import { SETTINGS, TestCluster } from "./cluster.js";
import { expectConsistent } from "./consistency.js";

const GRACE = SETTINGS.orphanGraceMs;

describe("namenode/blocks: reports", () => {
  it("finds exactly the ranges in which two sets of replicas differ", () => {
    const replica = fc.record({
      id: fc.integer({ min: 1, max: 6 * BLOCK_RANGE }),
      generation: fc.integer({ min: 1, max: 3 }),
      length: fc.integer({ min: 1, max: 3 }),
    });
    const set = fc.uniqueArray(replica, { selector: (r) => r.id, maxLength: 40 });
    fc.assert(
      fc.property(set, set, set, (common, left, right) => {
        const sides = [left, right].map((own) => {
          const byId = new Map([...own, ...common].map((r) => [r.id, r]));
          const digests = new RangeDigests();
          for (const r of byId.values()) digests.add(r);
          return { byId, digests };
        });
        const [a, b] = sides as [(typeof sides)[0], (typeof sides)[0]];
        const differing = new Set<number>();
        for (const id of new Set([...a.byId.keys(), ...b.byId.keys()])) {
          const [x, y] = [a.byId.get(id), b.byId.get(id)];
          if (x?.generation !== y?.generation || x?.length !== y?.length) differing.add(rangeOf(id));
        }
        const ranges = (d: RangeDigests) => d.regions().flatMap((r) => d.within(r.range));
        expect(differingRanges(ranges(a.digests), ranges(b.digests))).to.deep.equal(
          [...differing].sort((x, y) => x - y),
        );
      }),
    );
  });

  it("asks an unchanged datanode for nothing", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(3);
    for (let id = 1; id <= 500; id++) c.commit(id * 97, nodes);
    c.start();
    for (const d of nodes) await d.connect();
    expect(nodes.flatMap((d) => d.askedRanges)).to.deep.equal([]);
    await c.clock.advance(SETTINGS.fullReportMs + 10_000);
    expect(nodes.flatMap((d) => d.askedRanges)).to.deep.equal([]);
    expectConsistent(c.kv);
  });

  it("makes its view the same as a datanode's after whatever happened to the disk", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(3);
    for (let id = 1; id <= 400; id++) c.commit(id * 50, nodes);
    const [a] = nodes;
    a!.disconnect();
    for (let id = 1; id <= 100; id++) a!.replicas.delete(id * 50);
    const back = a!.connect();
    await c.clock.advance(500);
    await back;
    expect(a!.askedRanges).to.deep.equal([0, 1]);
    await c.clock.advance(20_000);
    expect((await c.status()).underReplicated).to.equal(0);
    for (let id = 1; id <= 400; id++) expect(c.holders(id * 50)).to.deep.equal([1, 2, 3]);
    await a!.fullReport();
    expect(a!.askedRanges).to.deep.equal([0, 1]);
    expectConsistent(c.kv);
  });

  it("believes a commit at once, and learns of finalized replicas whose acknowledgement was lost", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(4);
    const block = { id: 9, generation: 1, length: 1000 };
    c.pending.add(9);
    for (const d of nodes.slice(0, 3)) {
      d.store(block);
      await d.report(block, State.FINALIZED);
    }
    expect(c.blocks.replicas(block).live, "not part of the store yet").to.deep.equal([]);
    c.pending.delete(9);
    c.commit(9, nodes.slice(0, 2));
    expect(c.blocks.replicas(block).live.sort()).to.deep.equal([1, 2, 3]);
    await c.clock.advance(5_000);
    expect(nodes.flatMap((d) => d.commands)).to.deep.equal([]);
  });

  it("has replicas of an older generation deleted at once", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(3);
    const stale = { id: 9, generation: 1, length: 1000 };
    c.pending.add(9);
    nodes[2]!.store(stale);
    await nodes[2]!.report(stale, State.FINALIZED);
    c.pending.delete(9);
    const block = c.commit(9, nodes.slice(0, 2), { wanted: 2, generation: 2 });
    await c.clock.advance(2_000);
    expect(nodes[2]!.has(9)).to.equal(false);
    nodes[2]!.store(stale);
    await nodes[2]!.fullReport();
    await c.clock.advance(2_000);
    expect(nodes[2]!.has(9)).to.equal(false);
    expect((await c.events()).some((e) => e.includes("corrupt"))).to.equal(false);
    expect(c.blocks.replicas(block).live).to.deep.equal([1, 2]);
  });

  it("deletes orphans after the grace period, and never a block that is being written", async () => {
    const c = new TestCluster();
    const [a] = await c.joinMany(1);
    for (const id of [1, 2, 3]) {
      const block = { id, generation: 1, length: 10 };
      a!.store(block);
      await a!.report(block, State.FINALIZED);
    }
    c.pending.add(2);
    await c.clock.advance(GRACE - 5_000);
    expect([...a!.replicas.keys()]).to.deep.equal([1, 2, 3]);
    c.commit(3, [a!], { wanted: 1, length: 10 });
    await c.clock.advance(10_000);
    expect([...a!.replicas.keys()]).to.deep.equal([2, 3]);
    c.pending.delete(2);
    await c.clock.advance(GRACE + 10_000);
    expect([...a!.replicas.keys()]).to.deep.equal([3]);
  });

  it("keeps orphans for longer after a restore: the backup may lack their files", async () => {
    const c = new TestCluster();
    const [a] = await c.joinMany(1);
    const restored = { sec: Math.floor(c.clock.now() / 1000), nsec: 0 };
    c.kv.put(CLUSTER, ClusterRecord.encode({ ...readCluster(c.kv), restored }).finish());
    const block = { id: 1, generation: 1, length: 10 };
    a!.store(block);
    await a!.report(block, State.FINALIZED);
    await c.clock.advance(SETTINGS.restoreGraceMs - 10_000);
    expect(a!.has(1)).to.equal(true);
    await c.clock.advance(GRACE + 20_000);
    expect(a!.has(1)).to.equal(false);
  });

  it("counts the grace of an orphan from when this namenode first saw it", async () => {
    const c = new TestCluster({ fullReportMs: 60_000 });
    const [a] = await c.joinMany(1);
    a!.store({ id: 1, generation: 1, length: 10 });
    await a!.fullReport();
    await c.clock.advance(GRACE - 5_000);
    c.start();
    await a!.connect();
    await c.clock.advance(GRACE - 5_000);
    expect(a!.has(1)).to.equal(true);
    await c.clock.advance(10_000);
    expect(a!.has(1)).to.equal(false);
  });

  it("waits with repairs after a restart until those known have reported or are dead", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(4);
    for (let id = 1; id <= 50; id++) c.commit(id, nodes.slice(0, 3));
    const lacking = c.commit(51, nodes.slice(0, 1));
    c.start();
    await nodes[0]!.connect();
    await nodes[3]!.connect();
    await c.clock.advance(SETTINGS.deadAfterMs - 5_000);
    expect(nodes.flatMap((d) => d.commands)).to.deep.equal([]);
    expect(c.blocks.locate(lacking, "x").replicas, "reads do not wait").to.have.length(1);
    await nodes[1]!.connect();
    await c.clock.advance(2_000);
    expect(nodes.flatMap((d) => d.commands)).to.deep.equal([]);
    await nodes[2]!.connect();
    await c.clock.advance(2_000);
    expect(c.holders(51)).to.have.length(3);
    expect(nodes.flatMap((d) => d.commands).every((x) => x.method === DatanodeCommands.replicate.name)).to.equal(true);
    c.start();
    for (const d of nodes.slice(1)) await d.connect();
    await c.clock.advance(SETTINGS.deadAfterMs + 20_000);
    expect((await c.status()).datanodes[0]!.state).to.equal("dead");
    for (let id = 1; id <= 50; id++) expect(c.holders(id), "copied once it was dead").to.have.length(4);
    expectConsistent(c.kv);
  });

  it("refuses reports of impossible size or shape, and of strangers", async () => {
    const c = new TestCluster();
    const [a] = await c.joinMany(1);
    const code = (work: Promise<unknown>) =>
      work.then(
        () => "none",
        (err) => err.code,
      );
    const link = a!.link!;
    const block = { id: 1, generation: 1, length: 1 };
    const changes = Array.from({ length: 10_001 }, () => ({ block, state: State.FINALIZED }));
    expect(await code(c.call(link, Registry.reportChanges, { changes }))).to.equal("E2BIG");
    const zero = { changes: [{ block: { ...block, id: 0 }, state: State.FINALIZED }] };
    expect(await code(c.call(link, Registry.reportChanges, zero))).to.equal("EINVAL");
    const outside = { range: 0, replicas: [{ ...block, id: BLOCK_RANGE }] };
    expect(await code(c.call(link, Registry.reportRange, outside))).to.equal("EINVAL");
    const many = { range: 0, replicas: Array.from({ length: 2 * BLOCK_RANGE + 1 }, () => block) };
    expect(await code(c.call(link, Registry.reportRange, many))).to.equal("E2BIG");
    const one = { range: 1, count: 1, digest: 1 };
    expect(await code(c.call(link, Registry.reportRegions, { regions: [one, one] }))).to.equal("EINVAL");
    expect(await code(c.call(link, Registry.reportRegions, { regions: [one], until: 1 }))).to.equal("EINVAL");
    expect(await code(c.call(link, Registry.reportDigests, { regions: [0] })), "no report begun").to.equal("EINVAL");
    expect(await code(c.call(link, Registry.reportRegions, { regions: [one] }))).to.equal("none");
    expect(await code(c.call(link, Registry.reportDigests, { regions: [0], ranges: [one, one] }))).to.equal("EINVAL");
    const elsewhere = { regions: [0], ranges: [{ ...one, range: REGION_RANGES }] };
    expect(await code(c.call(link, Registry.reportDigests, elsewhere))).to.equal("EINVAL");
    const regions = Array.from({ length: 65 }, (_, i) => i);
    expect(await code(c.call(link, Registry.reportDigests, { regions }))).to.equal("E2BIG");
    a!.disconnect();
    await c.clock.advance(1);
    expect(await code(c.call(link, Registry.reportChanges, {}))).to.equal("ESTALE");
  });

  for (const gap of [1, 300]) {
    it(`compares a report of a million unchanged blocks, ${gap} ids apart, in kilobytes`, async () => {
      const c = new TestCluster();
      const [a] = await c.joinMany(1);
      const digests = new RangeDigests();
      for (let id = 1; id <= 1_000_000; id++) digests.add({ id: id * gap, generation: 1, length: 1000 });
      for (const s of digests.regions()) c.kv.put(regionKey(a!.id, s.range), encodeDigest(s));
      let bytes = 0;
      for (const page of regionPages(digests.regions())) {
        bytes += Registry.reportRegions.request.encode(page).finish().length;
        expect((await c.call(a!.link!, Registry.reportRegions, page)).ranges).to.deep.equal([]);
      }
      expect(bytes).to.be.lessThan(10_000);
      expect((await c.status()).datanodes[0]!.blocks).to.equal(1_000_000);
    });
  }

  it("mends the sums of regions in a store of an older version, asking for no replica", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(2);
    for (let id = 1; id <= 300; id++) c.commit(id * 70_000, nodes, { wanted: 2 });
    for (const [key] of [...c.kv.range({ gte: "G\xff", lt: "H" })]) c.kv.delete(key);
    c.commit(5, nodes, { wanted: 2 }); // in a region whose sum is missing
    c.start();
    for (const d of nodes) await d.connect();
    expect(nodes.flatMap((d) => d.askedRanges)).to.deep.equal([]);
    expectConsistent(c.kv);
  });
});
