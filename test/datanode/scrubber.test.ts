import { randomBytes } from "node:crypto";
import { readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { expect } from "chai";
import { silentLogger } from "../../common/log.js";
import type { RateLimit } from "../../datanode/rate-limit.js";
import { type PlacedReplica, ReplicaMap } from "../../datanode/replica-map.js";
import { Scrubber } from "../../datanode/scrubber.js";
import type { Verdict } from "../../datanode/verifier.js";
import type { Volume } from "../../datanode/volume.js";
import { ReplicaChangeState } from "../../proto/gen/types.js";
import { FakeClock } from "../support/fake-clock.js";
import { until } from "../support/until.js";
import { SmallCluster } from "./cluster.js";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const PERIOD = 21 * DAY;

/** A volume of which only the position's file exists. */
function fakeVolume(): Volume {
  const texts = new Map<string, string>();
  const disk = {
    readText: async (path: string) => {
      const text = texts.get(path);
      if (text === undefined) throw Object.assign(new Error("none"), { code: "ENOENT" });
      return text;
    },
    replaceText: async (path: string, text: string) => void texts.set(path, text),
  };
  return { index: 0, path: "/v", disk, failure: undefined } as unknown as Volume;
}

/** A scrubber on a fake clock: what it verifies, and when (days). */
function scrubbing(options: { ids: number[]; bytesPerSecond?: number; length?: number }) {
  const clock = new FakeClock();
  const map = new ReplicaMap();
  const { ids, bytesPerSecond = 0, length = 1000 } = options;
  for (const id of ids) map.add({ id, generation: 1, length, volume: 0 });
  const volume = fakeVolume();
  const seen: { id: number; day: number }[] = [];
  const begin = clock.monotonic();
  const verify = async (replica: PlacedReplica, limit: RateLimit): Promise<Verdict> => {
    await limit.pass(replica.length);
    seen.push({ id: replica.id, day: (clock.monotonic() - begin) / DAY });
    return "good";
  };
  const make = () => new Scrubber({ volume, map, verify, clock, log: silentLogger, periodMs: PERIOD, bytesPerSecond });
  return { clock, map, volume, seen, make };
}

describe("the scrubber", () => {
  it("reads every replica once in a period, evenly spread, in the order of ids, round after round", async () => {
    const ids = Array.from({ length: 21 }, (_, i) => 1 + i * 5000);
    const { clock, seen, make } = scrubbing({ ids });
    const scrubber = make();
    await scrubber.start();
    await clock.advance(10.5 * DAY);
    expect(seen.map((s) => s.id)).to.deep.equal(ids.slice(0, 10));
    for (const [i, { day }] of seen.entries()) expect(day).to.be.closeTo(i + 1, 0.1);
    expect(scrubber.figures().progress).to.be.closeTo(0.5, 0.05);
    await clock.advance(32 * DAY);
    expect(seen.map((s) => s.id)).to.deep.equal([...ids, ...ids]);
    expect(scrubber.figures()).to.include({ replicas: 42, bytes: 42_000, bad: 0, passes: 2 });
    await scrubber.close();
  });

  it("goes on after a restart where it stopped, and takes in what came meanwhile", async () => {
    const { clock, map, seen, make } = scrubbing({ ids: [10, 20, 30, 40] });
    let scrubber = make();
    await scrubber.start();
    await clock.advance(11 * DAY);
    await scrubber.close();
    expect(seen.map((s) => s.id)).to.deep.equal([10, 20]);
    map.add({ id: 15, generation: 1, length: 1, volume: 0 });
    map.add({ id: 35, generation: 1, length: 1, volume: 0 });
    map.remove(40);
    map.add({ id: 50, generation: 1, length: 1, volume: 1 });
    scrubber = make();
    await scrubber.start();
    await clock.advance(11 * DAY);
    expect(seen.map((s) => s.id)).to.deep.equal([10, 20, 30, 35]);
    await scrubber.close();
  });

  it("begins anew where the position makes no sense", async () => {
    const { clock, volume, seen, make } = scrubbing({ ids: [10, 20] });
    await volume.disk.replaceText("/v/SCRUB", "{nonsense");
    const scrubber = make();
    await scrubber.start();
    await clock.advance(22 * DAY);
    expect(seen.map((s) => s.id)).to.deep.equal([10, 20]);
    await scrubber.close();
  });

  it("keeps to its bytes per second when there is more than the period allows, and can be stopped in the middle", async () => {
    const rate = 10;
    const ids = Array.from({ length: 100 }, (_, i) => i + 1);
    // 100 replicas of a day each: it takes 100 days, not 21.
    const { clock, seen, make } = scrubbing({ ids, bytesPerSecond: rate, length: (rate * DAY) / 1000 });
    const scrubber = make();
    await scrubber.start();
    await clock.advance(30 * DAY);
    expect(seen.length).to.be.within(28, 31);
    await scrubber.close(); // though the one under way would take a day
    expect(seen.length).to.be.within(28, 31);
  });

  it("stops with a volume that has failed", async () => {
    const { clock, volume, seen, make } = scrubbing({ ids: [1, 2, 3] });
    const scrubber = make();
    await scrubber.start();
    await clock.advance(8 * DAY);
    (volume as { failure: unknown }).failure = new Error("broken");
    await clock.advance(30 * DAY);
    expect(seen).to.have.length(1);
    await scrubber.close();
  });
});

describe("the scrubber of a datanode", () => {
  let cluster: SmallCluster;
  beforeEach(async () => {
    cluster = await SmallCluster.start(0);
  });
  afterEach(() => cluster.close());

  it("finds what rotted and what is missing, on every volume, and reports it", async () => {
    const dirs = [`${cluster.root}/v1`, `${cluster.root}/v2`];
    let turn = 0;
    const half = { random: () => (turn++ % 2) * 0.999 };
    await cluster.add(1, { dataDirs: dirs, scrubPeriodMs: 0 }, half);
    const one = cluster.pipeline(1);
    for (let id = 1; id <= 6; id++) await cluster.client.write(one, id, randomBytes(100_000));
    await cluster.datanodes[0]!.close();
    const files = dirs.map((d) => cluster.blockFiles(1, d).sort());
    expect(files.map((f) => f.length)).to.deep.equal([3, 3]);
    const [rotten, missing] = [files[0]![1]!, files[1]![1]!];
    const idOf = (path: string) => Number.parseInt(path.split("/").at(-1)!, 16);
    const bytes = readFileSync(rotten);
    bytes[50_000]! ^= 1;
    writeFileSync(rotten, bytes);

    await cluster.add(1, { dataDirs: dirs, scrubPeriodMs: 1000 });
    unlinkSync(missing); // after the start has seen it
    const id = cluster.datanodes[0]!.id;
    const told = (path: string, state: ReplicaChangeState) =>
      until(() => cluster.namenode.wasTold(id, idOf(path), state), { what: `the report of ${path}` });
    await told(rotten, ReplicaChangeState.CORRUPT);
    await told(missing, ReplicaChangeState.DELETED);
    const figures = () => cluster.datanodes[0]!.figures();
    expect(figures().blocks).to.equal(5);
    await until(() => figures().scrubs.every((s) => s.passes > 0), { what: "a pass over each volume" });
    expect(figures().scrubs.map((s) => s.bad > 0)).to.deep.equal([true, true]);
  });
});
