import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect } from "chai";
import fc from "fast-check";
import { CairnError } from "../../common/errors.js";
import { silentLogger } from "../../common/log.js";
import { AppendFile } from "../../datanode/append-file.js";
import { ByteBudget } from "../../datanode/byte-budget.js";
import { DirectorySyncs } from "../../datanode/directory-syncs.js";
import type { DiskFile } from "../../datanode/disk.js";
import { RateLimit } from "../../datanode/rate-limit.js";
import { ReplicaMap } from "../../datanode/replica-map.js";
import { parseReplicaName, replicaName } from "../../datanode/replica-name.js";
import { Reporter } from "../../datanode/reporter.js";
import { Space } from "../../datanode/space.js";
import { RangeDigests } from "../../proto/digest.js";
import type { ReplicaChange } from "../../proto/gen/types.js";
import type { Caller } from "../../proto/link.js";
import { FakeClock } from "../support/fake-clock.js";
import { codeOf } from "./rejection.js";

describe("ReplicaMap", () => {
  it("is a map, with the digests of what is in it", () => {
    const step = fc.record({ id: fc.nat(9000), generation: fc.nat(3), remove: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 3000, size: "max" }), (steps) => {
        const map = new ReplicaMap();
        const model = new Map<number, { id: number; generation: number; length: number; volume: number }>();
        for (const { id, generation, remove } of steps) {
          const known = model.get(id);
          expect(map.get(id)).to.deep.equal(known);
          if (remove || known !== undefined) expect(map.remove(id)).to.deep.equal(known);
          model.delete(id);
          if (remove) continue;
          const replica = { id, generation, length: id * 3, volume: id % 7 };
          map.add(replica);
          model.set(id, replica);
        }
        expect(map.size).to.equal(model.size);
        const digests = new RangeDigests();
        for (const replica of model.values()) digests.add(replica);
        expect(map.regions()).to.deep.equal(digests.regions());
        expect(map.digests(0)).to.deep.equal(digests.within(0));
        const sorted = [...model.values()].sort((a, b) => a.id - b.id);
        expect([0, 1, 2].flatMap((range) => map.inRange(range))).to.deep.equal(sorted);
        const third = sorted.filter((r) => r.volume === 3);
        expect(map.countOn(3)).to.equal(third.length);
        for (const id of [-1, 4095, 5000]) expect(map.countAbove(id)).to.equal(sorted.filter((r) => r.id > id).length);
        expect(map.following(3, -1, 1e6)).to.deep.equal(third);
        expect(map.following(3, 5000, 2)).to.deep.equal(third.filter((r) => r.id > 5000).slice(0, 2));
        expect([...map.onVolume(3)].sort((a, b) => a - b)).to.deep.equal(
          sorted.filter((r) => r.volume === 3).map((r) => r.id),
        );
      }),
      { numRuns: 20 },
    );
  });

  it("takes little memory", () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const usage = () => {
      collect();
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    };
    const before = usage();
    const map = new ReplicaMap();
    const count = 300_000;
    for (let i = 0; i < count; i++) map.add({ id: 2 ** 35 + i * 3, generation: 1, length: 1 << 26, volume: 0 });
    expect((usage() - before) / count, "bytes per replica").to.be.lessThan(100);
    expect(map.size).to.equal(count);
  });
});

describe("names of replicas", () => {
  it("say what is in them, and nothing else is taken for one", () => {
    const u32 = fc.nat(0xffffffff);
    fc.assert(
      fc.property(fc.maxSafeNat(), u32, u32, (id, generation, length) => {
        const replica = { id, generation, length };
        expect(parseReplicaName(replicaName(replica))).to.deep.equal(replica);
      }),
    );
    for (const name of ["", "1-2", "1-2-3-4", "1-2-x", "1-2-3.tmp", "ffffffffffffff-1-1", "1-123456789-1"]) {
      expect(parseReplicaName(name), name).to.equal(undefined);
    }
  });
});

describe("ByteBudget", () => {
  it("gives a part of what is free, makes the others wait in turn, and refuses when it takes too long", async () => {
    const clock = new FakeClock();
    const budget = new ByteBudget("tests", 100, clock);
    expect(await budget.take(10, 50, 1000)).to.equal(25);
    expect(await budget.take(60, 60, 1000)).to.equal(60);
    expect(budget.used).to.equal(85);
    const order: string[] = [];
    const large = budget.take(40, 40, 1000).then(() => order.push("large"));
    const small = budget.take(1, 1, 2000).then(() => order.push("small"));
    const refused = codeOf(budget.take(90, 90, 500));
    await clock.advance(600);
    expect(await refused).to.equal("EBUSY");
    expect(order, "the small one does not overtake").to.deep.equal([]);
    budget.give(60);
    await Promise.all([large, small]);
    expect(order).to.deep.equal(["large", "small"]);
    budget.give(25 + 40 + 1);
    expect(budget.used).to.equal(0);
    expect(await budget.take(1000, 1000, 1), "never more than there is").to.equal(100);
  });
});

describe("RateLimit", () => {
  it("lets so much pass in a second", async () => {
    const clock = new FakeClock();
    const limit = new RateLimit(1000, clock);
    let passed = 0;
    const pump = async () => {
      for (;;) {
        await limit.pass(100);
        passed += 100;
      }
    };
    void pump();
    await clock.advance(10_000);
    expect(passed).to.be.within(9_900, 10_300);
  });
});

