import { expect } from "chai";
import type { CairnClient, Changes } from "../../client/contract.js";
import { KIB, MAX_AHEAD, MIB } from "../../common/limits.js";
import { ClientPush } from "../../proto/gen/services.js";
import type { Inode } from "../../proto/gen/types.js";
import { FakeCluster, noise, readAll } from "../support/fake-cluster.js";
import { until } from "../support/until.js";

describe("small files read ahead", () => {
  let cluster: FakeCluster;
  let client: CairnClient;
  beforeEach(async () => {
    cluster = await FakeCluster.start(1);
    cluster.namenode.inlineBytes = 16 * KIB;
    client = await cluster.client({ watch: true });
  });
  afterEach(() => cluster.stop());

  const none = { attributes: [], contents: [], names: [], nameless: [], forgotten: [], accessed: [] };
  const push = (changes: Partial<Changes>) => {
    for (const link of cluster.namenode.links) link.push(ClientPush.changed, { ...none, ...changes } as never);
  };
  /** Files that another client has made, and what is in them. */
  async function files(count: number, bytes = 100): Promise<Inode[]> {
    const writer = await cluster.client();
    const inodes: Inode[] = [];
    for (let i = 0; i < count; i++) {
      const { content, inode } = await cluster.file(writer);
      await content.write(0, noise(bytes, i));
      await content.close();
      inodes.push({ ...cluster.namenode.inode(inode.ino) });
    }
    return inodes;
  }
  async function read(inode: Inode): Promise<Buffer> {
    const content = client.open(inode);
    content.willRead();
    try {
      return await readAll(content);
    } finally {
      await content.close();
    }
  }
  const asked = () => [cluster.namenode.count("GetExtents"), cluster.namenode.count("ReadInlineBlock")];

  it("take one call, whether they are here by the time they are opened or on their way", async () => {
    const inodes = await files(MAX_AHEAD + 1);
    client.readAhead(inodes);
    client.readAhead(inodes);
    expect(await read(inodes[1]!)).to.deep.equal(noise(100, 1));
    expect(await read(inodes[0]!)).to.deep.equal(noise(100, 0));
    for (const [i, inode] of inodes.entries()) if (i > 1) expect(await read(inode)).to.deep.equal(noise(100, i));
    expect(asked()).to.deep.equal([1, 0]);
    await read(inodes[5]!);
    expect(asked(), "what was taken is not kept").to.deep.equal([2, 0]);
  });

  it("are no more than one call may ask for, nor asked for in more than a few calls at a time", async () => {
    const inodes = await files(MAX_AHEAD + 2);
    client.readAhead(inodes);
    await until(() => cluster.namenode.ahead.length === 1, { what: "the call" });
    expect(cluster.namenode.ahead[0]).to.deep.equal(inodes.slice(1, -1).map(({ ino }) => ino));
    let go!: () => void;
    const held = new Promise<void>((resolve) => {
      go = resolve;
    });
    await read(inodes[0]!); // its answer is the last one: nothing is under way
    cluster.namenode.before = (method) => (method === "Namenode.GetExtents" ? held : undefined);
    const [, ...others] = await files(12);
    for (const inode of others) client.readAhead([inode]);
    const before = cluster.namenode.ahead.length;
    go();
    for (const inode of others.slice(0, 4)) await read(inode);
    expect(cluster.namenode.ahead.length).to.equal(before + 4);
  });

  it("are not used when the file has changed, whatever was heard of that", async () => {
    const inodes = await files(3);
    client.readAhead(inodes);
    await read(inodes[0]!);
    const other = await cluster.client();
    const content = other.open(await other.meta.getInode(inodes[1]!.ino));
    await content.write(0, Buffer.from("else"));
    await content.close();
    const expected = noise(100, 1);
    expected.write("else");
    expect(await read({ ...cluster.namenode.inode(inodes[1]!.ino) })).to.deep.equal(expected);
    expect(asked()[0]).to.equal(2);
    expect(await read(inodes[2]!)).to.deep.equal(noise(100, 2));
    expect(asked()[0]).to.equal(2);
  });

  it("are forgotten when others change them, and after a reconnection", async () => {
    const inodes = await files(4);
    client.readAhead(inodes);
    await read(inodes[0]!);
    const heard = new Promise<void>((resolve) => {
      client.watch.attach({ changed: () => resolve(), missed: () => {}, openInodes: () => [] });
    });
    push({ attributes: [inodes[1]!.ino], contents: [inodes[2]!.ino] });
    await heard;
    await read(inodes[1]!);
    await read(inodes[2]!);
    expect(asked()[0]).to.equal(3);
    const missed = new Promise<void>((resolve) => {
      client.watch.attach({ changed: () => {}, missed: () => resolve(), openInodes: () => [] });
    });
    for (const link of cluster.namenode.links) link.terminate("a test");
    await missed;
    await read(inodes[3]!);
    expect(asked()[0]).to.equal(4);
  });

  it("are read one by one when asking ahead failed, or some are gone", async () => {
    const inodes = await files(3);
    let failures = 1;
    cluster.namenode.before = (method) => {
      if (method === "Namenode.GetExtents" && failures-- > 0) throw new Error("not now");
    };
    client.readAhead(inodes);
    expect(await read(inodes[0]!)).to.deep.equal(noise(100, 0));
    cluster.namenode.forget(inodes[1]!.ino);
    client.readAhead([inodes[2]!, inodes[1]!]);
    expect(await read(inodes[2]!)).to.deep.equal(noise(100, 2));
    expect(asked()[0]).to.equal(3);
  });

  it("are forgotten, the oldest first, when they are too many", async () => {
    const inodes = await files(3, 16 * KIB);
    const large = inodes.map((inode) => ({ ...inode, size: 6 * MIB }));
    client.readAhead(large.slice(0, 1));
    client.readAhead(large.slice(1));
    await read(inodes[2]!);
    await read(inodes[1]!);
    expect(asked()[0]).to.equal(2);
    await read(inodes[0]!);
    expect(asked()[0]).to.equal(3);
  });
});
