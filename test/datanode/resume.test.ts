import { randomBytes } from "node:crypto";
import { expect } from "chai";
import { MIB } from "../../common/limits.js";
import { Datanode } from "../../proto/gen/services.js";
import { Compression, ReplicaChangeState } from "../../proto/gen/types.js";
import { until } from "../support/until.js";
import { SmallCluster } from "./cluster.js";
import { codeOf } from "./rejection.js";

const { FINALIZED, DELETED } = ReplicaChangeState;

describe("resuming a broken pipeline", () => {
  let cluster: SmallCluster;
  afterEach(() => cluster.close());

  it("goes on with the survivors when the one in the middle dies", async () => {
    cluster = await SmallCluster.start(3);
    const data = randomBytes(4 * MIB);
    const all = cluster.pipeline(1, 2, 3);
    const stream = await cluster.client.open(all, 7, 1);
    const piece = 200_000; // packets that end within a chunk
    for (let at = 0; at < MIB; at += piece)
      stream.send(data.subarray(at, at + piece), { compression: Compression.LZ4 });
    await stream.finished();
    await cluster.datanodes[1]!.close();
    for (let i = 0; i < 5; i++) stream.send(data.subarray(stream.offset, stream.offset + piece));
    const ack = await stream.broken();
    expect(ack.failedDatanode).to.equal(all[1]!.id);
    const length = stream.acknowledged;
    expect(length).to.be.at.least(MIB);

    const rest = await cluster.client.open([all[0]!, all[2]!], 7, 2, { resume: { generation: 1, length } });
    rest.send(data.subarray(length, length + MIB));
    rest.send(data.subarray(length + MIB, length + MIB + 7), { last: true });
    await rest.finished();
    const whole = data.subarray(0, length + MIB + 7);
    const block = { id: 7, generation: 2, length: whole.length };
    for (const d of [all[0]!, all[2]!]) {
      expect((await cluster.client.read(d, block)).equals(whole)).to.equal(true);
      expect(await codeOf(cluster.client.read(d, { ...block, generation: 1 }))).to.equal("ENOENT");
    }
    expect(cluster.openFiles(1)).to.deep.equal([]);
  });

  it("goes on after the writer's connection was lost, also when a survivor has more than was acknowledged", async () => {
    cluster = await SmallCluster.start(2);
    const all = cluster.pipeline(1, 2);
    const stream = await cluster.client.open(all, 8, 1, { ownLink: true });
    stream.send(Buffer.from("first "));
    stream.send(Buffer.from("second "));
    await stream.finished();
    stream.link.terminate("cut by the test");
    const resumed = await cluster.client.open([...all].reverse(), 8, 2, { resume: { generation: 1, length: 6 } });
    resumed.send(Buffer.from("third"), { last: true, sync: true });
    await resumed.finished();
    const block = { id: 8, generation: 2, length: 11 };
    for (const d of all) expect((await cluster.client.read(d, block)).toString()).to.equal("first third");
  });

  it("takes a replica back that was finalized though its writer did not learn of it", async () => {
    cluster = await SmallCluster.start(2);
    const [one] = cluster.pipeline(1);
    await cluster.client.write([one!], 9, Buffer.from("all of it"), { packet: 4 });
    const again = await cluster.client.open([one!], 9, 2, { resume: { generation: 1, length: 8 } });
    again.send(Buffer.from("t!"), { last: true });
    await again.finished();
    const block = { id: 9, generation: 2, length: 10 };
    expect((await cluster.client.read(one!, block)).toString()).to.equal("all of it!");
    await until(() => cluster.namenode.changes.some((c) => c.state === FINALIZED && c.block.generation === 2), {
      what: "the report",
    });
    expect(cluster.namenode.changes.map((c) => [c.block.generation, c.state])).to.deep.equal([
      [1, FINALIZED],
      [1, DELETED],
      [2, FINALIZED],
    ]);
    expect(cluster.blockFiles(1)).to.have.length(1);
  });

  it("refuses to resume what is not there, what is shorter, and at no packet's end", async () => {
    cluster = await SmallCluster.start(2);
    const all = cluster.pipeline(1, 2);
    const stream = await cluster.client.open(all, 10, 1);
    stream.send(Buffer.from("12345"));
    stream.send(Buffer.from("67890"));
    await stream.finished();
    const resume = (generation: number, from: number, length: number) =>
      cluster.client.open(all, 10, generation, { resume: { generation: from, length } });
    expect(await codeOf(resume(3, 1, 11))).to.equal("EIO");
    expect(await codeOf(resume(4, 3, 7))).to.equal("EINVAL");
    expect(await codeOf(cluster.client.open(all, 99, 2, { resume: { generation: 1, length: 1 } }))).to.equal("ENOENT");
    // What failed half-way has not spoiled anything.
    const good = await resume(5, 1, 5);
    expect(await codeOf(resume(4, 1, 5))).to.equal("ESTALE");
    good.send(Buffer.from("!"), { last: true });
    await good.finished();
    const block = { id: 10, generation: 5, length: 6 };
    for (const d of all) expect((await cluster.client.read(d, block)).toString()).to.equal("12345!");
  });

  it("resumes a stream of which nothing was acknowledged where there is no replica at all", async () => {
    cluster = await SmallCluster.start(1);
    const all = cluster.pipeline(1);
    const stream = await cluster.client.open(all, 11, 2, { resume: { generation: 1, length: 0 } });
    stream.send(Buffer.from("new"), { last: true });
    await stream.finished();
    expect((await cluster.client.read(all[0]!, { id: 11, generation: 2, length: 3 })).toString()).to.equal("new");
  });

  it("drops the unfinished replicas of a writer that does not come back, on every datanode", async () => {
    cluster = await SmallCluster.start(0);
    for (const n of [1, 2]) await cluster.add(n, {}, { resumeGraceMs: 50 });
    const stream = await cluster.client.open(cluster.pipeline(1, 2), 12, 1, { ownLink: true });
    stream.send(Buffer.from("abandoned"));
    await stream.finished();
    expect([1, 2].map((n) => cluster.openFiles(n).length)).to.deep.equal([1, 1]);
    stream.link.terminate("cut by the test");
    await until(() => [1, 2].every((n) => cluster.openFiles(n).length === 0), { what: "the replicas to go" });
    expect(cluster.datanodes.map((d) => [d.figures().writers, d.figures().windows])).to.deep.equal([
      [0, 0],
      [0, 0],
    ]);
  });

  it("gives memory to so many writers only; the others wait for it", async () => {
    cluster = await SmallCluster.start(1, { maxBufferedBytes: 4 * MIB });
    const one = cluster.pipeline(1);
    const streams = [];
    for (let id = 20; id < 26; id++) streams.push(await cluster.client.open(one, id, 1));
    const windows = streams.map((stream) => stream.window);
    expect(windows.every((w) => w >= MIB / 2)).to.equal(true);
    expect(windows.reduce((sum, w) => sum + w, 0)).to.be.within(3.5 * MIB, 4 * MIB);
    let opened = false;
    const late = cluster.client.open(one, 26, 1).then((stream) => {
      opened = true;
      return stream;
    });
    // It has arrived: what was sent after it has been answered.
    for (let i = 0; i < 5; i++) await streams[0]!.link.call(Datanode.syncBlocks, { blocks: [] });
    expect(opened).to.equal(false);
    streams[0]!.send(Buffer.from("done"), { last: true });
    expect((await late).window).to.be.at.least(MIB / 2);
  });
});
