import { expect } from "chai";
import { DatanodeCommands } from "../../../proto/gen/services.js";
import { Duty } from "../../../proto/gen/types.js";
import { SETTINGS, TestCluster, type TestDatanode } from "./cluster.js";
import { expectConsistent } from "./consistency.js";

const { IN_SERVICE, DECOMMISSION, MAINTENANCE } = Duty;
const HOUR = 3_600_000;

const deletes = (d: TestDatanode) => d.commands.filter((x) => x.method === DatanodeCommands.delete.name);
const copies = (d: TestDatanode) => d.commands.filter((x) => x.method === DatanodeCommands.replicate.name);
const without = (ids: number[], ...out: TestDatanode[]) => ids.filter((id) => !out.some((d) => d.id === id));

describe("namenode/blocks: decommissioning", () => {
  it("has every block copied elsewhere first, and then says that the datanode may go", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(5);
    const [leaver] = nodes as [TestDatanode];
    for (let id = 1; id <= 200; id++) c.commit(id, nodes.slice(0, 3));
    for (let id = 201; id <= 210; id++) c.commit(id, [leaver], { wanted: 1 });
    leaver.lazy = true; // it is the only source of some blocks: they cannot be copied yet
    await c.administer(leaver, DECOMMISSION);
    await c.clock.advance(10_000);
    expect((await c.statusOf(leaver)).service).to.equal("decommissioning");
    expect((await c.statusOf(leaver)).needed).to.be.greaterThan(0);
    const status = await c.status();
    expect([status.underReplicated, status.missing], "every copy is still there").to.deep.equal([0, 0]);
    expect(status.evacuating).to.be.greaterThan(0);
    await leaver.wake();
    await c.clock.advance(SETTINGS.transferTimeoutMs + 30_000);
    for (let id = 1; id <= 200; id++) expect(without(c.holders(id), leaver), `block ${id}`).to.have.length(3);
    for (let id = 201; id <= 210; id++) expect(without(c.holders(id), leaver), `block ${id}`).to.have.length(1);
    expect((await c.statusOf(leaver)).service).to.equal("decommissioned");
    expect((await c.events()).filter((e) => e.includes("is decommissioned"))).to.have.length(1);
    expect(leaver.replicas.size, "it keeps what it has").to.equal(210);
    expect(nodes.flatMap(deletes)).to.deep.equal([]);
    leaver.disconnect();
    await c.clock.advance(SETTINGS.deadAfterMs + 30_000);
    expect(await c.status()).to.include({ underReplicated: 0, missing: 0, evacuating: 0 });
    expectConsistent(c.kv);
  });

  it("gives the datanode nothing new, but lets it be read and copied from", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(3);
    const [leaver] = nodes as [TestDatanode];
    await c.administer(leaver, DECOMMISSION);
    for (let i = 0; i < 20; i++) {
      const placed = c.blocks.place({ replicas: 3, size: 1000, host: leaver.host, exclude: [] });
      expect(placed.map((p) => p.id)).to.not.include(leaver.id);
    }
    const block = c.commit(1, [leaver], { wanted: 2 });
    expect(c.blocks.locate(block, "elsewhere").replicas.map((r) => r.id)).to.deep.equal([leaver.id]);
    await c.clock.advance(5_000);
    expect(c.holders(1)).to.have.length(3);
    expect(copies(leaver)).to.have.length(1);
    const fsck = c.blocks.replicas(block);
    expect([fsck.live.length, fsck.leaving]).to.deep.equal([2, [leaver.id]]);
  });

  it("never ends where there is no place for the copies, and loses nothing", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(3);
    for (let id = 1; id <= 20; id++) c.commit(id, nodes);
    await c.administer(nodes[0]!, DECOMMISSION);
    await c.clock.advance(600_000);
    expect(await c.statusOf(nodes[0]!)).to.include({ service: "decommissioning", needed: 20 });
    const fourth = await c.join();
    await c.clock.advance(30_000);
    expect((await c.statusOf(nodes[0]!)).service).to.equal("decommissioned");
    expect(fourth.replicas.size).to.equal(20);
  });

  it("mends what is short of replicas before it moves what is not", async () => {
    const c = new TestCluster({ maxTransfers: 1 });
    const nodes = await c.joinMany(5);
    const order: number[] = [];
    c.onReplicate = (_source, { block }) => {
      order.push(block.id);
      return false;
    };
    for (const d of nodes) d.reticent = true;
    for (let id = 1; id <= 10; id++) c.commit(id, nodes.slice(0, 3));
    await c.administer(nodes[0]!, DECOMMISSION);
    for (let id = 101; id <= 105; id++) c.commit(id, [nodes[3]!], { wanted: 2 });
    await c.clock.advance(60_000);
    expect(order).to.have.length(15);
    expect(
      order.slice(0, 5).every((id) => id > 100),
      String(order),
    ).to.equal(true);
  });

  it("is remembered over a restart, and undone by recommissioning: what is too much then goes", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(4);
    for (let id = 1; id <= 50; id++) c.commit(id, nodes.slice(0, 3));
    await c.administer(nodes[0]!, DECOMMISSION);
    c.start();
    for (const d of nodes) await d.connect();
    await c.clock.advance(60_000);
    expect((await c.statusOf(nodes[0]!)).service).to.equal("decommissioned");
    expect(nodes[3]!.replicas.size).to.equal(50);
    await c.administer(nodes[0]!, IN_SERVICE);
    await c.clock.advance(30_000);
    expect((await c.statusOf(nodes[0]!)).service).to.equal("in service");
    for (let id = 1; id <= 50; id++) expect(c.holders(id), `block ${id}`).to.have.length(3);
    expectConsistent(c.kv);
  });

  it("refuses what makes no sense", async () => {
    const c = new TestCluster();
    const [a] = await c.joinMany(1);
    const code = (work: Promise<unknown>) =>
      work.then(
        () => "none",
        (err) => err.code,
      );
    expect(await code(c.administer({ id: 99 } as TestDatanode, DECOMMISSION))).to.equal("ENOENT");
    expect(await code(c.administer(a!, DECOMMISSION, HOUR))).to.equal("EINVAL");
    expect(await code(c.administer(a!, 7 as Duty))).to.equal("EINVAL");
  });
});

