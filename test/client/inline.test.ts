import { expect } from "chai";
import { KIB, MIB } from "../../common/limits.js";
import { FakeCluster, noise, readAll } from "../support/fake-cluster.js";
import { rejection } from "../support/rejection.js";

describe("small files", () => {
  let cluster: FakeCluster;
  beforeEach(async () => {
    cluster = await FakeCluster.start(1);
    cluster.namenode.inlineBytes = 16 * KIB;
  });
  afterEach(() => cluster.stop());

  it("are committed inline, with their attributes, and read with one call", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    const data = noise(10_000);
    await content.write(0, data);
    const mtime = { sec: 5, nsec: 6 };
    expect(content.setAttributes({ mode: 0o640, mtime })).to.equal(true);
    expect(content.attributes(inode)).to.deep.include({ mode: 0o100640, mtime, size: 10_000 });
    await content.close();
    expect(cluster.namenode.allocations).to.deep.equal([]);
    expect([cluster.namenode.count("Commit"), cluster.namenode.count("SetAttributes")]).to.deep.equal([1, 0]);
    expect(cluster.namenode.inode(inode.ino)).to.deep.include({ mode: 0o100640, mtime, size: 10_000 });
    expect((await cluster.readBack(inode)).equals(data)).to.equal(true);
    expect([cluster.namenode.count("GetExtents"), cluster.namenode.count("ReadInlineBlock")]).to.deep.equal([1, 0]);
  });

  it("are asked for once when they are about to be read, though the answer is still on its way", async () => {
    const writer = await cluster.client();
    const { content, inode } = await cluster.file(writer);
    await content.write(0, noise(5_000));
    await content.close();
    const reader = await cluster.client();
    const open = reader.open(await reader.meta.getInode(inode.ino));
    open.willRead();
    open.willRead();
    expect((await readAll(open)).equals(noise(5_000))).to.equal(true);
    open.willRead();
    expect(cluster.namenode.count("GetExtents")).to.equal(1);
    await open.close();
  });

  it("go to datanodes when they are larger, grow larger, or have had their share", async () => {
    const client = await cluster.client();
    const large = await cluster.file(client);
    await large.content.write(0, noise(16 * KIB + 1));
    await large.content.close();
    expect(cluster.namenode.inline.size).to.equal(0);

    const log = await cluster.file(client);
    for (let i = 0; i < 6; i++) {
      await log.content.write(undefined, noise(16 * KIB, i));
      await log.content.fsync();
    }
    await log.content.close();
    expect(cluster.namenode.inline.size).to.equal(4);
    const expected = Buffer.concat(Array.from({ length: 6 }, (_, i) => noise(16 * KIB, i)));
    expect((await cluster.readBack(log.inode)).equals(expected)).to.equal(true);
  });

  it("are read while they are written, after, and when their bytes did not come along", async () => {
    const client = await cluster.client({ readMemory: MIB });
    const { content, inode } = await cluster.file(client);
    await content.write(0, noise(5_000));
    expect((await readAll(content)).equals(noise(5_000))).to.equal(true);
    await content.flush();
    cluster.namenode.inlineAlong = false;
    expect((await readAll(content)).equals(noise(5_000))).to.equal(true);
    expect(cluster.namenode.count("ReadInlineBlock")).to.equal(1);
    await content.write(1_000, noise(2_000, 2));
    const expected = noise(5_000);
    noise(2_000, 2).copy(expected, 1_000);
    expect((await readAll(content)).equals(expected)).to.equal(true);
    await content.close();
    expect((await cluster.readBack(inode)).equals(expected)).to.equal(true);
  });

  it("are not read when they are damaged: another try, then EIO", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    await content.write(0, noise(100));
    await content.close();
    for (const block of cluster.namenode.inline.values()) block.data[7]! ^= 1;
    const again = client.open(cluster.namenode.inode(inode.ino));
    expect((await rejection(again.read(0, Buffer.alloc(100)))).code).to.equal("EIO");
    for (const block of cluster.namenode.inline.values()) block.data[7]! ^= 1;
    expect((await readAll(again)).equals(noise(100))).to.equal(true);
    await again.close();
  });

  it("lose content and attributes together, and say so at close", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    cluster.namenode.before = (method) => {
      if (method === "Namenode.Commit") throw Object.assign(new Error("no room"), { code: "ENOSPC" });
    };
    await content.write(0, noise(100));
    content.setAttributes({ mode: 0o600 });
    expect((await rejection(content.flush())).code).to.equal("ENOSPC");
    expect(content.dirty).to.equal(false);
    expect(content.size).to.equal(0);
    expect(content.attributes(cluster.namenode.inode(inode.ino)).mode).to.equal(inode.mode);
    await content.close();
  });

  it("commit attributes that are set while the content is on its way", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    let go!: () => void;
    const held = new Promise<void>((resolve) => {
      go = resolve;
    });
    let committing!: () => void;
    const started = new Promise<void>((resolve) => {
      committing = resolve;
    });
    cluster.namenode.before = async (method) => {
      if (method !== "Namenode.Commit") return;
      committing();
      await held;
    };
    await content.write(0, noise(100));
    const flushed = content.flush();
    await started;
    expect(content.setAttributes({ mode: 0o601, mtime: { sec: 9, nsec: 9 } })).to.equal(true);
    const again = content.flush();
    go();
    await Promise.all([flushed, again]);
    expect(cluster.namenode.inode(inode.ino)).to.deep.include({
      mode: 0o100601,
      mtime: { sec: 9, nsec: 9 },
      size: 100,
    });
    expect(content.setAttributes({ mode: 0o602 })).to.equal(false);
    await content.close();
  });
});
