import { expect } from "chai";
import { storedKey } from "../../../namenode/blocks/keys.js";
import { DatanodeCommands } from "../../../proto/gen/services.js";
import { ReplicaChangeState as State } from "../../../proto/gen/types.js";
import { SETTINGS, TestCluster } from "./cluster.js";
import { expectConsistent } from "./consistency.js";

const GIB = 2 ** 30;

describe("namenode/blocks: repair", () => {
  it("copies the blocks of a dead datanode to others, and says so once", async () => {
    const c = new TestCluster();
    const [a, b, d] = (await c.joinMany(4)) as [never, never, never, never];
    for (let id = 1; id <= 120; id++) c.commit(id, [a, b, d]);
    c.datanodes[0]!.disconnect();
    await c.clock.advance(SETTINGS.deadAfterMs - 1000);
    expect((await c.status()).underReplicated, "suspect replicas still count").to.equal(0);
    await c.clock.advance(10_000);
    for (let id = 1; id <= 120; id++) expect(c.holders(id).length, `block ${id}`).to.equal(4); // one of them dead
    const status = await c.status();
    expect(status.underReplicated).to.equal(0);
    expect(status.pendingReplications).to.equal(0);
    expect(status.datanodes[0]!.state).to.equal("dead");
    const events = await c.events();
    expect(events.filter((e) => /^re-replicating 120 blocks of datanode 1 \(host1:9001\)$/.test(e))).to.have.length(1);
    expect(events.filter((e) => /^re-replication finished: 120 blocks in [\d.]+ s$/.test(e))).to.have.length(1);
  });

  it("repairs the blocks with the fewest replicas first, within the bounds per datanode and in total", async () => {
    const c = new TestCluster({ maxTransfers: 6, maxTransfersPerDatanode: 3 });
    const [a, b, d, e] = await c.joinMany(5);
    const order: number[] = [];
    const load = new Map<number, number>();
    let running = 0;
    c.onReplicate = (source, { block, targets }) => {
      order.push(block.id);
      running++;
      const parties = [source.id, ...targets.map((t) => t.id)];
      for (const id of parties) load.set(id, (load.get(id) ?? 0) + 1);
      expect(running).to.be.at.most(6);
      for (const [id, n] of load) expect(n, `datanode ${id}`).to.be.at.most(3);
      c.clock.after(100, () => {
        running--;
        for (const id of parties) load.set(id, load.get(id)! - 1);
        for (const t of targets) {
          const target = c.datanodes.find((x) => x.id === t.id)!;
          target.store(block);
          void target.report(block, State.FINALIZED);
        }
      });
      return true;
    };
    for (let id = 1; id <= 20; id++) c.commit(id, [a!, b!, d!], { wanted: 4 });
    for (let id = 21; id <= 40; id++) c.commit(id, [b!, e!], { wanted: 4 });
    for (let id = 41; id <= 60; id++) c.commit(id, [a!], { wanted: 2 });
    await c.clock.advance(60_000);
    expect((await c.status()).underReplicated).to.equal(0);
    const mean = (from: number, to: number) => {
      const places = order.flatMap((id, i) => (id >= from && id <= to ? [i] : []));
      return places.reduce((x, y) => x + y, 0) / places.length;
    };
    expect(mean(41, 60)).to.be.lessThan(mean(21, 40));
    expect(mean(21, 40)).to.be.lessThan(mean(1, 20));
  });

  it("tries again when a replication does not arrive in time", async () => {
    const c = new TestCluster();
    const [a, b, d] = await c.joinMany(3);
    let tries = 0;
    c.onReplicate = () => ++tries === 1;
    c.commit(1, [a!, b!]);
    await c.clock.advance(SETTINGS.transferTimeoutMs - 1000);
    expect(tries).to.equal(1);
    expect(d!.has(1)).to.equal(false);
    await c.clock.advance(3_000);
    expect(tries).to.equal(2);
    expect(c.holders(1)).to.deep.equal([1, 2, 3]);
  });

  it("drops what there is too much of when a datanode returns, and never below what is wanted", async () => {
    const c = new TestCluster();
    const [a, b, d] = await c.joinMany(4);
    for (let id = 1; id <= 300; id++) c.commit(id, [a!, b!, d!]);
    a!.disconnect();
    await c.clock.advance(SETTINGS.deadAfterMs + 30_000);
    expect(c.holders(7)).to.have.length(4);
    const back = a!.connect();
    await c.clock.advance(10_000);
    await back;
    for (let id = 1; id <= 300; id++) expect(c.holders(id), `block ${id}`).to.have.length(3);
    const status = await c.status();
    expect(status.pendingDeletions).to.equal(0);
    expect(status.underReplicated).to.equal(0);
    expect((await c.events()).some((e) => /^datanode 1 .* returned, was dead$/.test(e))).to.equal(true);
  });

  it("forgets the replicas of a dead datanode when they have been made again", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(4);
    for (let id = 1; id <= 20; id++) c.commit(id, nodes.slice(0, 3));
    nodes[0]!.disconnect();
    await c.clock.advance(SETTINGS.deadAfterMs + 10_000);
    const known = (datanode: number) => [...c.kv.range({ gte: storedKey(datanode, 0), lt: storedKey(datanode, 99) })];
    expect([known(1).length, known(2).length]).to.deep.equal([0, 20]);
    expectConsistent(c.kv);
  });

  it("relies on no replica that its datanode has not confirmed since it connected", async () => {
    const c = new TestCluster();
    const [a, b] = await c.joinMany(2);
    const block = c.commit(1, [a!, b!], { wanted: 2 });
    await c.clock.advance(2_000);
    b!.disconnect();
    b!.replicas.clear();
    c.setWanted(block, 1);
    b!.reticent = true;
    await b!.connect();
    await c.clock.advance(10_000);
    expect(a!.commands).to.deep.equal([]);
    expect(c.holders(1)).to.deep.equal([a!.id]);
    b!.reticent = false;
    await c.clock.advance(10_000);
    expect(c.holders(1)).to.deep.equal([a!.id]);
  });

  it("commands a deletion again that went with a lost connection, and gives it up with a dead datanode", async () => {
    const c = new TestCluster();
    const [a, b] = await c.joinMany(2);
    const blocks = [1, 2].map((id) => c.commit(id, [a!, b!], { wanted: 2 }));
    a!.lazy = true;
    b!.lazy = true;
    c.free(...blocks);
    await c.clock.advance(2_000);
    a!.disconnect();
    b!.disconnect();
    await a!.connect();
    await a!.wake();
    await c.clock.advance(5_000);
    expect(a!.replicas.size).to.equal(0);
    expect((await c.status()).pendingDeletions).to.equal(2);
    await c.clock.advance(SETTINGS.deadAfterMs);
    expect((await c.status()).pendingDeletions).to.equal(0);
    await b!.connect();
    await b!.wake();
    await c.clock.advance(SETTINGS.orphanGraceMs + 5_000);
    expect(b!.replicas.size, "found again as orphans").to.equal(0);
  });

  it("drops the surplus replica on the crowded host, else on the fullest datanode", async () => {
    const c = new TestCluster();
    const a = await c.join({ host: "h1" });
    const b = await c.join({ host: "h1" });
    const d = await c.join({ host: "h2", free: 1 * GIB });
    const e = await c.join({ host: "h3" });
    c.commit(1, [a, b, d], { wanted: 2 });
    c.commit(2, [a, d, e], { wanted: 2 });
    await c.clock.advance(5_000);
    expect(c.holders(1)).to.satisfy((h: number[]) => h.includes(d.id) && h.length === 2);
    expect(c.holders(2)).to.deep.equal([a.id, e.id]);
  });

  it("follows a changed number of wanted replicas, up and down", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(4);
    const block = c.commit(1, nodes.slice(0, 3));
    c.setWanted(block, 4);
    await c.clock.advance(5_000);
    expect(c.holders(1)).to.have.length(4);
    c.setWanted(block, 1);
    await c.clock.advance(5_000);
    expect(c.holders(1)).to.have.length(1);
  });

  it("has the replicas of freed blocks deleted, in bounded commands, also where the datanode was away", async () => {
    const c = new TestCluster();
    const [a, b, d] = await c.joinMany(3);
    const blocks = Array.from({ length: 2500 }, (_, i) => c.commit(i + 1, [a!, b!, d!]));
    d!.disconnect();
    await c.clock.advance(10);
    c.free(...blocks);
    expect((await c.status()).pendingDeletions).to.equal(7500);
    await c.clock.advance(10_000);
    expect(a!.replicas.size + b!.replicas.size).to.equal(0);
    for (const { method, message } of a!.commands)
      if (method === DatanodeCommands.delete.name)
        expect((message as { blocks: unknown[] }).blocks.length).to.be.at.most(1000);
    const back = d!.connect();
    await c.clock.advance(10_000);
    await back;
    expect(d!.replicas.size).to.equal(0);
    expect((await c.status()).pendingDeletions).to.equal(0);
  });

  it("deletes nothing on account of an edit that is not on the disk: it may be lost, and then the file is there again", async () => {
    const c = new TestCluster();
    const [a, b, d] = await c.joinMany(3);
    const [first, second] = [c.commit(1, [a!, b!, d!]), c.commit(2, [a!, b!, d!])];
    c.free(first);
    c.editor.syncedUpTo = c.editor.lastIndex;
    c.free(second);
    await c.clock.advance(10_000);
    expect(c.holders(1)).to.deep.equal([]);
    expect(c.holders(2)).to.have.members([a!.id, b!.id, d!.id]);
    c.editor.syncedUpTo = undefined;
    await c.clock.advance(10_000);
    expect(c.holders(2)).to.deep.equal([]);
    expect((await c.status()).pendingDeletions).to.equal(0);
  });

  it("counts missing blocks, and that they are back", async () => {
    const c = new TestCluster();
    const [a, b] = await c.joinMany(2);
    c.commit(1, [a!], { wanted: 1 });
    c.commit(2, [a!, b!], { wanted: 2 });
    a!.disconnect();
    await c.clock.advance(SETTINGS.deadAfterMs + 5_000);
    const status = await c.status();
    expect([status.missing, status.underReplicated]).to.deep.equal([1, 1]);
    expect((await c.events()).some((e) => e.startsWith("1 block missing"))).to.equal(true);
    await a!.connect();
    await c.clock.advance(5_000);
    expect((await c.status()).missing).to.equal(0);
    expect((await c.events())[0]).to.equal("no block is missing any more");
    expect(c.blocks.replicas({ id: 1, generation: 1, length: 1000 }).live).to.deep.equal([1]);
  });

  it("does nothing about a datanode that comes and goes within the time it has", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(4);
    for (let id = 1; id <= 100; id++) c.commit(id, nodes.slice(0, 3));
    for (let i = 0; i < 10; i++) {
      nodes[i % 3]!.disconnect();
      await c.clock.advance(SETTINGS.deadAfterMs / 2);
      await nodes[i % 3]!.connect();
      await c.clock.advance(SETTINGS.deadAfterMs / 2);
    }
    expect(nodes.flatMap((d) => d.commands)).to.deep.equal([]);
    expect(nodes[3]!.replicas.size).to.equal(0);
    expect(nodes.flatMap((d) => d.askedRanges)).to.deep.equal([]);
  });

  it("sees after a restart that blocks which were missing are not any more", async () => {
    const c = new TestCluster();
    const [a, b] = await c.joinMany(2);
    for (let id = 1; id <= 1000; id++) c.commit(id, [a!], { wanted: 1 });
    a!.disconnect();
    await c.clock.advance(SETTINGS.deadAfterMs + 5_000);
    expect((await c.status()).missing).to.equal(1000);
    c.start();
    await a!.connect();
    await b!.connect();
    await c.clock.advance(3_000);
    expect((await c.status()).missing).to.equal(0);
  });

  it("keeps the last good replica whatever late reports say", async () => {
    const c = new TestCluster();
    const [a, b] = await c.joinMany(2);
    const block = c.commit(1, [a!, b!], { wanted: 2 });
    a!.lazy = true;
    b!.lazy = true;
    c.setWanted(block, 1);
    await c.clock.advance(2_000);
    const doomed = [a!, b!].find((d) => d.commands.length > 0)!;
    const kept = [a!, b!].find((d) => d !== doomed)!;
    // A report made before the command arrived still names the doomed replica.
    await doomed.report(block, State.FINALIZED);
    await doomed.fullReport();
    await c.clock.advance(5_000);
    expect(kept.commands).to.deep.equal([]);
    expect(c.blocks.replicas(block).live).to.deep.equal([kept.id]);
    await doomed.wake();
    await c.clock.advance(5_000);
    expect(c.holders(1)).to.deep.equal([kept.id]);
  });
});