describe("Space", () => {
  it("never promises what is not there, and takes back what was not used", () => {
    const space = new Space("/disk", 100);
    space.update({ capacity: 1000, free: 500 });
    expect([space.capacity, space.available]).to.deep.equal([900, 400]);
    const one = space.reserve(300);
    expect(space.available).to.equal(100);
    expect(() => space.reserve(101)).to.throw(CairnError, "no room");
    one.use(200);
    expect(space.available, "written is no longer promised").to.equal(100);
    one.use(150); // 50 more than was set aside
    expect(space.available).to.equal(50);
    expect(() => one.use(51)).to.throw(CairnError, "no room");
    space.update({ capacity: 1000, free: 150 });
    expect(space.available).to.equal(50);
    const two = space.reserve(50);
    two.use(20);
    two.release();
    two.release();
    expect(space.available).to.equal(30);
  });
});

/** A file in memory whose writes finish when they are told to. */
class SlowFile implements DiskFile {
  data = Buffer.alloc(0);
  readonly writes: { buffers: readonly Buffer[]; finish: (err?: Error) => void }[] = [];

  write(buffers: readonly Buffer[], position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (err?: Error) => {
        if (err !== undefined) return reject(err);
        this.data = Buffer.concat([this.data.subarray(0, position), ...buffers]);
        resolve();
      };
      this.writes.push({ buffers, finish });
    });
  }
  async read() {
    return { bytesRead: 0 };
  }
  async truncate(length: number) {
    this.data = this.data.subarray(0, length);
  }
  async sync() {}
  async size() {
    return this.data.length;
  }
  async close() {}
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("AppendFile", () => {
  it("writes what is appended together at once, and what comes meanwhile in the next write", async () => {
    const file = new SlowFile();
    const end = new AppendFile("/f", file, 0);
    const first = [end.append(Buffer.from("a")), end.append(Buffer.from("b"))];
    await turn();
    const second = [end.append(Buffer.from("c")), end.append(Buffer.from("d"))];
    await turn();
    expect(file.writes.map((w) => w.buffers.length)).to.deep.equal([2]);
    file.writes[0]!.finish();
    await Promise.all(first);
    await turn();
    expect(file.writes.map((w) => w.buffers.length)).to.deep.equal([2, 2]);
    file.writes[1]!.finish();
    await Promise.all(second);
    expect(file.data.toString()).to.equal("abcd");
  });

  it("refuses everything after a failure, until it is cut", async () => {
    const file = new SlowFile();
    const end = new AppendFile("/f", file, 0);
    const good = end.append(Buffer.from("good"));
    await turn();
    const queued = end.append(Buffer.from("queued"));
    file.writes[0]!.finish();
    await good;
    await turn();
    const later = end.append(Buffer.from("later"));
    file.writes[1]!.finish(Object.assign(new Error("no space"), { code: "ENOSPC" }));
    expect(await codeOf(queued)).to.equal("ENOSPC");
    expect(await codeOf(later)).to.equal("ENOSPC");
    expect(await codeOf(end.append(Buffer.from("x")))).to.equal("ENOSPC");
    expect(await codeOf(end.sync())).to.equal("ENOSPC");
    await end.truncate(4);
    const again = end.append(Buffer.from("!"));
    await turn();
    file.writes[2]!.finish();
    await again;
    expect(file.data.toString()).to.equal("good!");
  });
});

describe("DirectorySyncs", () => {
  it("shares one sync among all who ask while another is under way", async () => {
    const finish: (() => void)[] = [];
    const syncs = new DirectorySyncs(() => new Promise((resolve) => finish.push(resolve)));
    const first = syncs.sync("/d");
    const later = [syncs.sync("/d"), syncs.sync("/d")];
    expect(finish).to.have.length(1);
    finish[0]!();
    await first;
    await turn();
    expect(finish).to.have.length(2);
    finish[1]!();
    await Promise.all(later);
  });
});

describe("Reporter", () => {
  const change = (id: number, state: number): ReplicaChange =>
    ({ block: { id, generation: 1, length: 1 }, state }) as ReplicaChange;

  it("sends changes in order, in few messages, again after a failure, and a full report when there were too many", async () => {
    const clock = new FakeClock();
    const calls: { method: string; request: { changes?: ReplicaChange[] } }[] = [];
    let failing = true;
    const namenode = {
      call: async (method: { name: string }, request: object) => {
        calls.push({ method: method.name, request });
        if (failing) throw new CairnError("ENOTCONN", "no namenode");
        return { ranges: [] };
      },
    } as unknown as Caller;
    const reporter = new Reporter(namenode, new ReplicaMap(), clock, silentLogger);
    for (const id of [1, 2, 3]) reporter.change(change(id, 0));
    await turn();
    expect(calls).to.have.length(1);
    reporter.change(change(4, 0));
    failing = false;
    await clock.advance(2_000);
    expect(calls).to.have.length(2);
    expect(calls[1]!.request.changes!.map((c) => c.block.id)).to.deep.equal([1, 2, 3, 4]);

    failing = true;
    for (let id = 1; id <= 50_001; id++) reporter.change(change(id, id === 5 ? 2 : 0));
    await turn();
    failing = false;
    calls.length = 0;
    await clock.advance(2_000);
    expect(calls.map((c) => c.method)).to.deep.equal(["Registry.ReportChanges", "Registry.ReportRegions"]);
    expect(calls[0]!.request.changes!.map((c) => c.block.id)).to.deep.equal([5, 50_001]);
    reporter.close();
  });
});
