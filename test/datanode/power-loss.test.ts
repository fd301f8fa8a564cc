import { closeSync, openSync, utimesSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { expect } from "chai";
import { CairnError } from "../../common/errors.js";
import { BootMark } from "../../datanode/boot-mark.js";
import { type Disk, RealDisk } from "../../datanode/disk.js";
import { Datanode } from "../../proto/gen/services.js";
import { type Block, ReplicaChangeState } from "../../proto/gen/types.js";
import { FakeClock } from "../support/fake-clock.js";
import { until } from "../support/until.js";
import { SmallCluster } from "./cluster.js";
import { codeOf } from "./rejection.js";

const MINUTE = 60_000;

/** The disks of a machine that was started so many times. */
class BootedDisk extends RealDisk {
  readonly #boot: number;

  constructor(boot: number) {
    super();
    this.#boot = boot;
  }

  override readText(path: string): Promise<string> {
    return path.endsWith("/boot_id") ? Promise.resolve(`boot ${this.#boot}\n`) : super.readText(path);
  }
}

describe("a datanode whose machine was started anew", () => {
  let cluster: SmallCluster;
  beforeEach(async () => {
    cluster = await SmallCluster.start(0);
  });
  afterEach(() => cluster.close());

  const sync = async (...blocks: Block[]) =>
    (await cluster.client.link(cluster.pipeline(1)[0]!)).call(Datanode.syncBlocks, { blocks });
  const fileOf = ({ id }: Block) => cluster.blockFiles(1).find((path) => path.includes(`/${id.toString(16)}-`))!;
  /** Some bytes in its midst never got to the platter. Its times stay young. */
  const tear = (block: Block) => {
    const file = openSync(fileOf(block), "r+");
    writeSync(file, Buffer.alloc(4096), 0, 4096, 50_000);
    closeSync(file);
  };
  const corrupt = () =>
    cluster.namenode.changes.filter((c) => c.state === ReplicaChangeState.CORRUPT).map((c) => c.block.id);
  /** Writes some blocks in boot 1, and ends the datanode. */
  const written = async (...ids: number[]) => {
    await cluster.add(1, {}, { disk: new BootedDisk(1) });
    const blocks = [];
    for (const id of ids)
      blocks.push(await cluster.client.write(cluster.pipeline(1), id, Buffer.alloc(100_000, `block ${id}`)));
    await cluster.datanodes[0]!.close();
    return blocks;
  };

  it("finds what a loss of power tore by itself, and says so", async () => {
    const [torn, whole] = await written(1, 2);
    tear(torn!);
    await cluster.add(1, {}, { disk: new BootedDisk(2) });
    await until(() => corrupt().length > 0, { what: "the torn replica to be reported" });
    expect(corrupt()).to.deep.equal([torn!.id]);
    await sync(whole!);
  });

  it("does not say of a torn replica that it is on the platter, before and after it has found it", async () => {
    const [torn, whole, other] = await written(1, 2, 3);
    tear(torn!);
    await cluster.add(1, { transferRate: 1 }, { disk: new BootedDisk(2) }); // so slow that nothing is found by itself
    await until(() => cluster.namenode.datanodes[0]!.heartbeat !== undefined, { what: "a heartbeat" });
    expect(cluster.namenode.datanodes[0]!.heartbeat!.doubted).to.be.above(0);
    expect(await codeOf(sync(torn!))).to.equal("EBADMSG");
    expect(await codeOf(sync(torn!))).to.equal("EBADMSG");
    await sync(whole!, other!);
    await until(() => cluster.namenode.datanodes[0]!.heartbeat?.doubted === 0, { what: "nothing in doubt any more" });
    await cluster.client.write(cluster.pipeline(1), 1, Buffer.from("anew"), { generation: 2 });
    await sync({ id: 1, generation: 2, length: 4 });
  });

  it("does not read what was written long before, nor anything when the machine was not started anew", async () => {
    const [torn, old] = await written(1, 2);
    for (const block of [torn!, old!]) tear(block);
    await cluster.add(1, {}, { disk: new BootedDisk(1) });
    await sync(torn!, old!); // torn by somebody else: a reader or the scrubber finds that
    await cluster.datanodes[0]!.close();
    const before = new Date(Date.now() - 60 * MINUTE);
    for (const path of [fileOf(old!), dirname(fileOf(old!))]) utimesSync(path, before, before);
    await cluster.add(1, {}, { disk: new BootedDisk(2) });
    await sync(old!);
    expect(corrupt()).to.not.include(old!.id);
  });

  it("remembers over further starts what it has not read yet, and what is bad", async () => {
    const [torn] = await written(1);
    tear(torn!);
    for (const boot of [2, 2, 3]) {
      await cluster.add(1, { transferRate: 1 }, { disk: new BootedDisk(boot) });
      await cluster.datanodes[0]!.close();
    }
    await cluster.add(1, {}, { disk: new BootedDisk(3) });
    expect(await codeOf(sync(torn!))).to.equal("EBADMSG");
  });
});

describe("the mark of a boot", () => {
  /** A disk of which one file exists. */
  const newDisk = () => {
    let text: string | undefined;
    const disk = {
      saves: 0,
      readText: async () => {
        if (text === undefined) throw Object.assign(new Error("none"), { code: "ENOENT" });
        return text;
      },
      replaceText: async (_path: string, to: string) => {
        disk.saves++;
        text = to;
      },
    };
    return disk as Pick<Disk, "readText" | "replaceText"> & { saves: number } as unknown as Disk & { saves: number };
  };
  const failures: unknown[] = [];
  const mark = (disk: Disk, clock: FakeClock) => new BootMark(disk, "/v", clock, (err) => failures.push(err));
  afterEach(() => expect(failures.splice(0)).to.deep.equal([]));

  it("moves on while something is written, minutes behind, and is found by the next boot", async () => {
    const [disk, clock] = [newDisk(), new FakeClock()];
    const began = clock.now();
    const first = mark(disk, clock);
    expect(await first.open("one")).to.deep.equal({ sinceMs: undefined, bad: [] });
    for (let minute = 0; minute < 60; minute++) {
      await first.writing();
      await clock.advance(MINUTE);
    }
    expect(disk.saves).to.be.within(40, 62);
    const { sinceMs: since } = await mark(disk, clock).open("two");
    expect((since! - began) / MINUTE).to.be.within(47, 50);
    expect((await mark(disk, clock).open("one")).sinceMs).to.equal(undefined);
  });

  it("says when it could not move on, and goes on trying", async () => {
    const [disk, clock] = [newDisk(), new FakeClock()];
    const first = mark(disk, clock);
    await first.open("one");
    const { replaceText } = disk;
    disk.replaceText = () => Promise.reject(new CairnError("EIO", "the disk"));
    for (let minute = 0; minute < 30; minute++) {
      await first.writing();
      await clock.advance(MINUTE);
    }
    await first.close();
    expect(failures.length).to.be.within(10, 30);
    expect(await codeOf(Promise.reject(failures.splice(0)[0]))).to.equal("EIO");
    disk.replaceText = replaceText;
    await first.writing();
    await first.close();
    expect((await mark(disk, clock).open("two")).sinceMs).to.be.above(clock.now() - 15 * MINUTE);
  });

  it("goes back with a clock that is set back, before anything is written", async () => {
    const [disk, clock] = [newDisk(), new FakeClock()];
    const first = mark(disk, clock);
    await first.open("one");
    const now = clock.now();
    clock.now = () => now - 40 * MINUTE;
    await first.writing();
    expect((await mark(disk, clock).open("two")).sinceMs).to.be.below(now - 40 * MINUTE);
  });

  it("is written by one at a time, and no replica is finished before a mark that it needs", async () => {
    const [disk, clock] = [newDisk(), new FakeClock()];
    let [under, most] = [0, 0];
    const { replaceText } = disk;
    disk.replaceText = async (path, text) => {
      most = Math.max(most, ++under);
      await new Promise(setImmediate);
      await replaceText(path, text);
      under--;
    };
    const first = mark(disk, clock);
    await first.open("one");
    const now = clock.now();
    clock.now = () => now - 40 * MINUTE;
    const [one, two] = [first.writing(), first.writing()];
    expect([one, two]).to.not.include(undefined);
    await Promise.all([one, first.settled([7]), two]);
    expect(most).to.equal(1);
    const found = await mark(disk, clock).open("two");
    expect(found.bad).to.deep.equal([7]);
    expect(found.sinceMs).to.be.below(now - 40 * MINUTE);
    expect(first.writing()).to.equal(undefined);
  });

  it("stays until everything of an earlier boot has been looked into", async () => {
    const [disk, clock] = [newDisk(), new FakeClock()];
    await mark(disk, clock).open("one");
    await clock.advance(60 * MINUTE);
    const second = mark(disk, clock);
    const { sinceMs: since } = await second.open("two");
    for (let minute = 0; minute < 30; minute++) {
      await second.writing();
      await clock.advance(MINUTE);
    }
    expect((await mark(disk, clock).open("three")).sinceMs).to.equal(since);
    await second.settled([7]);
    expect(await mark(disk, clock).open("two")).to.deep.equal({ sinceMs: undefined, bad: [7] });
    expect((await mark(disk, clock).open("three")).sinceMs).to.be.above(since!);
  });
});
