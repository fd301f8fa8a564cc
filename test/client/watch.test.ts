import { expect } from "chai";
import type { Changes } from "../../client/contract.js";
import { SessionWatch } from "../../client/watch.js";
import { ROOT_INO } from "../../common/limits.js";
import { ClientPush } from "../../proto/gen/services.js";
import { FakeClock } from "../support/fake-clock.js";
import { FakeCluster } from "../support/fake-cluster.js";
import { until } from "../support/until.js";

const LEASE_MS = 10_000;

describe("how far answers may be believed", () => {
  it("is for most of a lease after the last call that was answered was sent", () => {
    const clock = new FakeClock();
    const watch = new SessionWatch(clock, true, () => {});
    expect(watch.trustMs()).to.equal(0);
    watch.connected(0, LEASE_MS);
    expect(watch.trustMs()).to.equal(9_000);
    clock.jump(5_000);
    expect(watch.trustMs()).to.equal(4_000);
    watch.answered(3_000, watch.epoch);
    expect(watch.trustMs()).to.equal(7_000);
    watch.answered(1_000, watch.epoch);
    expect(watch.trustMs()).to.equal(7_000);
    clock.jump(7_000);
    expect(watch.trustMs()).to.equal(0);
  });

  it("does not follow from answers over an earlier connection, and starts anew with each", () => {
    const clock = new FakeClock();
    const watch = new SessionWatch(clock, true, () => {});
    let missed = 0;
    watch.attach({ changed: () => {}, missed: () => missed++, openInodes: () => [5] });
    watch.connected(0, LEASE_MS);
    const { epoch } = watch;
    expect([missed, watch.open()]).to.deep.equal([0, [5]]);
    clock.jump(4_000);
    watch.connected(4_000, LEASE_MS);
    expect(missed).to.equal(1);
    expect(watch.epoch).not.to.equal(epoch);
    clock.jump(2_000);
    watch.answered(6_000, epoch);
    expect(watch.trustMs()).to.equal(7_000);
  });

  it("is not at all for a client that does not watch", () => {
    const forgotten: number[] = [];
    const watch = new SessionWatch(new FakeClock(), false, (inos) => forgotten.push(...inos));
    watch.connected(0, LEASE_MS);
    watch.forget([1]);
    expect([watch.trustMs(), forgotten]).to.deep.equal([0, []]);
  });
});

describe("a client that watches", () => {
  let cluster: FakeCluster;
  beforeEach(async () => {
    cluster = await FakeCluster.start();
  });
  afterEach(() => cluster.stop());

  const none = { attributes: [], contents: [], names: [], nameless: [], forgotten: [] };
  const push = (changes: Partial<Changes>) => {
    for (const link of cluster.namenode.links) link.push(ClientPush.changed, { ...none, ...changes } as never);
  };

  it("says so, hears of changes, and after a reconnection says what it has open", async () => {
    const client = await cluster.client({ watch: true });
    const told: Changes[] = [];
    let missed = 0;
    client.watch.attach({ changed: (changes) => told.push(changes), missed: () => missed++, openInodes: () => [7, 8] });
    expect(cluster.namenode.sessions[0]?.watch).to.equal(true);
    expect(client.watch.trustMs()).to.be.greaterThan(0);
    push({ attributes: [3], names: [{ dir: ROOT_INO, name: Buffer.from("a") }] });
    await until(() => told.length > 0, { timeoutMs: 20_000, what: "the change" });
    expect(told[0]?.attributes).to.deep.equal([3]);
    for (const link of [...cluster.namenode.links]) link.terminate("lost");
    await until(() => missed > 0, { timeoutMs: 20_000, what: "a new connection" });
    expect(cluster.namenode.sessions.at(-1)?.open).to.deep.equal([7, 8]);
  });

  it("shows a file that stays open as others have made it", async () => {
    const writer = await cluster.client();
    const { inode, content } = await cluster.file(writer);
    await content.write(0, Buffer.from("one"));
    await content.flush();
    const reader = await cluster.client({ watch: true });
    const open = reader.open(await reader.meta.getInode(inode.ino));
    const target = Buffer.alloc(10);
    expect(target.toString("utf8", 0, await open.read(0, target))).to.equal("one");
    await content.write(0, Buffer.from("other"));
    await content.flush();
    push({ contents: [inode.ino] });
    const read = async () => target.toString("utf8", 0, await open.read(0, target));
    await until(async () => (await read()) === "other", { timeoutMs: 20_000, what: "the new content" });
    await open.close();
    await content.close();
  });
});