describe("namenode/blocks: corrupt replicas", () => {
  it("replaces one on another datanode, and deletes it afterwards", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(4);
    const block = c.commit(1, nodes.slice(0, 3));
    nodes[1]!.corrupt.add(1);
    c.blocks.reportBad(block, 2, "checksum mismatch");
    await c.clock.advance(5_000);
    expect(c.holders(1)).to.deep.equal([1, 3, 4]);
    expect(nodes[1]!.has(1)).to.equal(false);
    expect((await c.status()).corrupt).to.equal(0);
    const events = await c.events();
    expect(events.some((e) => e.startsWith("corrupt replica of block 1 found on datanode 2"))).to.equal(true);
    expect(events.some((e) => e.startsWith("corrupt replica of block 1 replaced"))).to.equal(true);
  });

  it("replaces one of three on three datanodes: deletes it first, copies it back", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(3);
    const block = c.commit(1, nodes);
    nodes[2]!.corrupt.add(1);
    c.blocks.reportBad(block, 3, "checksum mismatch");
    await c.clock.advance(5_000);
    expect(c.holders(1)).to.deep.equal([1, 2, 3]);
    const status = await c.status();
    expect([status.corrupt, status.underReplicated]).to.deep.equal([0, 0]);
  });

  it("deletes none while the good ones are away", async () => {
    const c = new TestCluster();
    const [a, b] = await c.joinMany(2);
    const block = c.commit(1, [a!, b!], { wanted: 1 });
    a!.lazy = true;
    b!.lazy = true;
    await b!.report(block, State.CORRUPT);
    a!.disconnect();
    await c.clock.advance(10_000);
    expect(b!.commands).to.deep.equal([]);
    await a!.connect();
    await c.clock.advance(5_000);
    expect(b!.commands.map((x) => x.method)).to.deep.equal([DatanodeCommands.delete.name]);
  });

  it("remembers that a replica is corrupt when its datanode dies before it could delete it", async () => {
    const c = new TestCluster();
    const [a, b] = await c.joinMany(2);
    const block = c.commit(1, [a!, b!], { wanted: 1 });
    a!.corrupt.add(1);
    await a!.report(block, State.CORRUPT);
    a!.lazy = true;
    await c.clock.advance(2_000);
    a!.disconnect();
    await c.clock.advance(SETTINGS.deadAfterMs + 5_000);
    await a!.connect();
    await a!.wake();
    await c.clock.advance(5_000);
    expect(c.holders(1)).to.deep.equal([b!.id]);
    expect(a!.has(1)).to.equal(false);
  });

  it("neither counts nor locates a corrupt replica, and never deletes the only one", async () => {
    const c = new TestCluster();
    const [a] = await c.joinMany(1);
    const block = c.commit(1, [a!], { wanted: 1 });
    a!.corrupt.add(1);
    await a!.report(block, State.CORRUPT);
    await c.clock.advance(10_000);
    expect(c.blocks.locate(block, "host1").replicas).to.deep.equal([]);
    expect(c.blocks.replicas(block)).to.deep.include({ live: [], corrupt: [1] });
    const status = await c.status();
    expect([status.missing, status.corrupt]).to.deep.equal([1, 1]);
    expect(a!.has(1)).to.equal(true);
  });

  it("believes a datanode that verified the replica and found it good", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(3);
    const block = c.commit(1, nodes);
    nodes[0]!.lazy = true;
    c.blocks.reportBad(block, 1, "a bad cable");
    c.blocks.reportBad(block, 1, "a bad cable");
    expect(nodes[0]!.commands.map((x) => x.method)).to.deep.equal([DatanodeCommands.verify.name]);
    expect(c.blocks.locate(block, "host1").replicas.at(-1)!.id, "in doubt: last").to.equal(1);
    await nodes[0]!.report(block, State.VERIFIED);
    expect(c.blocks.locate(block, "host1").replicas[0]!.id).to.equal(1);
    await c.clock.advance(10_000);
    expect(c.holders(1)).to.deep.equal([1, 2, 3]);
  });

  it("has the bad replicas of a missing block read again, now and then: what a disk cannot read now it may later", async () => {
    const c = new TestCluster();
    const [a, b] = await c.joinMany(2);
    const block = c.commit(1, [a!, b!], { wanted: 2 });
    for (const datanode of [a!, b!]) {
      datanode.lazy = true;
      datanode.corrupt.add(1);
      await datanode.report(block, State.CORRUPT);
    }
    const asked = () => [a!, b!].map((d) => d.commands.filter((x) => x.method === DatanodeCommands.verify.name).length);
    await c.clock.advance(5_000);
    expect(asked()).to.deep.equal([1, 1]);
    for (const datanode of [a!, b!]) await datanode.report(block, State.CORRUPT);
    await c.clock.advance(200_000);
    expect(asked()).to.deep.equal([1, 1]);
    await c.clock.advance(200_000);
    expect(asked()).to.deep.equal([2, 2]);
    a!.corrupt.delete(1);
    await a!.report(block, State.VERIFIED);
    expect((await c.status()).missing).to.equal(0);
    expect(c.blocks.locate(block, "host1").replicas.map((r) => r.id)).to.deep.equal([1]);
  });

  it("treats a committed block's replica of another length as corrupt", async () => {
    const c = new TestCluster();
    const nodes = await c.joinMany(4);
    const block = c.commit(1, nodes.slice(0, 3));
    nodes[1]!.store({ ...block, length: 999 });
    await nodes[1]!.fullReport();
    await c.clock.advance(5_000);
    expect(c.holders(1)).to.deep.equal([1, 3, 4]);
  });
});
