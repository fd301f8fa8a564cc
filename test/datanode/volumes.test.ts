import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { MIB } from "../../common/limits.js";
import { RealDisk } from "../../datanode/disk.js";
import { ReplicaChangeState } from "../../proto/gen/types.js";
import { until } from "../support/until.js";
import { SmallCluster } from "./cluster.js";
import { codeOf, rejection } from "./rejection.js";

const { DELETED } = ReplicaChangeState;

/** A disk whose folders below a path can be broken. */
class BreakableDisk extends RealDisk {
  broken = "";

  override async open(path: string, how: "create" | "read" | "write") {
    if (this.broken !== "" && path.startsWith(this.broken)) {
      throw Object.assign(new Error("input/output error"), { code: "EIO" });
    }
    return super.open(path, how);
  }
}

describe("volumes", () => {
  let cluster: SmallCluster;
  beforeEach(async () => {
    cluster = await SmallCluster.start(0);
  });
  afterEach(() => cluster.close());

  it("keep their replicas over a restart, drop what was unfinished, and report all", async () => {
    await cluster.add(1);
    const [one] = cluster.pipeline(1);
    const blocks = [];
    for (const id of [1, 2, 5000, 2 ** 40])
      blocks.push(await cluster.client.write([one!], id, Buffer.from(`block ${id}`)));
    const stream = await cluster.client.open([one!], 6, 1);
    stream.send(Buffer.from("unfinished"));
    await stream.finished();
    const copy = join(cluster.root, "copy");
    cpSync(cluster.dataDir(1), copy, { recursive: true }); // as a crash would leave it
    await cluster.datanodes[0]!.close();

    await cluster.add(1, { dataDirs: copy });
    expect(cluster.datanodes[0]!.id).to.equal(one!.id);
    expect(cluster.datanodes[0]!.figures().blocks).to.equal(4);
    await until(() => cluster.namenode.full.get(one!.id)?.length === 4, { what: "the full report" });
    expect(
      cluster.namenode.full
        .get(one!.id)!
        .map((b) => b.id)
        .sort((a, b) => a - b),
    ).to.deep.equal([1, 2, 5000, 2 ** 40]);
    expect(existsSync(join(copy, "open")) && cluster.blockFiles(1, copy)).to.have.length(4);
    const [again] = cluster.pipeline(1);
    for (const block of blocks) {
      expect((await cluster.client.read(again!, block)).toString()).to.equal(`block ${block.id}`);
    }
  });

  it("of which the newer of two generations counts", async () => {
    await cluster.add(1);
    await cluster.client.write(cluster.pipeline(1), 3, Buffer.from("old"));
    await cluster.datanodes[0]!.close();
    const [file] = cluster.blockFiles(1);
    cpSync(file!, file!.replace("3-1-3", "3-2-3"));
    writeFileSync(file!.replace("3-1-3", "not a replica"), "");
    await cluster.add(1);
    await until(() => cluster.namenode.full.get(1)?.length === 1, { what: "the full report" });
    expect(cluster.namenode.full.get(1)![0]!.generation).to.equal(2);
    expect(cluster.blockFiles(1).filter((f) => f.includes("3-"))).to.deep.equal([file!.replace("3-1-3", "3-2-3")]);
  });

  it("are locked against a second process, as long as the first one lives", async () => {
    await cluster.add(1);
    const second = cluster.make(1);
    const err = await rejection(second.start());
    expect(err.code).to.equal("EBUSY");
    expect(err.message).to.contain("in use by another datanode");
    await cluster.datanodes[0]!.close();
    await cluster.add(1);
  });

  it("of another cluster are refused by the namenode, and that is final", async () => {
    await cluster.add(1);
    await cluster.datanodes[0]!.close();
    cluster.namenode.cluster = "4e6e1d8a-0000-4000-8000-0000000000ff";
    const stranger = cluster.make(1);
    cluster.datanodes[0] = stranger;
    await stranger.start();
    const reason = await stranger.failed;
    expect(reason.code).to.equal("EPERM");
    expect(reason.message).to.contain(`127.0.0.1:${cluster.namenode.port}`);
  });

  it("are refused when they are of different datanodes, or no volumes at all", async () => {
    await cluster.add(1);
    await cluster.add(2);
    for (const d of cluster.datanodes) await d.close();
    const mixed = { dataDirs: [cluster.dataDir(1), cluster.dataDir(2)] };
    expect(await codeOf(cluster.make(3, mixed).start())).to.equal("EPERM");
    writeFileSync(join(cluster.dataDir(1), "VERSION"), "{}");
    expect(await codeOf(cluster.make(1).start())).to.equal("EINVAL");
    writeFileSync(join(cluster.root, "file"), "");
    expect(await codeOf(cluster.make(4, { dataDirs: join(cluster.root, "file", "x") }).start())).to.not.equal(
      "resolved",
    );
  });

  it("refuse blocks that they have no room for, and say so before anything is written", async () => {
    const { free } = await new RealDisk().space(cluster.root);
    await cluster.add(1, { reserve: free - 100 * MIB });
    const one = cluster.pipeline(1);
    await cluster.client.open(one, 1, 1, { reserve: 64 * MIB });
    const err = await rejection(cluster.client.open(one, 2, 1, { reserve: 64 * MIB }));
    expect(err.code).to.equal("ENOSPC");
    expect(await codeOf(cluster.client.open(one, 2, 1, { reserve: 64 * MIB }))).to.equal("ENOSPC");
    await cluster.client.open(one, 2, 1, { reserve: MIB });
  });

  it("share new blocks, and one that fails is left out while the datanode lives", async () => {
    const disk = new BreakableDisk();
    const dirs = [join(cluster.root, "v1"), join(cluster.root, "v2")];
    let turn = 0;
    await cluster.add(1, { dataDirs: dirs }, { disk, random: () => (turn++ % 2) * 0.999 });
    const one = cluster.pipeline(1);
    for (let id = 1; id <= 6; id++) await cluster.client.write(one, id, Buffer.from("x"));
    expect(dirs.map((d) => cluster.blockFiles(1, d).length)).to.deep.equal([3, 3]);
    expect(readFileSync(join(dirs[0]!, "VERSION"), "utf8")).to.equal(readFileSync(join(dirs[1]!, "VERSION"), "utf8"));

    disk.broken = dirs[0]!;
    const [lost] = [1, 2, 3, 4, 5, 6].filter((id) => cluster.blockFiles(1, dirs[0]).some((f) => f.includes(`/${id}-`)));
    expect(await codeOf(cluster.client.read(one[0]!, { id: lost!, generation: 1, length: 1 }))).to.equal("EIO");
    // The one that was read is reported twice: it is looked at because reading failed, and is gone by then.
    const gone = () => new Set(cluster.namenode.changes.filter((c) => c.state === DELETED).map((c) => c.block.id));
    await until(() => gone().size === 3, { what: "the reports" });
    const { volumes, blocks } = cluster.datanodes[0]!.figures();
    expect([blocks, volumes.map((v) => v.failed)]).to.deep.equal([3, [true, false]]);
    await until(() => cluster.namenode.datanodes[0]!.heartbeat?.volumes[0]?.failed, {
      what: "the heartbeat to say so",
    });
    for (let id = 7; id <= 9; id++) await cluster.client.write(one, id, Buffer.from("x"));
    expect(cluster.blockFiles(1, dirs[1])).to.have.length(6);

    rmSync(dirs[1]!, { recursive: true });
    expect((await cluster.datanodes[0]!.failed).message).to.contain("last volume");
  });

  it("that fill up are not chosen any more, until there is room again", async () => {
    const dirs = [join(cluster.root, "small"), join(cluster.root, "large")];
    const disk = new RealDisk();
    let small = 100 * MIB;
    disk.space = async (path) => ({ capacity: 1000 * MIB, free: path === dirs[0] ? small : 900 * MIB });
    let turn = 0;
    await cluster.add(1, { dataDirs: dirs }, { disk, random: () => (turn++ % 2) * 0.999 });
    const one = cluster.pipeline(1);
    const counts = () => dirs.map((d) => cluster.blockFiles(1, d).length);
    const free = () => cluster.namenode.datanodes[0]!.heartbeat?.volumes[0]?.free;
    for (let id = 1; id <= 4; id++) await cluster.client.write(one, id, Buffer.from("x"));
    expect(counts()).to.deep.equal([2, 2]);
    small = 0;
    await until(() => free() === 0, { what: "a heartbeat to say that it is full" });
    for (let id = 5; id <= 8; id++) await cluster.client.write(one, id, Buffer.from("x"));
    expect(counts()).to.deep.equal([2, 6]);
    expect(cluster.datanodes[0]!.figures().volumes.map((v) => v.failed)).to.deep.equal([false, false]);
    small = 100 * MIB;
    await until(() => free()! > 0, { what: "a heartbeat to say that there is room" });
    for (let id = 9; id <= 12; id++) await cluster.client.write(one, id, Buffer.from("x"));
    expect(counts()).to.deep.equal([4, 8]);
  });

  it("that cannot be read at the start are left out, unless there is no other", async () => {
    const disk = new BreakableDisk();
    const dirs = [join(cluster.root, "a"), join(cluster.root, "b")];
    for (const d of dirs) mkdirSync(d);
    disk.readText = async (path) => {
      if (path.startsWith(dirs[0]!)) throw Object.assign(new Error("broken"), { code: "EIO" });
      return RealDisk.prototype.readText.call(disk, path);
    };
    await cluster.add(1, { dataDirs: dirs }, { disk });
    expect(cluster.datanodes[0]!.figures().volumes.map((v) => v.failed)).to.deep.equal([true, false]);
    expect(await codeOf(cluster.make(2, { dataDirs: dirs[0]! }, { disk }).start())).to.equal("EIO");
  });
});
