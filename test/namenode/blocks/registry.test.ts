import { expect } from "chai";
import { Registry } from "../../../proto/gen/services.js";
import { CLUSTER_ID, FakeLink, SETTINGS, TestCluster, TestDatanode } from "./cluster.js";

async function refusal(work: Promise<unknown>): Promise<{ code: string; message: string }> {
  return work.then(
    () => ({ code: "none", message: "" }),
    (err) => err,
  );
}

describe("namenode/blocks: registry", () => {
  it("gives numbers that last over reconnections, new addresses and restarts", async () => {
    const c = new TestCluster();
    const [a, b] = await c.joinMany(2);
    expect([a!.id, b!.id]).to.deep.equal([1, 2]);
    a!.disconnect();
    const moved = new TestDatanode(c, 77, { uuid: a!.uuid, host: "elsewhere", rack: "/r7" });
    await moved.connect();
    expect(moved.id).to.equal(1);
    c.start();
    expect(
      (await c.status()).datanodes.map((d) => [d.address.id, d.address.host, d.address.rack, d.state]),
    ).to.deep.equal([
      [1, "elsewhere", "/r7", "suspect"],
      [2, "host2", "/default-rack", "suspect"],
    ]);
    await b!.connect();
    const late = await c.join();
    expect([b!.id, late.id]).to.deep.equal([2, 3]);
  });

  it("makes no edit for a datanode that has not changed", async () => {
    const c = new TestCluster();
    const [a] = await c.joinMany(1);
    const before = c.editor.lastIndex;
    a!.disconnect();
    await a!.connect();
    expect(c.editor.lastIndex).to.equal(before);
  });

  it("refuses a datanode of another cluster, naming both", async () => {
    const c = new TestCluster();
    const err = await refusal(new TestDatanode(c, 1, {}).connect("another-cluster"));
    expect(err.code).to.equal("EPERM");
    expect(err.message).to.contain("another-cluster").and.to.contain(CLUSTER_ID);
    expect((await c.status()).datanodes).to.deep.equal([]);
  });

  it("refuses a second living datanode with the same uuid or address", async () => {
    const c = new TestCluster();
    const [a] = await c.joinMany(1);
    const copy = new TestDatanode(c, 9, { uuid: a!.uuid });
    expect((await refusal(copy.connect())).code).to.equal("EBUSY");
    const sameAddress = new TestDatanode(c, 1, { uuid: "another-uuid" });
    expect((await refusal(sameAddress.connect())).code).to.equal("EBUSY");
    a!.disconnect();
    await c.clock.advance(1);
    await copy.connect();
    expect(copy.id).to.equal(1);
  });

  it("lets the same process connect anew before its old connection is known to be broken", async () => {
    const c = new TestCluster();
    const [a] = await c.joinMany(1);
    const old = a!.link!;
    await a!.connect();
    await c.clock.advance(1);
    expect(old.isOpen).to.equal(false);
    expect((await c.status()).datanodes[0]!.state).to.equal("live");
    expect((await refusal(c.call(old, Registry.heartbeat, {}))).code).to.equal("ESTALE");
  });

  it("refuses what cannot be", async () => {
    const c = new TestCluster();
    const good = { uuid: "datanode-uuid-1", cluster: "", host: "h", port: 1, rack: "" };
    const bad = [
      { ...good, uuid: "" },
      { ...good, uuid: "x".repeat(65) },
      { ...good, host: "" },
      { ...good, host: "a b" },
      { ...good, host: "x".repeat(256) },
      { ...good, port: 0 },
      { ...good, port: 65_536 },
      { ...good, rack: "rack1" },
      { ...good, rack: "/a//b" },
      { ...good, version: "v".repeat(65) },
      { ...good, volumes: [{ path: "/x", capacity: 2 ** 60 }] },
    ];
    for (const request of bad) {
      const { code } = await refusal(c.call(new FakeLink(() => {}), Registry.register, request));
      expect(code, JSON.stringify(request).slice(0, 200)).to.equal("EINVAL");
    }
    const volumes = Array.from({ length: 129 }, () => ({ path: "/x" }));
    const { code } = await refusal(c.call(new FakeLink(() => {}), Registry.register, { ...good, volumes }));
    expect(code).to.equal("E2BIG");
    expect((await c.status()).datanodes).to.deep.equal([]);
    const reply = await c.call(new FakeLink(() => {}), Registry.register, good);
    expect(reply).to.deep.include({ datanode: 1, cluster: CLUSTER_ID, heartbeatMs: SETTINGS.heartbeatMs });
  });

  it("goes from live to suspect to dead and back, with an event each", async () => {
    const c = new TestCluster();
    const [a, b] = await c.joinMany(2);
    const states = async () => (await c.status()).datanodes.map((d) => d.state).join(" ");
    expect(await states()).to.equal("live live");
    a!.disconnect("connection reset");
    b!.silent = true;
    await c.clock.advance(1);
    expect(await states(), "a lost connection: at once").to.equal("suspect live");
    await c.clock.advance(3 * SETTINGS.heartbeatMs + 1000);
    expect(await states(), "late heartbeats").to.equal("suspect suspect");
    await b!.heartbeat();
    b!.silent = true;
    expect(await states()).to.equal("suspect live");
    await c.clock.advance(SETTINGS.deadAfterMs - 3 * SETTINGS.heartbeatMs - 1000);
    expect(await states()).to.equal("dead suspect");
    const link = b!.link!;
    await c.clock.advance(SETTINGS.deadAfterMs);
    expect(await states()).to.equal("dead dead");
    expect(link.isOpen, "a silent connection is dropped").to.equal(false);
    b!.silent = false;
    await a!.connect();
    await b!.connect();
    expect(await states()).to.equal("live live");
    const events = (await c.events()).filter((e) => e.startsWith("datanode 1")).reverse();
    expect(events.map((e) => e.replace("datanode 1 (host1:9001) ", ""))).to.deep.equal([
      "joined",
      "is suspect: connection reset",
      "is dead: nothing heard for 30 s",
      "returned, was dead",
    ]);
  });

  it("does not blame datanodes for time in which the namenode itself stood still", async () => {
    const c = new TestCluster();
    await c.joinMany(3);
    c.clock.jump(10 * SETTINGS.deadAfterMs);
    await c.clock.advance(5_000);
    expect((await c.status()).datanodes.map((d) => d.state)).to.deep.equal(["live", "live", "live"]);
    expect((await c.events()).filter((e) => / dead/.test(e))).to.deep.equal([]);
  });

  it("counts capacity over live datanodes, and shows what they report", async () => {
    const c = new TestCluster();
    const [a, b] = await c.joinMany(2);
    expect(c.blocks.capacity()).to.deep.equal({
      capacity: 400 * 2 ** 30,
      used: 200 * 2 ** 30,
      available: 200 * 2 ** 30,
    });
    b!.disconnect();
    a!.store({ id: 5, generation: 1, length: 1 });
    await a!.heartbeat();
    expect(c.blocks.capacity().capacity).to.equal(200 * 2 ** 30);
    const [status] = (await c.status()).datanodes;
    expect(status).to.deep.include({ blocks: 1, uuid: a!.uuid, version: "test", lastHeartbeatMs: c.clock.now() });
    expect(status!.volumes).to.have.length(1);
  });
});
