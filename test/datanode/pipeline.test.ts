import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { MIB } from "../../common/limits.js";
import { encodeChunks } from "../../proto/chunks.js";
import { BlockStream, Datanode } from "../../proto/gen/services.js";
import { Compression, ReplicaChangeState } from "../../proto/gen/types.js";
import { until } from "../support/until.js";
import { SmallCluster } from "./cluster.js";
import { codeOf, rejection } from "./rejection.js";

const { FINALIZED } = ReplicaChangeState;

describe("write pipeline", () => {
  let cluster: SmallCluster;
  beforeEach(async () => {
    cluster = await SmallCluster.start(3);
  });
  afterEach(() => cluster.close());

  it("stores a block on all datanodes, reports it, and gives it back", async () => {
    const data = randomBytes(3 * MIB + 12_345);
    const all = cluster.pipeline(1, 2, 3);
    const block = await cluster.client.write(all, 77, data);
    for (const datanode of all) {
      expect((await cluster.client.read(datanode, block)).equals(data)).to.equal(true);
      const [from, to] = [65_000, 2 * MIB + 1];
      expect((await cluster.client.read(datanode, block, from, to)).equals(data.subarray(from, to))).to.equal(true);
      await until(() => cluster.namenode.wasTold(datanode.id, 77, FINALIZED), { what: "the report" });
    }
    for (const n of [1, 2, 3]) {
      expect(cluster.openFiles(n)).to.deep.equal([]);
      const [file] = cluster.blockFiles(n);
      expect(file).to.match(/\/blocks\/00\/00\/4d-1-30[0-9a-f]+$/);
      expect(readFileSync(file!).subarray(0, data.length).equals(data)).to.equal(true);
    }
    await until(() => cluster.datanodes.every((d) => d.figures().writers === 0), { what: "the streams to end" });
    expect(cluster.datanodes.map((d) => d.figures().windows)).to.deep.equal([0, 0, 0]);
  });

  it("carries compressed chunks as they are", async () => {
    const data = Buffer.alloc(2 * MIB, "all work and no play ");
    const all = cluster.pipeline(1, 2, 3);
    const block = await cluster.client.write(all, 1, data, { compression: Compression.LZ4 });
    expect(readFileSync(cluster.blockFiles(3)[0]!).length).to.be.lessThan(data.length / 10);
    for (const d of all) expect((await cluster.client.read(d, block)).equals(data)).to.equal(true);
    expect((await cluster.client.read(all[2]!, block, 100_000, 100_009)).toString()).to.equal(
      data.toString("latin1", 100_000, 100_009),
    );
  });

  it("takes very many tiny packets, and empty blocks", async () => {
    const all = cluster.pipeline(1, 2, 3);
    const stream = await cluster.client.open(all, 5, 1);
    const parts: Buffer[] = [];
    for (let i = 0; i < 700; i++) {
      parts.push(Buffer.from(`line ${i}\n`));
      stream.send(parts.at(-1)!);
    }
    stream.send(Buffer.from("end"), { last: true, sync: true });
    await stream.finished();
    const data = Buffer.concat([...parts, Buffer.from("end")]);
    const block = { id: 5, generation: 1, length: data.length };
    expect((await cluster.client.read(all[1]!, block)).equals(data)).to.equal(true);
    expect((await cluster.client.read(all[2]!, block, 1000, 1010)).equals(data.subarray(1000, 1010))).to.equal(true);
    await cluster.client.write(all, 6, Buffer.alloc(0));
    await until(() => cluster.namenode.wasTold(3, 6, FINALIZED), { what: "the empty block" });
  });

  it("takes the first packet along with the opening: a small block costs one call", async () => {
    const all = cluster.pipeline(1, 2, 3);
    const data = Buffer.from("small");
    const { chunks, body } = encodeChunks(data, Compression.RAW);
    const first = { block: 8, generation: 1, sequence: 0, offset: 0, chunks, last: true, sync: false };
    const stream = await cluster.client.open(all, 8, 1, { first: { header: first, body } });
    await until(() => stream.acks.length > 0, { what: "the ack" });
    expect(stream.acks[0]).to.include({ block: 8, sequence: 0, error: null });
    for (const d of all) {
      const found = await cluster.client.read(d, { id: 8, generation: 1, length: data.length });
      expect(found.toString()).to.equal("small");
    }
    const other = { header: { ...first, block: 9 }, body };
    expect(await codeOf(cluster.client.open(all, 10, 1, { first: other }))).to.equal("EINVAL");
  });

  it("lets readers see what is acknowledged of an unfinished block, and no more", async () => {
    const all = cluster.pipeline(1, 2);
    const stream = await cluster.client.open(all, 9, 1);
    stream.send(Buffer.from("hello "));
    stream.send(Buffer.from("world"));
    await stream.finished();
    const block = { id: 9, generation: 1, length: 11 };
    for (const d of all) {
      expect((await cluster.client.read(d, block)).toString()).to.equal("hello world");
      expect((await cluster.client.read(d, block, 6, 11)).toString()).to.equal("world");
    }
    expect(await codeOf(cluster.client.read(all[0]!, block, 11, 12))).to.equal("EINVAL");
    expect(await codeOf(cluster.client.read(all[0]!, { ...block, generation: 2 }))).to.equal("ENOENT");
  });

  it("refuses a damaged packet at the first datanode that sees it, and stores nothing of it", async () => {
    const stream = await cluster.client.open(cluster.pipeline(1, 2, 3), 10, 1);
    stream.send(Buffer.from("good"));
    await stream.finished();
    stream.send(Buffer.from("damaged on its way"), { spoil: (b) => b.fill("X", 3, 4) });
    const { error, failedDatanode } = await stream.broken();
    expect(error!.code).to.equal("EBADMSG");
    expect(error!.message).to.contain("chunk 0 of 1");
    expect(failedDatanode).to.equal(0);
    const block = { id: 10, generation: 1, length: 4 };
    expect((await cluster.client.read(cluster.pipeline(1)[0]!, block)).toString()).to.equal("good");
  });

  it("breaks the stream when packets come out of turn, misplaced, beyond the window or after the last", async () => {
    const wrong = [
      { sequence: 1, offset: 0 },
      { sequence: 0, offset: 1 },
    ];
    let id = 20;
    for (const header of wrong) {
      const stream = await cluster.client.open(cluster.pipeline(1), id++, 1);
      stream.sendRaw({ ...header, last: true }, Buffer.alloc(0));
      expect((await stream.broken()).error!.code).to.equal("EPROTO");
    }
    const over = await cluster.client.open(cluster.pipeline(1), id++, 1, { reserve: MIB });
    expect(over.window).to.equal(MIB);
    for (let i = 0; i < 3; i++) over.send(Buffer.alloc(MIB));
    expect((await over.broken()).error!.message).to.contain("window");
    const done = await cluster.client.open(cluster.pipeline(1), id++, 1);
    done.send(Buffer.from("a"), { last: true, sync: true });
    done.send(Buffer.from("b"));
    expect((await done.broken()).error!.message).to.contain("after the last");
  });

  it("says who is missing when a pipeline cannot be opened, and keeps nothing", async () => {
    const all = cluster.pipeline(1, 2, 3);
    await cluster.datanodes[2]!.close();
    const err = await rejection(cluster.client.open(all, 30, 1));
    expect(err.code).to.equal("EHOSTUNREACH");
    expect(err.message).to.match(/^datanode 3 \(127\.0\.0\.1:\d+\)/);
    await until(() => [1, 2].every((n) => cluster.openFiles(n).length === 0), { what: "the files to go" });
    await cluster.client.write(cluster.pipeline(1, 2), 30, Buffer.from("with the others"));
  });

  it("checks who is asked, by whom, and for what", async () => {
    const [one] = cluster.pipeline(1);
    const open = (change: object) =>
      cluster.client.link(one!).then((link) =>
        link.call(Datanode.openWrite, {
          block: { id: 40, generation: 1, length: 0 },
          datanode: one!.id,
          cluster: cluster.namenode.cluster,
          ...change,
        }),
      );
    expect(await codeOf(open({ cluster: "another" }))).to.equal("EPERM");
    expect(await codeOf(open({ datanode: 99 }))).to.equal("ESTALE");
    expect(await codeOf(open({ block: { id: 0, generation: 1 } }))).to.equal("EINVAL");
    expect(await codeOf(open({ block: { id: 1, generation: 0 } }))).to.equal("EINVAL");
    expect(await codeOf(open({ block: { id: 1, generation: 1, length: 5 } }))).to.equal("EINVAL");
    expect(await codeOf(open({ reserve: 65 * MIB }))).to.equal("EINVAL");
    expect(await codeOf(open({ rest: [one] }))).to.equal("EINVAL");
    expect(await codeOf(open({ resumeGeneration: 1, block: { id: 1, generation: 2, length: 5 } }))).to.equal("ENOENT");
    await cluster.client.write([one!], 40, Buffer.from("x"));
    expect(await codeOf(open({}))).to.equal("EEXIST");
  });

  it("drops packets of streams it does not know, and an aborted replica everywhere", async () => {
    const all = cluster.pipeline(1, 2, 3);
    const link = await cluster.client.link(all[0]!);
    link.push(BlockStream.packet, { block: 1234, generation: 1 });
    const stream = await cluster.client.open(all, 50, 1);
    stream.send(Buffer.from("never mind"));
    await stream.finished();
    await link.call(Datanode.abortWrite, { block: { id: 50, generation: 1 } });
    await until(() => [1, 2, 3].every((n) => cluster.openFiles(n).length === 0), { what: "the replicas to go" });
    await link.call(Datanode.abortWrite, { block: { id: 50, generation: 1 } });
  });
});
