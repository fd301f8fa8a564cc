import { expect } from "chai";
import { CairnError, codeOf } from "../../common/errors.js";
import { KIB, MAX_FILE_SIZE, MAX_PACKET, MIB } from "../../common/limits.js";
import { BlockAcks } from "../../proto/gen/services.js";
import { FakeCluster, noise } from "../support/fake-cluster.js";
import { FastClock } from "../support/fast-clock.js";
import { until } from "../support/until.js";

async function rejected(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (err) {
    expect(err).to.be.instanceOf(CairnError);
    return codeOf(err);
  }
  throw new Error("it should have failed");
}

describe("writing a file", () => {
  let cluster: FakeCluster;
  beforeEach(async () => {
    cluster = await FakeCluster.start(3);
  });
  afterEach(() => cluster.stop());

  it("commits by itself what nobody has added to for a while", async () => {
    const client = await cluster.client({ clock: new FastClock(50), startPatienceMs: 500_000 });
    const { content, inode } = await cluster.file(client);
    await content.write(0, Buffer.from("left open"));
    await until(() => cluster.namenode.count("Commit") === 1, { what: "the commit" });
    expect((await cluster.readBack(inode)).toString()).to.equal("left open");
    await content.write(9, Buffer.from(", and written to again"));
    await content.close();
    expect((await cluster.readBack(inode)).toString()).to.equal("left open, and written to again");
  });

  it("commits nothing that is discarded, says so once, and goes on", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    await content.write(0, Buffer.from("stale"));
    expect(content.setAttributes({ mode: 0o600 })).to.equal(true);
    content.discard();
    expect([content.size, content.dirty]).to.deep.equal([0, false]);
    expect(await rejected(content.flush())).to.equal("EIO");
    await content.flush();
    content.discard(); // there is nothing
    await content.write(0, Buffer.from("new"));
    await content.close();
    expect((await cluster.readBack(inode)).toString()).to.equal("new");
    expect(cluster.namenode.count("Commit")).to.equal(1);
  });

  it("gives a commit up that is being tried again when it is discarded", async () => {
    const client = await cluster.client({ clock: new FastClock(50), startPatienceMs: 500_000, patienceMs: 10_000_000 });
    const { content, inode } = await cluster.file(client);
    let isAway = true;
    cluster.namenode.before = (method) => {
      if (isAway && method === "Namenode.Commit") throw new CairnError("ENOTCONN", "no such session");
    };
    await content.write(0, Buffer.from("stale"));
    const flushed = rejected(content.flush());
    await until(() => cluster.namenode.count("Commit") > 2, { what: "attempts to commit" });
    content.discard();
    expect(await flushed).to.equal("EIO");
    await client.meta.getInode(inode.ino); // behind an attempt that was on its way when it was discarded
    isAway = false;
    await content.close();
    expect((await cluster.readBack(inode)).length).to.equal(0);
  });

  it("waits for datanodes that have no memory for another stream at the moment", async () => {
    let refusals = 0;
    for (const datanode of cluster.datanodes) {
      datanode.onOpen = () => {
        if (++refusals <= 20) throw new CairnError("EBUSY", "no memory");
      };
    }
    const client = await cluster.client({ clock: new FastClock(50), startPatienceMs: 500_000 });
    const { content, inode } = await cluster.file(client);
    await content.write(0, Buffer.from("patient"));
    await content.close();
    expect((await cluster.readBack(inode)).toString()).to.equal("patient");
  });

  it("waits for datanodes when none has joined the namenode yet", async () => {
    let refusals = 0;
    cluster.namenode.before = (method) => {
      if (method === "Namenode.AllocateBlocks" && ++refusals <= 10) throw new CairnError("EAGAIN", "no live datanode");
    };
    const client = await cluster.client({ clock: new FastClock(50), startPatienceMs: 500_000 });
    const { content, inode } = await cluster.file(client);
    await content.write(0, Buffer.from("patient"));
    await content.close();
    expect(refusals).to.be.greaterThan(10);
    expect((await cluster.readBack(inode)).toString()).to.equal("patient");
  });

  it("takes a small file from create to commit in four round trips", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    await content.write(0, Buffer.from("hello"));
    await content.close();
    const { calls } = cluster.namenode;
    expect(cluster.namenode.count("Create")).to.equal(1);
    expect(cluster.namenode.count("Commit")).to.equal(1);
    expect([...calls.keys()].sort()).to.deep.equal([
      "Namenode.AllocateBlocks",
      "Namenode.Commit",
      "Namenode.Create",
      "Namenode.OpenSession",
    ]);
    for (const datanode of cluster.datanodes) {
      expect([datanode.opens, datanode.packets]).to.deep.equal([1, 1]);
    }
    expect((await cluster.readBack(inode)).toString()).to.equal("hello");
  });

  it("asks for blocks ahead, so that many files do not ask for each", async () => {
    const client = await cluster.client();
    for (let i = 0; i < 20; i++) {
      const { content } = await cluster.file(client);
      await content.write(0, Buffer.from(`file ${i}`));
      await content.close();
    }
    expect(cluster.namenode.commits).to.have.length(20);
    expect(cluster.namenode.count("AllocateBlocks")).to.be.lessThan(9);
  });

  it("leaves one extent per block of a file written front to back, and no write in two blocks", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    const data = noise(2 * MIB + 123_457);
    const starts = new Set<number>();
    for (let at = 0, step = 1; at < data.length; at += step, step = 1 + ((step * 7) % 200_001)) {
      await content.write(at, data.subarray(at, at + step));
      starts.add(at);
    }
    expect(content.size).to.equal(data.length);
    await content.flush();
    const extents = cluster.namenode.commits.flatMap((c) => c.extents);
    expect(extents.length).to.equal(3);
    let end = 0;
    for (const { offset, length } of extents) {
      expect(offset!, "extents have no gaps").to.equal(end);
      expect(starts.has(offset!), "a block begins with a write").to.equal(true);
      end += length!;
    }
    expect(end).to.equal(data.length);
    for (const { block } of cluster.namenode.blocks.values()) {
      for (const datanode of cluster.datanodes) {
        expect(datanode.replicas.get(block.id)).to.include({ finalized: true, generation: 1 });
      }
    }
    expect((await cluster.readBack(inode)).equals(data)).to.equal(true);
    await content.close();
  });

  it("may have its buffer reused as soon as write resolves", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    const buffer = Buffer.alloc(64 * KIB);
    for (let i = 0; i < 40; i++) await content.write(i * buffer.length, buffer.fill(i + 1));
    await content.close();
    const back = await cluster.readBack(inode);
    for (let i = 0; i < 40; i++) expect(back[i * buffer.length]).to.equal(i + 1);
  });

  it("costs nothing to flush, fsync and close when nothing was written", async () => {
    const client = await cluster.client();
    const { content } = await cluster.file(client);
    await content.flush();
    await content.fsync();
    await content.close();
    expect(cluster.namenode.count("Commit")).to.equal(0);
    expect(cluster.namenode.count("AllocateBlocks")).to.equal(0);
  });

  it("puts appends without an offset one after the other, also when they come at once", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    await Promise.all(Array.from({ length: 50 }, (_, i) => content.write(undefined, Buffer.alloc(10, 65 + (i % 26)))));
    await content.close();
    const text = (await cluster.readBack(inode)).toString();
    expect(text).to.have.length(500);
    for (let i = 0; i < 50; i++) expect(text.slice(i * 10, i * 10 + 10)).to.match(/^(.)\1{9}$/);
  });

  it("refuses what would be longer than a file may be", async () => {
    const client = await cluster.client();
    const { content } = await cluster.file(client);
    expect(await rejected(content.write(MAX_FILE_SIZE - 2, Buffer.from("abc")))).to.equal("EFBIG");
    await content.close();
  });

  it("compresses where the policy asks for it", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client, { compression: 1 });
    const data = Buffer.concat([Buffer.alloc(300_000, "abcdefgh"), noise(200_000)]);
    await content.write(0, data);
    await content.close();
    const { id } = [...cluster.namenode.blocks.values()][0]!.block;
    expect(cluster.datanodes[0]!.data(id).length).to.be.lessThan(300_000);
    expect((await cluster.readBack(inode)).equals(data)).to.equal(true);
  });

  it("fsync has blocks on the platters of all datanodes, and the journal, of earlier flushes too", async () => {
    const client = await cluster.client();
    const { content } = await cluster.file(client);
    await content.write(0, noise(MIB + 5));
    await content.flush();
    expect(cluster.namenode.count("SyncJournal")).to.equal(0);
    await content.write(10, Buffer.from("more"));
    await content.fsync();
    expect(cluster.namenode.synced).to.equal(cluster.namenode.index);
    for (const datanode of cluster.datanodes) {
      for (const id of cluster.namenode.blocks.keys()) expect(datanode.replicas.get(id)!.synced).to.equal(true);
    }
    await content.close();
  });

  it("fsync of a file opened anew syncs what an earlier open wrote", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    await content.write(0, Buffer.from("x"));
    await content.close();
    const again = client.open(await client.meta.getInode(inode.ino));
    await again.fsync();
    expect(cluster.datanodes.map((d) => [...d.replicas.values()][0]!.synced)).to.deep.equal([true, true, true]);
    await again.close();
  });

  it("fsync of a copy syncs the blocks it refers to, whoever wrote them", async () => {
    const [author, copier] = [await cluster.client(), await cluster.client()];
    const { content: source, inode } = await cluster.file(author);
    await source.write(0, noise(3 * MIB, 4));
    await source.close();
    const blocks = cluster.namenode.commits.at(-1)!.blocks;
    const original = copier.open(await copier.meta.getInode(inode.ino));
    const { content: copy, inode: to } = await cluster.file(copier);
    expect((await copy.copyFrom(original, 0, 0, 5 * MIB)).copied).to.equal(3 * MIB);
    const synced = () =>
      cluster.datanodes.every(({ replicas }) => blocks.every((id) => replicas.get(id)?.synced !== false));
    expect(synced()).to.equal(false);
    await copy.fsync();
    expect(synced()).to.equal(true);
    await Promise.all([copy.close(), original.close()]);
    expect((await cluster.readBack(to)).equals(noise(3 * MIB, 4))).to.equal(true);
  });

  it("fsync syncs what another client wrote, or the same one before it was started again", async () => {
    const { content, inode } = await cluster.file(await cluster.client());
    await content.write(0, Buffer.from("x"));
    await content.close();
    const other = await cluster.client();
    const again = other.open(await other.meta.getInode(inode.ino));
    await again.fsync();
    expect(cluster.datanodes.map((d) => [...d.replicas.values()][0]!.synced)).to.deep.equal([true, true, true]);
    const asked = cluster.namenode.count("GetExtents");
    await again.fsync();
    expect(cluster.namenode.count("GetExtents"), "once is enough").to.equal(asked);
    await again.close();
  });

  it("fsync is satisfied with one datanode of three, and fails without any", async () => {
    const client = await cluster.client();
    const { content } = await cluster.file(client);
    const broken = () => {
      throw new CairnError("EIO", "the disk is broken");
    };
    await content.write(0, Buffer.from("x"));
    await content.flush();
    cluster.datanodes[0]!.onSync = cluster.datanodes[1]!.onSync = broken;
    await content.fsync();
    await content.write(0, Buffer.from("y"));
    await content.flush();
    cluster.datanodes[2]!.onSync = broken;
    expect(await rejected(content.fsync())).to.equal("EIO");
    await content.fsync(); // reported once
    await content.close();
  });

  it("fsync waits for the only datanodes that have a block, and finds it where it is by then", async () => {
    const client = await cluster.client();
    const { content } = await cluster.file(client);
    await content.write(0, Buffer.from("x"));
    await content.flush();
    let refusals = 0;
    for (const datanode of cluster.datanodes) {
      datanode.onSync = () => {
        if (++refusals <= 5) throw new CairnError("ENOTCONN", "it is away");
      };
    }
    await content.fsync();
    expect(refusals).to.be.greaterThan(5);
    await content.close();
  });

  it("fsync does not mind blocks that were overwritten and are gone, but minds those that are lost", async () => {
    const client = await cluster.client();
    const { content } = await cluster.file(client);
    for (const text of ["first", "other"]) {
      await content.write(0, Buffer.from(text));
      await content.flush();
    }
    for (const datanode of cluster.datanodes) datanode.replicas.delete(1);
    await content.fsync();
    expect(cluster.datanodes.map((d) => d.replicas.get(2)!.synced)).to.deep.equal([true, true, true]);
    await content.write(0, Buffer.from("third"));
    await content.flush();
    for (const datanode of cluster.datanodes) datanode.replicas.clear();
    expect(await rejected(content.fsync())).to.equal("EIO");
    await content.close();
  });

  it("never has more in memory than its budget, and goes on when there is room again", async () => {
    const client = await cluster.client({ writeMemory: 3 * MIB });
    const { content, inode } = await cluster.file(client, { blockSize: 16 * MIB });
    let held = true;
    const last = cluster.datanodes.find((d) => d.id === cluster.namenode.datanodes[2]!.id)!;
    const waiting: (() => void)[] = [];
    last.onOpen = () => (held ? new Promise<void>((go) => waiting.push(go)) : undefined);
    const data = noise(8 * MIB);
    let written = 0;
    const writing = (async () => {
      for (let at = 0; at < data.length; at += 256 * KIB) {
        await content.write(at, data.subarray(at, at + 256 * KIB));
        written = at + 256 * KIB;
      }
    })();
    await until(() => written >= 2 * MIB && waiting.length > 0, { what: "the writer to fill its budget" });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(written).to.be.at.most(3 * MIB);
    held = false;
    for (const go of waiting) go();
    await writing;
    await content.close();
    expect((await cluster.readBack(inode)).equals(data)).to.equal(true);
  });

  it("lets many half-filled files share a budget that is smaller than their packets", async () => {
    const client = await cluster.client({ writeMemory: 2 * MAX_PACKET });
    const files = await Promise.all(Array.from({ length: 12 }, () => cluster.file(client, { blockSize: 4 * MIB })));
    const data = files.map((_, i) => noise(300_000, i + 1));
    for (let at = 0; at < 300_000; at += 100_000) {
      await Promise.all(files.map(({ content }, i) => content.write(at, data[i]!.subarray(at, at + 100_000))));
    }
    await Promise.all(files.map(({ content }) => content.close()));
    for (const [i, { inode }] of files.entries()) {
      expect((await cluster.readBack(inode)).equals(data[i]!)).to.equal(true);
    }
  });

  it("commits full blocks behind the writer's back, oldest first", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    await content.write(0, noise(3 * MIB + 10));
    await until(() => cluster.namenode.commits.flatMap((c) => c.blocks).length === 3, { what: "three commits" });
    expect(cluster.namenode.inode(inode.ino).size).to.equal(3 * MIB);
    expect(content.size).to.equal(3 * MIB + 10);
    await content.close();
    expect(cluster.namenode.inode(inode.ino).size).to.equal(3 * MIB + 10);
  });

  it("commits blocks whose acks come at once, those of the later block first", async () => {
    const [datanode] = cluster.datanodes;
    cluster.namenode.datanodes.splice(1);
    const client = await cluster.client();
    for (let round = 0; round < 5; round++) {
      const held = new Map<number, (() => void)[]>();
      datanode!.onAck = (ack, up) => {
        const acks = held.get(ack.block) ?? [];
        held.set(ack.block, [...acks, () => up?.push(BlockAcks.ack, ack)]);
      };
      const { content, inode } = await cluster.file(client, { replicas: 1, blockSize: 64 * KIB });
      const data = noise(64 * KIB + 100, round + 1);
      await content.write(0, data);
      const closed = content.close();
      const finalized = () => [...datanode!.replicas].filter(([id, { finalized }]) => held.has(id) && finalized).length;
      await until(() => finalized() === 2, { what: "both blocks to be finalized" });
      const late = [...held.values()].reverse();
      for (const send of late.flat()) send();
      datanode!.onAck = (ack, up) => up?.push(BlockAcks.ack, ack);
      await closed;
      expect((await cluster.readBack(inode)).equals(data)).to.equal(true);
    }
  });

  it("ends a block that is in as many pieces as one commit can carry", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    const data = Buffer.alloc(20_000 * 2);
    for (let i = 0; i < 20_000; i++) {
      const at = ((i * 7919) % 20_000) * 2;
      data[at] = i;
      await content.write(at, data.subarray(at, at + 1));
    }
    await content.close();
    for (const { extents } of cluster.namenode.commits) expect(extents.length).to.be.at.most(8192);
    expect(cluster.namenode.blocks.size).to.equal(3);
    const back = await cluster.readBack(inode);
    expect(back.equals(data.subarray(0, back.length))).to.equal(true);
  });

  it("tells the time of the last write, and commits it", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    expect(content.dirtyMtime).to.equal(undefined);
    await content.write(0, Buffer.from("x"));
    const mtime = content.dirtyMtime!;
    expect(content.attributes(inode)).to.deep.include({ size: 1, mtime });
    await content.flush();
    expect(content.dirtyMtime).to.equal(undefined);
    expect(cluster.namenode.inode(inode.ino).mtime).to.deep.include(mtime);
    expect(content.attributes(inode)).to.deep.include({ size: 1 });
    await content.close();
  });
});