describe("namenode/blocks: maintenance", () => {
  it("excuses the absence of a datanode, but keeps a live replica of every block elsewhere", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(4);
    const [resting] = nodes as [TestDatanode];
    for (let id = 1; id <= 50; id++) c.commit(id, nodes.slice(0, 3));
    for (let id = 51; id <= 60; id++) c.commit(id, [resting], { wanted: 1 });
    await c.administer(resting, MAINTENANCE);
    expect((await c.statusOf(resting)).service).to.equal("entering maintenance");
    await c.clock.advance(30_000);
    expect((await c.statusOf(resting)).service).to.equal("in maintenance");
    for (let id = 51; id <= 60; id++) expect(c.holders(id), `block ${id}`).to.have.length(2);
    const before = nodes.flatMap(copies).length;
    expect(before, "of single replicas only").to.equal(10);
    resting.disconnect();
    await c.clock.advance(2 * HOUR);
    expect((await c.statusOf(resting)).state).to.equal("dead");
    expect(nodes.flatMap(copies).length).to.equal(before);
    expect(await c.status()).to.include({ underReplicated: 0, missing: 0, evacuating: 0 });
    const { live, resting: rests, absent } = c.blocks.replicas({ id: 1, generation: 1, length: 1000 });
    expect([live.length, rests, absent]).to.deep.equal([2, [resting.id], [resting.id]]);
    expect((await c.events()).some((e) => e.includes("is dead"))).to.equal(false);
    await resting.connect();
    await c.administer(resting, IN_SERVICE);
    await c.clock.advance(30_000);
    for (let id = 1; id <= 60; id++) expect(c.holders(id), `block ${id}`).to.have.length(id <= 50 ? 3 : 1);
  });

  it("ends by itself: a datanode that is still away then is dead, and its blocks are copied", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(4);
    for (let id = 1; id <= 30; id++) c.commit(id, nodes.slice(0, 3));
    await c.administer(nodes[0]!, MAINTENANCE, HOUR);
    nodes[0]!.disconnect();
    await c.clock.advance(HOUR - 10_000);
    expect(nodes.flatMap(copies)).to.deep.equal([]);
    c.start(); // it remembers until when
    for (const d of nodes.slice(1)) await d.connect();
    await c.clock.advance(SETTINGS.deadAfterMs + 60_000);
    expect((await c.statusOf(nodes[0]!)).service).to.equal("in service");
    for (let id = 1; id <= 30; id++) expect(without(c.holders(id), nodes[0]!), `block ${id}`).to.have.length(3);
  });

  it("of two of three datanodes keeps one replica in service, and copies when that one is lost", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(4);
    c.commit(1, nodes.slice(0, 3));
    for (const d of nodes.slice(0, 2)) await c.administer(d, MAINTENANCE);
    await c.clock.advance(30_000);
    expect(nodes.flatMap(copies)).to.deep.equal([]);
    nodes[2]!.disconnect();
    await c.clock.advance(SETTINGS.deadAfterMs + 30_000);
    expect(nodes[3]!.has(1)).to.equal(true);
  });
});

