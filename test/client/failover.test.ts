import { expect } from "chai";
import { CairnError, codeOf } from "../../common/errors.js";
import { KIB, MAX_PACKET, MIB } from "../../common/limits.js";
import { FakeCluster, noise, readAll } from "../support/fake-cluster.js";
import type { FakeDatanode } from "../support/fake-datanode.js";
import { FastClock } from "../support/fast-clock.js";
import { until } from "../support/until.js";

async function rejected(promise: Promise<unknown>): Promise<CairnError> {
  try {
    await promise;
  } catch (err) {
    expect(err).to.be.instanceOf(CairnError);
    return err as CairnError;
  }
  throw new Error("it should have failed");
}

/** Lets `count` packets pass and then does something once. */
function atPacket(datanode: FakeDatanode, count: number, act: () => "take" | "drop" | undefined): void {
  let seen = 0;
  datanode.onPacket = () => (seen++ === count ? (act() ?? "take") : "take");
}

/** Holds up whoever passes until it is opened. */
class Gate {
  waiting = 0;
  open!: () => void;
  readonly #opened = new Promise<void>((resolve) => {
    this.open = resolve;
  });

  pass(): Promise<void> {
    this.waiting++;
    return this.#opened;
  }
}

function onlyBlock({ namenode }: FakeCluster) {
  expect(namenode.blocks.size).to.equal(1);
  return [...namenode.blocks.values()][0]!;
}

