import { expect } from "chai";
import { SETTINGS, TestCluster, type TestDatanode } from "./cluster.js";
import { expectConsistent } from "./consistency.js";

const LENGTH = 1_000;
const SIZE = 500 * LENGTH;

const full = (d: TestDatanode) => (d.replicas.size * LENGTH) / SIZE;

/** Repeats the request as the command does, until it ends or for so many seconds. */
async function balance(c: TestCluster, seconds: number, request: { thresholdPpm?: number; run?: number } = {}) {
  let reply = await c.balance(request);
  for (let s = 0; s < seconds && reply.state === "moving"; s++) {
    await c.clock.advance(1_000);
    reply = await c.balance(request);
  }
  return reply;
}

/** Three full datanodes, and some empty ones. */
async function lopsided(blocks: number, joining: { rack?: string }[], racks: string[] = ["/r", "/r", "/r"]) {
  const c = new TestCluster();
  const old: TestDatanode[] = [];
  for (const rack of racks) old.push(await c.join({ size: SIZE, rack }));
  for (let id = 1; id <= blocks; id++) c.commit(id, old, { length: LENGTH });
  const fresh: TestDatanode[] = [];
  for (const where of joining) fresh.push(await c.join({ size: SIZE, ...where }));
  await c.clock.advance(2 * SETTINGS.heartbeatMs);
  return { c, old, fresh };
}

describe("namenode/blocks: balancing", () => {
  it("moves replicas from full datanodes to empty ones until all are near the average, then ends", async () => {
    const { c, old, fresh } = await lopsided(400, [{ rack: "/r" }, { rack: "/r" }]);
    let least = 3;
    c.onDelete = (node, block) => {
      least = Math.min(least, c.holders(block.id).filter((id) => id !== node.id).length);
    };
    const reply = await balance(c, 3_000, { thresholdPpm: 50_000 });
    expect(reply.state).to.equal("balanced");
    for (const d of [...old, ...fresh]) expect(full(d), `datanode ${d.id}`).to.be.within(0.42, 0.54);
    for (let id = 1; id <= 400; id++) expect(c.holders(id), `block ${id}`).to.have.length(3);
    expect(least, "copied first, deleted afterwards").to.equal(3);
    expect(reply.movedBlocks).to.be.within(250, 500);
    expect(reply.movedBytes).to.equal(reply.movedBlocks * LENGTH);
    expect((await c.status()).underReplicated).to.equal(0);
    expectConsistent(c.kv);
  });

  it("does nothing where nothing is out of balance, and nothing unless it is asked to", async () => {
    const { c, old, fresh } = await lopsided(400, [{ rack: "/r" }]);
    await c.clock.advance(60_000);
    expect(fresh[0]!.replicas.size).to.equal(0);
    const reply = await balance(c, 10, { thresholdPpm: 900_000 });
    expect(reply.state).to.equal("balanced");
    expect(old.flatMap((d) => d.commands)).to.deep.equal([]);
  });

  it("keeps the racks of every block, and says so when that leaves nothing to move", async () => {
    const { c, old, fresh } = await lopsided(300, [{ rack: "/b" }], ["/a", "/a", "/b"]);
    await balance(c, 600);
    const rackOf = (id: number) => c.datanodes.find((d) => d.id === id)!.rack;
    for (let id = 1; id <= 300; id++) expect(new Set(c.holders(id).map(rackOf)).size, `racks of ${id}`).to.equal(2);
    expect(fresh[0]!.replicas.size).to.be.greaterThan(0);
    expect(old.every((d) => d.replicas.size <= 300)).to.equal(true);

    const narrow = await lopsided(300, [{ rack: "/a" }], ["/a", "/b", "/c"]);
    for (let id = 1; id <= 300; id++) expect(narrow.c.holders(id)).to.have.length(3);
    const { state } = await balance(narrow.c, 600, { thresholdPpm: 10_000 });
    expect(state).to.equal("stuck"); // from /a to /a it went; /b and /c must stay
    expect(narrow.old[1]!.replicas.size).to.equal(300);
    expect(narrow.old[0]!.replicas.size).to.be.lessThan(300);
  });

  it("stops when nobody asks any more, and when it is told to; what is under way ends well", async () => {
    const { c, fresh } = await lopsided(400, [{ rack: "/r" }]);
    await balance(c, 10);
    await c.clock.advance(60_000);
    const after = fresh[0]!.replicas.size;
    expect(after).to.be.within(1, 100);
    await c.clock.advance(60_000);
    expect(fresh[0]!.replicas.size).to.equal(after);
    await balance(c, 5);
    expect((await c.balance({ stop: true })).state).to.equal("stopped");
    const stopped = fresh[0]!.replicas.size;
    await c.clock.advance(60_000);
    expect(fresh[0]!.replicas.size).to.be.within(stopped, stopped + 2);
    for (let id = 1; id <= 400; id++) expect(c.holders(id), `block ${id}`).to.have.length(3);
    expectConsistent(c.kv);
  });

  it("goes on after a restart of the namenode, when it is asked again", async () => {
    const { c, old, fresh } = await lopsided(200, [{ rack: "/r" }]);
    await balance(c, 10);
    c.start();
    for (const d of [...old, ...fresh]) await d.connect();
    const reply = await balance(c, 2_000);
    expect(reply.state).to.equal("balanced");
    for (let id = 1; id <= 200; id++) expect(c.holders(id), `block ${id}`).to.have.length(3);
  });

  it("is done for one command at a time, and refuses what makes no sense", async () => {
    const { c } = await lopsided(200, [{ rack: "/r" }]);
    const code = (work: Promise<unknown>) =>
      work.then(
        () => "none",
        (err) => err.code,
      );
    await c.balance({ run: 1 });
    expect(await code(c.balance({ run: 2 }))).to.equal("EBUSY");
    expect(await code(c.balance({ run: 1, thresholdPpm: 0 }))).to.equal("EINVAL");
    expect(await code(c.balance({ run: 0 }))).to.equal("EINVAL");
    await c.clock.advance(30_000); // the first has gone
    expect(await code(c.balance({ run: 2 }))).to.equal("none");
  });

  it("moves nothing to a datanode that is to leave, and leaves the slots to repairs", async () => {
    const { c, fresh } = await lopsided(200, [{ rack: "/r" }, { rack: "/r" }]);
    await c.administer(fresh[0]!, 1);
    await balance(c, 60);
    expect(fresh[0]!.replicas.size).to.equal(0);
    expect(fresh[1]!.replicas.size).to.be.greaterThan(0);
  });
});