describe("namenode/blocks: racks", () => {
  const racksOf = (c: TestCluster, id: number) =>
    new Set(c.holders(id).map((h) => c.datanodes.find((d) => d.id === h)!.rack)).size;

  it("moves blocks that are on one rack only when another one appears", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(3);
    for (let id = 1; id <= 100; id++) c.commit(id, nodes);
    for (let id = 101; id <= 110; id++) c.commit(id, nodes.slice(0, 1), { wanted: 1 });
    await c.clock.advance(5_000);
    expect(nodes.flatMap((d) => d.commands)).to.deep.equal([]);
    await c.join({ rack: "/other" });
    expect((await c.status()).misplaced).to.equal(0);
    await c.clock.advance(60_000);
    for (let id = 1; id <= 100; id++) {
      expect(c.holders(id), `block ${id}`).to.have.length(3);
      expect(racksOf(c, id), `racks of block ${id}`).to.equal(2);
    }
    expect(c.datanodes[3]!.replicas.size, "a single replica needs no second rack").to.equal(100);
    expect((await c.status()).misplaced).to.equal(0);
    expectConsistent(c.kv);
  });

  it("leaves them alone while the other rack has no room, and when it goes away", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(3);
    for (let id = 1; id <= 10; id++) c.commit(id, nodes);
    const other = await c.join({ rack: "/other", free: 0 });
    await c.clock.advance(60_000);
    expect(nodes.flatMap((d) => d.commands)).to.deep.equal([]);
    expect((await c.status()).misplaced).to.equal(10);
    other.disconnect();
    await c.clock.advance(SETTINGS.deadAfterMs + 10_000);
    expect((await c.status()).misplaced).to.equal(0);
  });

  it("keeps two racks when it trims, whichever is fuller", async () => {
    const c = new TestCluster();
    const nodes = [await c.join({ rack: "/a" }), await c.join({ rack: "/a" }), await c.join({ rack: "/b", free: 1e9 })];
    const block = c.commit(1, nodes);
    c.setWanted(block, 2);
    await c.clock.advance(10_000);
    expect(racksOf(c, 1)).to.equal(2);
  });
});

describe("namenode/blocks: a datanode that comes and goes", () => {
  it("causes one round of copies, not one per death: nothing is trimmed until it has stayed", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(4);
    for (let id = 1; id <= 50; id++) c.commit(id, nodes.slice(0, 3));
    const total = () => nodes.flatMap(copies).length;
    const after: number[] = [];
    for (let i = 0; i < 5; i++) {
      nodes[0]!.disconnect();
      await c.clock.advance(SETTINGS.deadAfterMs + 10_000);
      await nodes[0]!.connect();
      await c.clock.advance(10_000);
      after.push(total());
    }
    // The first return trims; the copies of the second death stay.
    expect(after).to.deep.equal([50, 100, 100, 100, 100]);
    await c.clock.advance(HOUR);
    for (let id = 1; id <= 50; id++) expect(c.holders(id), `block ${id}`).to.have.length(3);
    expect(total()).to.equal(100);
  });

  it("drops the work that was queued when it is back", async () => {
    const c = new TestCluster({ maxTransfers: 2 });
    const nodes = await c.joinMany(4);
    for (let id = 1; id <= 200; id++) c.commit(id, nodes.slice(0, 3));
    c.onReplicate = () => true; // copies never arrive
    nodes[0]!.disconnect();
    await c.clock.advance(SETTINGS.deadAfterMs + 5_000);
    expect((await c.status()).underReplicated).to.equal(200);
    await nodes[0]!.connect();
    await c.clock.advance(5_000);
    expect((await c.status()).underReplicated).to.equal(0);
    await c.clock.advance(2 * SETTINGS.transferTimeoutMs);
    expect((await c.status()).pendingReplications).to.equal(0);
    expect(nodes.flatMap(copies).length).to.be.at.most(4);
  });

  it("two of three gone at once: everything can be read, and is copied when others come", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(3);
    const blocks = Array.from({ length: 100 }, (_, i) => c.commit(i + 1, nodes));
    for (const d of nodes.slice(0, 2)) d.disconnect();
    await c.clock.advance(SETTINGS.deadAfterMs + 5_000);
    const status = await c.status();
    expect(status).to.include({ underReplicated: 100, lastCopy: 100, missing: 0 });
    for (const b of blocks) expect(c.blocks.locate(b, "x").replicas.map((r) => r.id)).to.deep.equal([3]);
    await c.join();
    await nodes[0]!.connect();
    await c.clock.advance(60_000);
    expect((await c.status()).underReplicated).to.equal(0);
    for (const b of blocks) expect(without(c.holders(b.id), nodes[1]!), `block ${b.id}`).to.have.length(3);
  });
});