describe("writing while datanodes fail", () => {
  let cluster: FakeCluster;
  beforeEach(async () => {
    cluster = await FakeCluster.start(4);
  });
  afterEach(() => cluster.stop());

  // With a block of 16 MiB the pipeline of the first block is datanodes 1, 2, 3.
  for (const victim of [0, 1, 2]) {
    it(`goes on with the others when datanode ${victim + 1} of the pipeline dies between packets`, async () => {
      // With so little memory, the fourth packet cannot leave before the second is acknowledged.
      const client = await cluster.client({ writeMemory: 2 * MIB });
      const { content, inode } = await cluster.file(client, { blockSize: 16 * MIB });
      const data = noise(8 * MIB + 77);
      let died: Promise<void> | undefined;
      atPacket(cluster.datanodes[victim]!, 3, () => {
        died = cluster.datanodes[victim]!.stop();
        return "drop";
      });
      for (let at = 0; at < data.length; at += 256 * KIB) await content.write(at, data.subarray(at, at + 256 * KIB));
      await content.close();
      await died;
      const { block, datanodes } = onlyBlock(cluster);
      expect(block.length).to.equal(data.length);
      expect(block.generation).to.be.greaterThan(1);
      expect(datanodes).to.deep.equal([1, 2, 3].filter((id) => id !== victim + 1));
      for (const id of datanodes) expect(cluster.datanodes[id - 1]!.data(block.id).equals(data)).to.equal(true);
      expect((await cluster.readBack(inode)).equals(data)).to.equal(true);
    });
  }

  it("takes a datanode out that says it cannot write, and writes nothing new to it", async () => {
    const client = await cluster.client({ writeMemory: 2 * MIB });
    const { content, inode } = await cluster.file(client, { blockSize: 8 * MIB });
    const data = noise(13 * MIB);
    atPacket(cluster.datanodes[1]!, 3, () => {
      throw new CairnError("EIO", "the disk is broken");
    });
    for (let at = 0; at < data.length; at += 100 * KIB) await content.write(at, data.subarray(at, at + 100 * KIB));
    await content.close();
    const blocks = [...cluster.namenode.blocks.values()];
    expect(blocks).to.have.length(2);
    for (const { datanodes } of blocks) expect(datanodes).not.to.include(2);
    expect((await cluster.readBack(inode)).equals(data)).to.equal(true);
  });

  it("moves to another block when the first one's datanodes cannot be reached, losing nothing", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    await cluster.datanodes[0]!.stop();
    const data = noise(200_000);
    await content.write(0, data);
    await content.close();
    const { datanodes } = onlyBlock(cluster);
    expect(datanodes.sort()).to.deep.equal([2, 3, 4]);
    expect(cluster.namenode.allocations.at(-1)!.exclude).to.deep.equal([1]);
    await until(() => cluster.namenode.abandoned.includes(1), { what: "the first block to be given up" });
    expect((await cluster.readBack(inode)).equals(data)).to.equal(true);
  });

  it("says ENOSPC when every datanode is full", async () => {
    for (const datanode of cluster.datanodes) {
      datanode.onOpen = () => {
        throw new CairnError("ENOSPC", "no room");
      };
    }
    const client = await cluster.client();
    const { content } = await cluster.file(client);
    await content.write(0, Buffer.from("x"));
    expect((await rejected(content.flush())).code).to.equal("ENOSPC");
    await content.flush(); // reported once
    await content.close();
  });

  it("says ENOSPC when the namenode does, to the next write and to flush, once", async () => {
    cluster.namenode.before = (method) => {
      if (method === "Namenode.AllocateBlocks") throw new CairnError("ENOSPC", "no datanode has room");
    };
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    await content.write(0, Buffer.alloc(MAX_PACKET, "x"));
    await until(
      () =>
        content.write(1, Buffer.from("y")).then(
          () => false,
          (err) => codeOf(err) === "ENOSPC",
        ),
      { what: "a write to fail" },
    );
    expect((await rejected(content.write(1, Buffer.from("y")))).code).to.equal("ENOSPC");
    expect((await rejected(content.flush())).code).to.equal("ENOSPC");
    cluster.namenode.before = () => {};
    expect(content.size).to.equal(0); // what was lost is not there
    await content.write(0, Buffer.from("z"));
    await content.close();
    expect((await cluster.readBack(inode)).toString()).to.equal("z");
  });

  it("says EIO, once, when every replica of acknowledged bytes is lost, and names the block", async () => {
    const client = await cluster.client();
    const { content } = await cluster.file(client, { blockSize: 16 * MIB });
    await content.write(0, noise(3 * MIB));
    await until(() => cluster.datanodes.slice(0, 3).every((d) => d.packets === 3), { what: "three packets" });
    await new Promise((resolve) => setTimeout(resolve, 50)); // their acks
    await Promise.all(cluster.datanodes.slice(0, 3).map((d) => d.stop()));
    // Neither what is under way nor what comes later may see zeros where the lost bytes were.
    const reading = rejected(content.read(0, Buffer.alloc(3 * MIB)));
    const lost = rejected(content.settle().then(() => content.read(0, Buffer.alloc(3 * MIB))));
    expect((await reading).code).to.equal("EIO");
    expect((await lost).code).to.equal("EIO");
    const err = await rejected(content.flush());
    expect(err.code).to.equal("EIO");
    expect(err.message).to.match(/block 1\b/);
    expect(await content.read(0, Buffer.alloc(3 * MIB))).to.equal(0);
    await content.flush();
    await content.close();
  });

  it("says so, too, when the file is cut while bytes of it are lost: nobody sees the new size without them", async () => {
    const client = await cluster.client({ clock: new FastClock(20) });
    const { content, inode } = await cluster.file(client, { blockSize: 16 * MIB });
    await content.write(0, noise(3 * MIB));
    await until(() => cluster.datanodes.slice(0, 3).every((d) => d.packets === 3), { what: "three packets" });
    await Promise.all(cluster.datanodes.slice(0, 3).map((d) => d.stop()));
    expect((await rejected(content.truncate(5 * MIB))).code).to.equal("EIO");
    expect((await client.meta.getInode(inode.ino)).size).to.equal(0);
    expect((await rejected(content.flush())).code).to.equal("EIO");
    await content.truncate(100);
    expect((await client.meta.getInode(inode.ino)).size).to.equal(100);
    await content.close();
  });

  it("goes on with the others when one more cannot be reached while the pipeline is rebuilt", async () => {
    const client = await cluster.client({ writeMemory: 2 * MIB });
    const { content, inode } = await cluster.file(client, { blockSize: 16 * MIB });
    const data = noise(6 * MIB);
    const [one, two] = cluster.datanodes as [FakeDatanode, FakeDatanode];
    // It never gets as far as to tell the third of the new generation.
    one.onOpen = ({ resumeGeneration }) => {
      if (resumeGeneration > 0) throw new CairnError("ENOTCONN", "cut off");
    };
    atPacket(two, 3, () => {
      throw new CairnError("EIO", "the disk is broken");
    });
    for (let at = 0; at < data.length; at += 256 * KIB) await content.write(at, data.subarray(at, at + 256 * KIB));
    await content.close();
    expect(onlyBlock(cluster).datanodes).to.deep.equal([3]);
    expect((await cluster.readBack(inode)).equals(data)).to.equal(true);
  });

  it("waits for the last datanode that has what was acknowledged, though it cannot be reached at first", async () => {
    const client = await cluster.client({ writeMemory: 2 * MIB, clock: new FastClock(20) });
    const { content, inode } = await cluster.file(client, { blockSize: 16 * MIB, replicas: 1 });
    const data = noise(6 * MIB);
    const [only] = cluster.datanodes as [FakeDatanode];
    let refusals = 0;
    only.onOpen = ({ resumeGeneration }) => {
      if (resumeGeneration > 0 && ++refusals <= 3) throw new CairnError("ENOTCONN", "cut off");
    };
    atPacket(only, 3, () => {
      throw new CairnError("ENOTCONN", "cut off");
    });
    for (let at = 0; at < data.length; at += 256 * KIB) await content.write(at, data.subarray(at, at + 256 * KIB));
    await content.close();
    expect(refusals).to.equal(4);
    expect((await cluster.readBack(inode)).equals(data)).to.equal(true);
  });

  it("commits nothing that was written after what is lost", async () => {
    const client = await cluster.client({ writeMemory: 2 * MIB });
    const { content, inode } = await cluster.file(client, { blockSize: 16 * MIB });
    const broken = new Gate();
    // Three packets are acknowledged; the fourth breaks one datanode after the other.
    for (const datanode of cluster.datanodes.slice(0, 3)) {
      datanode.onPacket = ({ block, offset }) => {
        if (block === 1 && offset >= 3 * MIB) throw new CairnError("EIO", "the disk is broken");
        return "take";
      };
      datanode.onOpen = ({ resumeGeneration }) => (resumeGeneration > 0 ? broken.pass() : undefined);
    }
    await content.write(0, noise(3 * MIB + 1));
    const settled = content.settle();
    await until(() => broken.waiting > 0, { what: "the pipeline to break" });
    await content.write(10 * MIB, Buffer.from("later"));
    const flushed = rejected(content.flush());
    broken.open();
    expect((await flushed).code).to.equal("EIO");
    await settled;
    expect((await cluster.readBack(inode)).length).to.equal(0);
    await content.write(0, Buffer.from("again"));
    await content.close();
    expect((await cluster.readBack(inode)).toString()).to.equal("again");
  });

  it("commits nothing that was written after what the namenode refused", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    const refused = new Gate();
    let commits = 0;
    cluster.namenode.before = async (method) => {
      if (method !== "Namenode.Commit" || ++commits > 1) return;
      await refused.pass();
      throw new CairnError("EDQUOT", "the quota is used up");
    };
    await content.write(0, Buffer.from("first"));
    const settled = content.settle();
    await until(() => refused.waiting > 0, { what: "the commit" });
    await content.write(1000, Buffer.from("later"));
    const flushed = rejected(content.flush());
    refused.open();
    expect((await flushed).code).to.equal("EDQUOT");
    await settled;
    expect((await cluster.readBack(inode)).length).to.equal(0);
    await content.write(0, Buffer.from("again"));
    await content.close();
    expect((await cluster.readBack(inode)).toString()).to.equal("again");
  });

  it("notices a datanode that stands still, by its silence", async () => {
    const client = await cluster.client({ clock: new FastClock(20) });
    const { content, inode } = await cluster.file(client, { blockSize: 16 * MIB });
    const data = noise(3 * MIB);
    const stopped = cluster.datanodes[1]!;
    stopped.onPacket = (header) => (header.sequence >= 1 ? "drop" : "take");
    stopped.onSync = () => new Promise(() => {});
    await content.write(0, data);
    await content.close();
    const { datanodes } = onlyBlock(cluster);
    expect(datanodes).to.deep.equal([1, 3]);
    expect((await cluster.readBack(inode)).equals(data)).to.equal(true);
  });

  it("reads its own writes while the pipeline is rebuilt", async () => {
    const client = await cluster.client();
    const { content } = await cluster.file(client, { blockSize: 16 * MIB });
    const data = noise(5 * MIB);
    atPacket(cluster.datanodes[0]!, 2, () => {
      void cluster.datanodes[0]!.stop();
      return "drop";
    });
    for (let at = 0; at < data.length; at += 512 * KIB) {
      await content.write(at, data.subarray(at, at + 512 * KIB));
      expect((await readAll(content)).equals(data.subarray(0, at + 512 * KIB))).to.equal(true);
    }
    await content.close();
  });
});
