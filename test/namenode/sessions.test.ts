import { expect } from "chai";
import { ROOT_INO } from "../../common/limits.js";
import { S_IFREG } from "../../namenode/namespace/types.js";
import { dump, fakeLink, LEASE_MS, name, SESSION, World } from "./namespace/world.js";

const callRecords = (world: World) => dump(world.kv).filter(([key]) => key.startsWith("C")).length;

describe("a session", () => {
  let world: World;
  beforeEach(async () => {
    world = await World.open();
  });

  const reopen = (at: World, pending: number[], link = fakeLink()) =>
    at.call(
      "openSession",
      { session: SESSION, name: "again", host: "h", pending: pending.map((id) => ({ id, generation: 4 })) },
      link.link,
    );

  it("is told of cluster, lease and policy", async () => {
    const reply = await world.call("openSession", { session: 5, name: "n", host: "h" });
    expect(reply).to.include({ cluster: "c", leaseMs: LEASE_MS, version: "test" });
    expect(reply.policy).to.include({ replicas: 3, blockSize: 64 << 20 });
    expect(world.sessions.size).to.equal(2);
  });

  it("ends when nothing is heard of it for its lease: records, pending blocks and connection go", async () => {
    const block = await world.allocate();
    await world.mkfile(ROOT_INO, "f");
    expect(callRecords(world)).to.equal(1);
    world.clock.advance(LEASE_MS - 1_000);
    await world.call("keepAlive", { session: SESSION });
    world.clock.advance(LEASE_MS - 1_000);
    expect(world.sessions.isPending(block)).to.equal(true);
    world.clock.advance(LEASE_MS / 5);
    expect(world.sessions.isPending(block)).to.equal(false);
    expect(world.sessions.size).to.equal(0);
    expect(callRecords(world)).to.equal(0);
    expect(world.link.closed).to.deep.equal(["the session has ended"]);
    expect(await world.code("keepAlive", { session: SESSION })).to.equal("ENOTCONN");
  });

  it("is kept alive by its changes", async () => {
    for (let i = 0; i < 5; i++) {
      world.clock.advance(LEASE_MS - 1_000);
      await world.mkfile(ROOT_INO, String(i));
    }
    expect(world.sessions.size).to.equal(1);
  });

  it("does not end because the namenode itself stood still", async () => {
    world.clock.jump(10 * LEASE_MS);
    world.clock.advance(LEASE_MS / 2);
    expect(world.sessions.size).to.equal(1);
    world.clock.advance(LEASE_MS);
    expect(world.sessions.size).to.equal(0);
  });

  it("ends at once when it is closed", async () => {
    const block = await world.allocate();
    await world.mkfile(ROOT_INO, "f");
    await world.call("closeSession", { session: SESSION });
    expect(world.sessions.isPending(block)).to.equal(false);
    expect(callRecords(world)).to.equal(0);
    await world.call("closeSession", { session: SESSION });
  });

  it("holds, over a new connection, the blocks that the client names", async () => {
    const [kept, lost] = [await world.allocate(), await world.allocate()];
    const link = fakeLink();
    await reopen(world, [kept], link);
    expect([kept, lost].map((b) => world.sessions.isPending(b))).to.deep.equal([true, false]);
    expect(world.sessions.generation(SESSION, kept)).to.equal(4);
    expect([...world.sessions.links()]).to.deep.equal([link.link]);
    // The old connection's end comes late, and is not the new one's.
    world.link.drop();
    await Promise.resolve();
    expect([...world.sessions.links()]).to.deep.equal([link.link]);
    link.drop();
    await Promise.resolve();
    expect([...world.sessions.links()]).to.deep.equal([]);
  });

  it("does not hold blocks that have been committed meanwhile", async () => {
    const { ino } = await world.mkfile(ROOT_INO, "f");
    const block = await world.write(ino, 10);
    await reopen(world, [block]);
    expect(world.sessions.isPending(block)).to.equal(false);
  });

  it("comes back after a restart, with its blocks", async () => {
    const block = await world.allocate();
    const after = await World.open({ journal: world.journal });
    expect(after.sessions.isPending(block)).to.equal(false);
    await reopen(after, [block]);
    expect(after.sessions.isPending(block)).to.equal(true);
  });

  it("that does not come back after a restart is forgotten when its lease is over", async () => {
    await world.call("openSession", { session: 1234, name: "other", host: "h" });
    const call = { session: 1234, sequence: 1, doneBelow: 1 };
    await world.call("create", { dir: ROOT_INO, name: name("f"), mode: S_IFREG, call });
    const after = await World.open({ journal: world.journal });
    expect(callRecords(after)).to.equal(1);
    for (let i = 0; i < 4; i++) {
      after.clock.advance(LEASE_MS / 3);
      await after.call("keepAlive", { session: SESSION });
    }
    expect(callRecords(after)).to.equal(0);
    expect(after.sessions.size).to.equal(1);
  });

  it("is refused blocks that are another's, or were never given out", async () => {
    const block = await world.allocate();
    const open = (pending: object[]) => world.code("openSession", { session: 5, name: "n", host: "h", pending });
    expect(await open([{ id: block, generation: 1 }])).to.equal("EINVAL");
    expect(await open([{ id: 900_000, generation: 1 }])).to.equal("EINVAL");
    expect(await open([{ id: 0 }])).to.equal("EINVAL");
    expect(await world.code("openSession", { session: 0, name: "n", host: "h" })).to.equal("EINVAL");
    expect(await world.code("openSession", { session: 5, name: "n".repeat(256), host: "h" })).to.equal("EINVAL");
    expect(world.sessions.isPending(block)).to.equal(true);
  });
});
