import { randomBytes } from "node:crypto";
import { readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { expect } from "chai";
import { MIB } from "../../common/limits.js";
import { type DiskFile, RealDisk } from "../../datanode/disk.js";
import { ReplicaChangeState } from "../../proto/gen/types.js";
import { until } from "../support/until.js";
import { SmallCluster } from "./cluster.js";
import { codeOf } from "./rejection.js";

const { FINALIZED, DELETED, CORRUPT, VERIFIED } = ReplicaChangeState;

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at < 0 ? bytes.length + at : at]! ^= 0x10;
  writeFileSync(path, bytes);
}

/** A disk that tells what was synced. */
class CountingDisk extends RealDisk {
  readonly synced: string[] = [];

  override async open(path: string, how: "create" | "read" | "write"): Promise<DiskFile> {
    const file = await super.open(path, how);
    const sync = () => {
      this.synced.push(path);
      return file.sync();
    };
    return { ...bound(file), sync };
  }

  override syncDirectory(path: string): Promise<void> {
    this.synced.push(path);
    return super.syncDirectory(path);
  }
}

function bound(file: DiskFile): DiskFile {
  return {
    write: (buffers, position) => file.write(buffers, position),
    read: (buffer, offset, length, position) => file.read(buffer, offset, length, position),
    truncate: (length) => file.truncate(length),
    sync: () => file.sync(),
    size: () => file.size(),
    close: () => file.close(),
  };
}

describe("orders of the namenode", () => {
  let cluster: SmallCluster;
  beforeEach(async () => {
    cluster = await SmallCluster.start(3);
  });
  afterEach(() => cluster.close());

  const told = (n: number, id: number, state: ReplicaChangeState) =>
    until(() => cluster.namenode.wasTold(cluster.datanodes[n - 1]!.id, id, state), { what: `the report of ${id}` });

  it("Replicate streams a replica to others, tiny chunks and empty blocks included", async () => {
    const [one, two, three] = cluster.pipeline(1, 2, 3);
    const data = randomBytes(5 * MIB + 77);
    const block = await cluster.client.write([one!], 1, data, { packet: 77_777 });
    const tiny = await cluster.client.write([one!], 2, randomBytes(3000), { packet: 10 });
    const empty = await cluster.client.write([one!], 3, Buffer.alloc(0));
    for (const b of [block, tiny, empty]) {
      cluster.namenode.command(one!.id, "replicate", { block: b, targets: [two!, three!] });
      for (const n of [2, 3]) await told(n, b.id, FINALIZED);
    }
    for (const d of [two!, three!]) {
      expect((await cluster.client.read(d, block)).equals(data)).to.equal(true);
      expect((await cluster.client.read(d, tiny)).equals(await cluster.client.read(one!, tiny))).to.equal(true);
    }
    expect(readFileSync(cluster.blockFiles(2)[0]!).equals(readFileSync(cluster.blockFiles(1)[0]!))).to.equal(true);
    cluster.namenode.command(one!.id, "replicate", { block, targets: [two!] }); // it has it: nothing happens
    await cluster.client.write([two!], 4, Buffer.from("still well"));
  });

  it("Replicate has the copy on its disk before it is reported", async () => {
    const disk = new CountingDisk();
    await cluster.add(4, {}, { disk });
    const [one, four] = cluster.pipeline(1, 4);
    const block = await cluster.client.write([one!], 8, randomBytes(MIB));
    disk.synced.length = 0;
    cluster.namenode.command(one!.id, "replicate", { block, targets: [four!] });
    await told(4, 8, FINALIZED);
    expect(disk.synced.filter((path) => path.includes("/open/"))).to.have.length(1);
    expect(disk.synced.filter((path) => path.endsWith("/blocks"))).to.have.length(1);
  });

  it("Replicate of a bad replica reports it, and leaves nothing at the target", async () => {
    const [one, two] = cluster.pipeline(1, 2);
    const block = await cluster.client.write([one!], 5, randomBytes(3 * MIB));
    flip(cluster.blockFiles(1)[0]!, 2 * MIB);
    cluster.namenode.command(one!.id, "replicate", { block, targets: [two!] });
    await told(1, 5, CORRUPT);
    await until(() => cluster.openFiles(2).length === 0, { what: "the target to be empty" });
    expect(cluster.blockFiles(2)).to.deep.equal([]);
  });

  it("Verify finds what was changed on the disk, wherever it is", async () => {
    const [one] = cluster.pipeline(1);
    const places = [0, 100_000, -1, -20, -45];
    for (const [i, at] of places.entries()) {
      const block = await cluster.client.write([one!], 10 + i, randomBytes(150_000));
      cluster.namenode.command(one!.id, "verify", { blocks: [block] });
      await told(1, block.id, VERIFIED);
      flip(cluster.blockFiles(1).find((f) => f.includes(`/${block.id.toString(16)}-`))!, at);
      cluster.namenode.command(one!.id, "verify", { blocks: [block] });
      await told(1, block.id, CORRUPT);
    }
    const lost = await cluster.client.write([one!], 30, randomBytes(10));
    unlinkSync(cluster.blockFiles(1).find((f) => f.includes("/1e-"))!);
    cluster.namenode.command(one!.id, "verify", { blocks: [lost, { id: 31, generation: 1 }] });
    await told(1, 30, DELETED);
    await told(1, 31, DELETED);
  });

  it("a reader's trouble with a replica has it verified", async () => {
    const [one] = cluster.pipeline(1);
    const block = await cluster.client.write([one!], 40, randomBytes(1000));
    flip(cluster.blockFiles(1)[0]!, -1);
    expect(await codeOf(cluster.client.read(one!, block))).to.equal("EIO");
    await told(1, 40, CORRUPT);
  });

  it("Delete removes replicas of just that generation", async () => {
    const [one] = cluster.pipeline(1);
    const block = await cluster.client.write([one!], 50, Buffer.from("x"));
    await cluster.client.read(one!, block);
    cluster.namenode.command(one!.id, "delete", {
      blocks: [{ id: 50, generation: 2 }, block, { id: 51, generation: 1 }],
    });
    await told(1, 50, DELETED);
    await told(1, 51, DELETED);
    expect(cluster.blockFiles(1)).to.deep.equal([]);
    expect(await codeOf(cluster.client.read(one!, block))).to.equal("ENOENT");
    expect(cluster.datanodes[0]!.figures()).to.include({ blocks: 0 });
    expect(cluster.datanodes[0]!.figures().volumes[0]!.used).to.equal(0);
  });
});
