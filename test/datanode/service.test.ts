import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { expect } from "chai";
import { WebSocket } from "ws";
import { MIB } from "../../common/limits.js";
import { readFooter } from "../../proto/block-footer.js";
import { checkChunks } from "../../proto/chunks.js";
import { Datanode } from "../../proto/gen/services.js";
import { ReplicaChangeState } from "../../proto/gen/types.js";
import { until } from "../support/until.js";
import { SmallCluster } from "./cluster.js";
import { codeOf } from "./rejection.js";

const { DELETED } = ReplicaChangeState;

describe("datanode", () => {
  let cluster: SmallCluster;
  beforeEach(async () => {
    cluster = await SmallCluster.start(1);
  });
  afterEach(() => cluster.close());

  it("shows itself over HTTP", async () => {
    const [one] = cluster.pipeline(1);
    await cluster.client.write([one!], 1, randomBytes(1000));
    const get = async (path: string, method = "GET") => {
      const reply = await fetch(`http://127.0.0.1:${one!.port}${path}`, { method });
      return [reply.status, await reply.text()] as const;
    };
    expect(await get("/")).to.deep.equal([
      200,
      `CairnFS: datanode ${one!.id} of cluster ${cluster.namenode.cluster}, 1 blocks\n`,
    ]);
    const [status, metrics] = await get("/metrics");
    expect(status).to.equal(200);
    expect(metrics).to.match(/^cairn_datanode_blocks 1$/m);
    expect(metrics).to.match(/^cairn_datanode_bytes_written_total 1000$/m);
    expect(metrics).to.contain(`cairn_datanode_volume_failed{path="${cluster.dataDir(1)}"} 0`);
    expect((await get("/nothing"))[0]).to.equal(404);
    expect((await get("/", "DELETE"))[0]).to.equal(405);
  });

  it("lets readers on the same machine open the file itself", async () => {
    const [one] = cluster.pipeline(1);
    const data = randomBytes(100_000);
    await cluster.client.write([one!], 2, data);
    const link = await cluster.client.link(one!);
    const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    const { path } = await link.call(Datanode.openLocal, { block: 2, generation: 1, bootId });
    const file = readFileSync(path);
    const footer = await readFooter(
      { read: async (b, at, n, from) => ({ bytesRead: file.copy(b, at, from, from + n) }) },
      file.length,
    );
    expect(footer.block).to.deep.equal({ id: 2, generation: 1, length: data.length });
    expect(footer.cluster).to.equal(cluster.namenode.cluster);
    const run = footer.table.run(0, data.length, 99);
    checkChunks(run.chunks, file.subarray(run.storedFrom, run.storedTo));
    expect(file.subarray(0, run.storedTo).equals(data)).to.equal(true);
    expect(await codeOf(link.call(Datanode.openLocal, { block: 2, generation: 1, bootId: "another" }))).to.equal(
      "EXDEV",
    );
    expect(await codeOf(link.call(Datanode.openLocal, { block: 2, generation: 2, bootId }))).to.equal("ENOENT");
  });

  it("syncs replicas it has, and names one it has not", async () => {
    const [one] = cluster.pipeline(1);
    const block = await cluster.client.write([one!], 3, randomBytes(10));
    const link = await cluster.client.link(one!);
    await link.call(Datanode.syncBlocks, { blocks: [block, block] });
    await link.call(Datanode.syncBlocks, { blocks: [] });
    const missing = link.call(Datanode.syncBlocks, { blocks: [block, { id: 4, generation: 1 }] });
    expect(await codeOf(missing)).to.equal("ENOENT");
  });

  it("refuses reads that make no sense", async () => {
    const [one] = cluster.pipeline(1);
    await cluster.client.write([one!], 5, randomBytes(10));
    const link = await cluster.client.link(one!);
    const read = (offset: number, length: number) =>
      link.call(Datanode.readBlock, { block: 5, generation: 1, offset, length });
    expect(await codeOf(read(10, 1))).to.equal("EINVAL");
    expect(await codeOf(read(0, 0))).to.equal("EINVAL");
    expect(await codeOf(read(0, MIB + 1))).to.equal("EINVAL");
    expect((await read(9, MIB)).chunks).to.have.length(1);
  });

  it("serves many readers with little memory, and gives all of it back", async () => {
    await cluster.datanodes[0]!.close();
    await cluster.add(1, { maxReadBytes: 4 * MIB });
    const [one] = cluster.pipeline(1);
    const data = randomBytes(8 * MIB);
    const block = await cluster.client.write([one!], 6, data);
    const all = await Promise.all(Array.from({ length: 8 }, () => cluster.client.read(one!, block)));
    for (const read of all) expect(read.equals(data)).to.equal(true);
    await until(() => cluster.datanodes[0]!.figures().replies === 0, { what: "the memory to be free" });
  });

  it("survives whatever is sent to its port", async () => {
    const [one] = cluster.pipeline(1);
    const block = await cluster.client.write([one!], 7, Buffer.from("still here"));
    await new Promise<void>((resolve) => {
      const socket = createConnection(one!.port, "127.0.0.1", () => socket.end(randomBytes(5000)));
      socket.on("error", () => {});
      socket.on("close", () => resolve());
      socket.resume();
    });
    for (const garbage of [randomBytes(1000), Buffer.alloc(0), Buffer.from([2, 0, 8, 3]), "text"]) {
      const ws = new WebSocket(`ws://127.0.0.1:${one!.port}/link`);
      await new Promise((resolve) => ws.once("open", resolve));
      ws.send(garbage);
      await new Promise((resolve) => ws.once("close", resolve));
    }
    expect((await cluster.client.read(one!, block)).toString()).to.equal("still here");
  });

  it("registers and reports again when the namenode comes back", async () => {
    const [one] = cluster.pipeline(1);
    await cluster.client.write([one!], 8, Buffer.from("x"));
    const { namenode } = cluster;
    await until(() => namenode.datanode(one!.id).heartbeat?.blocks === 1, { what: "a heartbeat" });
    namenode.full.clear();
    namenode.datanode(one!.id).link.terminate("cut by the test");
    await until(() => namenode.datanode(one!.id).registrations === 2, { what: "the registration" });
    await until(() => namenode.full.get(one!.id)?.length === 1, { what: "the full report" });
    namenode.full.clear();
    namenode.command(one!.id, "fullReport", {});
    await until(() => namenode.full.get(one!.id)?.length === 1, { what: "another full report" });
    namenode.command(one!.id, "delete", { blocks: [{ id: 8, generation: 1 }] });
    await until(() => namenode.wasTold(one!.id, 8, DELETED), { what: "the deletion" });
  });

  it("tells writers to go elsewhere when it is stopped", async () => {
    const stream = await cluster.client.open(cluster.pipeline(1), 9, 1);
    const closing = cluster.datanodes[0]!.close();
    expect((await stream.broken()).error!.code).to.equal("EHOSTDOWN");
    await closing;
    expect(cluster.openFiles(1)).to.deep.equal([]);
  });
});
