import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { CairnClient } from "../../client/contract.js";
import { machineFiles } from "../../client/local-files.js";
import { CairnError, codeOf } from "../../common/errors.js";
import { KIB, MIB } from "../../common/limits.js";
import type { Inode } from "../../proto/gen/types.js";
import { FakeCluster, noise, readAll } from "../support/fake-cluster.js";
import { until } from "../support/until.js";

describe("reading a file", () => {
  let cluster: FakeCluster;
  let client: CairnClient;
  beforeEach(async () => {
    cluster = await FakeCluster.start(3);
    client = await cluster.client();
  });
  afterEach(() => cluster.stop());

  async function written(data: Buffer, policy?: { blockSize?: number; compression?: 0 | 1 }): Promise<Inode> {
    const { content, inode } = await cluster.file(client, policy);
    for (let at = 0; at < data.length; at += MIB) await content.write(at, data.subarray(at, at + MIB));
    await content.close();
    return client.meta.getInode(inode.ino);
  }

  it("sees its own writes at once, newest first, wherever they are", async () => {
    const { content } = await cluster.file(client, { blockSize: 4 * MIB });
    const data = noise(3 * MIB);
    await content.write(0, data);
    expect((await readAll(content)).equals(data)).to.equal(true);
    await until(() => cluster.datanodes[2]!.packets === 3, { what: "the packets to arrive" });
    await new Promise((resolve) => setTimeout(resolve, 30)); // acknowledged: no longer in memory
    expect((await readAll(content)).equals(data)).to.equal(true);
    data.fill(7, MIB - 10, MIB + 10);
    await content.write(MIB - 10, data.subarray(MIB - 10, MIB + 10));
    expect((await readAll(content)).equals(data)).to.equal(true);
    expect(cluster.namenode.count("Commit")).to.equal(0);
    await content.flush();
    expect((await readAll(content)).equals(data)).to.equal(true);
    expect(cluster.namenode.count("GetExtents")).to.equal(0); // it knows what it wrote
    await content.close();
  });

  it("has zeros in holes, and ends where the file ends", async () => {
    const { content } = await cluster.file(client);
    await content.write(100_000, Buffer.from("end"));
    const target = Buffer.alloc(200_000, 1);
    expect(await content.read(0, target)).to.equal(100_003);
    expect(target.subarray(0, 100_000).every((b) => b === 0)).to.equal(true);
    expect(target.toString("latin1", 100_000, 100_003)).to.equal("end");
    expect(target[100_003]).to.equal(1);
    expect(await content.read(100_003, target)).to.equal(0);
    expect(await content.read(5_000_000, target)).to.equal(0);
    await content.flush();
    await content.truncate(300_000);
    expect(await content.read(99_999, target)).to.equal(200_000);
    expect(target.toString("latin1", 0, 5)).to.equal("\0end\0");
    await content.truncate(100_001);
    expect(await content.read(99_999, target)).to.equal(2);
    await content.truncate(100_003);
    expect(await content.read(99_999, target)).to.equal(4);
    expect(target.toString("latin1", 0, 4)).to.equal("\0e\0\0");
    await content.close();
  });

  it("takes the extents of a fragmented file page by page", async () => {
    cluster.namenode.extentsPage = 7;
    const { content, inode } = await cluster.file(client);
    const data = noise(100_000);
    for (let i = 0; i < 100; i++) {
      const at = ((i * 37) % 100) * 1000;
      await content.write(at, data.subarray(at, at + 1000));
    }
    await content.close();
    expect((await cluster.readBack(inode)).equals(data)).to.equal(true);
  });

  it("takes the next replica when one is corrupt, lacks the block or cannot be reached, and reports the bad ones", async () => {
    const data = noise(MIB);
    const inode = await written(data);
    cluster.datanodes[0]!.corrupt = true;
    cluster.datanodes[1]!.replicas.clear();
    expect((await cluster.readBack(inode)).equals(data)).to.equal(true);
    await until(() => cluster.namenode.bad.length >= 2, { what: "two reports" });
    expect([...new Set(cluster.namenode.bad.map((b) => b.datanode))].sort()).to.deep.equal([1, 2]);
    expect(cluster.namenode.bad.find((b) => b.datanode === 1)!.reason).to.match(/checksum/);

    cluster.namenode.bad.length = 0;
    cluster.datanodes[0]!.corrupt = false;
    await Promise.all([cluster.datanodes[1]!.stop(), cluster.datanodes[2]!.stop()]);
    cluster.namenode.datanodes.reverse();
    expect((await cluster.readBack(inode)).equals(data)).to.equal(true);
    expect(cluster.namenode.bad).to.deep.equal([]); // not reaching a datanode is no news about its replicas
  });

  it("is EIO, naming the block, when no replica can be read for as long as it has patience", async () => {
    const inode = await written(noise(1000));
    for (const datanode of cluster.datanodes) datanode.corrupt = true;
    const content = (await cluster.client()).open(inode);
    try {
      await content.read(0, Buffer.alloc(10));
      expect.fail("it should have failed");
    } catch (err) {
      expect(codeOf(err)).to.equal("EIO");
      expect((err as Error).message).to.match(/block 1\b/);
    }
    cluster.datanodes[1]!.corrupt = false;
    expect(await content.read(0, Buffer.alloc(10))).to.equal(10);
    await content.close();
  });

  it("asks again where a block is when its replicas have moved", async () => {
    const data = noise(1000);
    const inode = await written(data);
    const reader = await cluster.client({ readPatienceMs: 5_000 });
    const content = reader.open(inode);
    expect(await content.read(0, Buffer.alloc(1))).to.equal(1); // knows where it is
    const fourth = await cluster.addDatanode();
    const id = [...cluster.namenode.blocks.keys()][0]!;
    fourth.replicas.set(id, cluster.datanodes[0]!.replicas.get(id)!);
    for (const datanode of cluster.datanodes.slice(0, 3)) datanode.replicas.clear();
    cluster.namenode.blocks.get(id)!.datanodes.push(4);
    const again = await cluster.client({ readPatienceMs: 5_000 });
    const other = again.open(inode);
    expect((await readAll(other)).equals(data)).to.equal(true);
    await Promise.all([content.close(), other.close()]);
  });

  it("sees what another client committed after it is opened again, and not half of it before", async () => {
    const inode = await written(Buffer.from("before"));
    const other = await cluster.client();
    const theirs = other.open(inode);
    expect((await readAll(theirs)).toString()).to.equal("before");
    const ours = client.open(inode);
    await ours.write(0, Buffer.from("after!!"));
    await ours.close();
    const again = other.open(await other.meta.getInode(inode.ino));
    expect(again).to.equal(theirs);
    expect((await readAll(again)).toString()).to.equal("after!!");
    await theirs.close();
    await again.close();
  });

  it("does not take its own commit for news of another's", async () => {
    const inode = await written(Buffer.from("aaaaaa"));
    const first = client.open(inode);
    await first.read(0, Buffer.alloc(6));
    const other = await cluster.client();
    const theirs = other.open(inode);
    await theirs.write(0, Buffer.from("bb"));
    await theirs.close();
    await first.write(4, Buffer.from("cc"));
    await first.flush();
    const second = client.open(await client.meta.getInode(inode.ino));
    expect((await readAll(second)).toString()).to.equal("bbaacc");
    await first.close();
    await second.close();
  });

  it("reads ahead of a sequential reader, across blocks, and not of a random one", async () => {
    const data = noise(4 * MIB);
    const inode = await written(data);
    const reader = await cluster.client();
    const content = reader.open(inode);
    const reads = () => cluster.datanodes.reduce((sum, d) => sum + d.reads, 0);
    for (const at of [3 * MIB, 17 * KIB, 2 * MIB]) await content.read(at, Buffer.alloc(4 * KIB));
    expect(reads()).to.equal(3);
    await content.close();

    const fresh = await cluster.client();
    const sequential = fresh.open(inode);
    const before = reads();
    for (let at = 0; at < 512 * KIB; at += 128 * KIB) await sequential.read(at, Buffer.alloc(128 * KIB));
    await until(() => reads() - before >= 3, { what: "pieces of further blocks to be read" });
    await sequential.close();

    const whole = (await cluster.client()).open(inode);
    const start = reads();
    expect((await readAll(whole)).equals(data)).to.equal(true);
    expect(reads() - start).to.be.at.most(8); // in large pieces
    await whole.close();
  });

  it("keeps no more than its memory allows", async () => {
    const data = noise(6 * MIB);
    const inode = await written(data, { blockSize: 2 * MIB });
    const content = (await cluster.client({ readMemory: 2 * MIB })).open(inode);
    expect((await readAll(content)).equals(data)).to.equal(true);
    expect((await readAll(content)).equals(data)).to.equal(true);
    await content.close();
  });

  it("shares one read among many readers of the same place", async () => {
    const inode = await written(noise(MIB));
    const content = (await cluster.client()).open(inode);
    const before = cluster.datanodes.reduce((sum, d) => sum + d.reads, 0);
    await Promise.all(Array.from({ length: 20 }, () => content.read(70_000, Buffer.alloc(100))));
    expect(cluster.datanodes.reduce((sum, d) => sum + d.reads, 0) - before).to.equal(1);
    await content.close();
  });

  it("asks once where the blocks are for many readers", async () => {
    const inode = await written(noise(3 * MIB), { blockSize: MIB });
    const content = (await cluster.client()).open(inode);
    const before = cluster.namenode.count("GetExtents");
    await Promise.all([0, MIB, 2 * MIB, 100].map((at) => content.read(at, Buffer.alloc(1000))));
    expect(cluster.namenode.count("GetExtents") - before).to.equal(1);
    await content.close();
  });

  describe("on the same machine", () => {
    let dir: string;
    beforeEach(() => {
      dir = mkdtempSync(join(tmpdir(), "cairn-short-"));
    });
    afterEach(() => rmSync(dir, { recursive: true, force: true }));

    function share(clusterId = "fake"): void {
      for (const datanode of cluster.datanodes) {
        for (const id of datanode.replicas.keys())
          writeFileSync(join(dir, `${datanode.id}-${id}`), datanode.file(id, clusterId));
        datanode.pathOf = (id) => join(dir, `${datanode.id}-${id}`);
      }
    }
    const streamed = () => cluster.datanodes.reduce((sum, d) => sum + d.reads, 0);

    for (const compression of [0, 1] as const) {
      it(`opens the block's file itself (${compression ? "compressed" : "raw"})`, async () => {
        const data = Buffer.concat([Buffer.alloc(500_000, "cairn "), noise(900_000)]);
        const inode = await written(data, { compression });
        share();
        const before = streamed();
        const content = (await cluster.client({ shortCircuit: true })).open(inode);
        const some = Buffer.alloc(1000);
        await content.read(499_500, some);
        expect(some.equals(data.subarray(499_500, 500_500))).to.equal(true);
        expect((await readAll(content)).equals(data)).to.equal(true);
        expect(streamed()).to.equal(before);
        await content.close();
      });
    }

    it("streams when the file is another block's, of another cluster, or not there", async () => {
      const data = noise(200_000);
      const inode = await written(data);
      share("another cluster");
      expect((await cluster.readBack(inode, { shortCircuit: true })).equals(data)).to.equal(true);
      for (const datanode of cluster.datanodes) datanode.pathOf = () => join(dir, "nothing");
      expect((await cluster.readBack(inode, { shortCircuit: true })).equals(data)).to.equal(true);
      for (const datanode of cluster.datanodes) datanode.pathOf = () => dir;
      expect((await cluster.readBack(inode, { shortCircuit: true })).equals(data)).to.equal(true);
    });

    it("finds a flipped bit, reports it, and takes the next replica", async () => {
      const data = noise(200_000);
      const inode = await written(data);
      share();
      const id = [...cluster.namenode.blocks.keys()][0]!;
      const bytes = cluster.datanodes[0]!.file(id, "fake");
      bytes[100_000]! ^= 4;
      writeFileSync(join(dir, `1-${id}`), bytes);
      const before = streamed();
      expect((await cluster.readBack(inode, { shortCircuit: true })).equals(data)).to.equal(true);
      await until(() => cluster.namenode.bad.some((b) => b.datanode === 1), { what: "the report" });
      expect(streamed()).to.equal(before);
    });

    it("reads in place what is in the kernel's memory, whole chunks and parts of them", async () => {
      const data = noise(3 * MIB + 1234);
      const inode = await written(data);
      share();
      let inPlace = 0;
      const files = {
        ...machineFiles,
        open: async (path: string) => {
          const file = await machineFiles.open(path);
          const readNow = (buffer: Buffer, position: number): number => {
            inPlace++;
            return file.readNow(buffer, position);
          };
          return { ...file, readNow };
        },
      };
      const content = (await cluster.client({ shortCircuit: true, files })).open(inode);
      const some = Buffer.alloc(100);
      await content.read(5, some); // opens the file
      await content.read(200_000, some);
      expect(inPlace).to.be.at.least(1);
      expect(some.equals(data.subarray(200_000, 200_100))).to.equal(true);
      expect((await readAll(content, MIB)).equals(data)).to.equal(true);
      await content.close();
    });

    it("opens the blocks of a sequential reader long before it gets there", async () => {
      const inode = await written(noise(48 * MIB), { blockSize: 16 * MIB });
      share();
      const opened: string[] = [];
      const open: typeof machineFiles.open = (path) => {
        opened.push(path);
        return machineFiles.open(path);
      };
      const files = { ...machineFiles, open };
      const content = (await cluster.client({ shortCircuit: true, files })).open(inode);
      const last = [...cluster.namenode.blocks.keys()][2]!;
      for (const at of [0, MIB]) await content.read(at, Buffer.alloc(MIB));
      await until(() => opened.some((path) => path.endsWith(`-${last}`)), { what: "the last block to be opened" });
      await content.close();
    });

    it("finds what has rotted in an open file, reports it, and takes the next replica", async () => {
      const data = noise(400_000);
      const inode = await written(data);
      share();
      const content = (await cluster.client({ shortCircuit: true })).open(inode);
      await content.read(0, Buffer.alloc(100)); // opens the file
      const id = [...cluster.namenode.blocks.keys()][0]!;
      const bytes = cluster.datanodes[0]!.file(id, "fake");
      bytes[300_000]! ^= 4;
      writeFileSync(join(dir, `1-${id}`), bytes);
      expect((await readAll(content, MIB)).equals(data)).to.equal(true);
      await until(() => cluster.namenode.bad.some((b) => b.datanode === 1), { what: "the report" });
      await content.close();
    });

    it("keeps a bounded number of files open, and closes them all", async () => {
      const inode = await written(noise(70 * 4096), { blockSize: 4096 });
      share();
      let open = 0;
      let most = 0;
      const files = {
        ...machineFiles,
        open: async (path: string) => {
          const file = await machineFiles.open(path);
          most = Math.max(most, ++open);
          return {
            size: file.size,
            read: file.read,
            readNow: file.readNow,
            close: () => {
              open--;
              return file.close();
            },
          };
        },
      };
      const reader = await cluster.client({ shortCircuit: true, files });
      const content = reader.open(inode);
      for (let round = 0; round < 2; round++) {
        for (let i = 0; i < 70; i++) expect(await content.read(i * 4096, Buffer.alloc(4096))).to.equal(4096);
      }
      expect(most).to.be.within(60, 80); // some are in use while they are put away
      await content.close();
      await reader.close();
      await until(() => open === 0, { what: "all files to be closed" });
    });

    it("does not ask a datanode again that is on another machine", async () => {
      const inode = await written(noise(3 * MIB));
      let asked = 0;
      for (const datanode of cluster.datanodes) {
        datanode.pathOf = () => {
          asked++;
          throw new CairnError("EXDEV", "another machine");
        };
      }
      await cluster.readBack(inode, { shortCircuit: true });
      expect(asked).to.be.at.most(6);
    });
  });
});
