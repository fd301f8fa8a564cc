import { expect } from "chai";
import { CairnError, InvariantError } from "../../../common/errors.js";
import { GroupSync } from "../../../namenode/store/group-sync.js";
import { ManualClock } from "./manual-clock.js";

describe("GroupSync", () => {
  const make = (intervalMs: number) => {
    const clock = new ManualClock();
    const syncs: { done: () => void; fail: (err: Error) => void }[] = [];
    const failures: unknown[] = [];
    const group = new GroupSync({
      clock,
      intervalMs,
      syncedIndex: 0,
      sync: () => new Promise((done, fail) => syncs.push({ done, fail })),
      onFailure: (err) => failures.push(err),
    });
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    return { clock, syncs, failures, group, turn };
  };

  it("syncs once per interval, however much is written", async () => {
    const { clock, syncs, group, turn } = make(100);
    for (let i = 1; i <= 10; i++) group.written(i);
    clock.advance(99);
    expect(syncs).length(0);
    clock.advance(1);
    expect(syncs).length(1);
    syncs[0]!.done();
    await turn();
    expect(group.syncedIndex).equal(10);
    clock.advance(1000);
    expect(syncs).length(1);
  });

  it("runs one sync at a time; what is written meanwhile waits for the next", async () => {
    const { syncs, group, turn } = make(100);
    const resolved: number[] = [];
    const wait = (index: number) => void group.synced(index).then(() => resolved.push(index));
    group.written(1);
    wait(1);
    group.written(2);
    wait(1);
    wait(2);
    wait(2);
    expect(syncs).length(1);
    syncs[0]!.done();
    await turn();
    expect([group.syncedIndex, resolved, syncs.length]).eql([1, [1, 1], 2]);
    syncs[1]!.done();
    await turn();
    expect([group.syncedIndex, resolved, syncs.length]).eql([2, [1, 1, 2, 2], 2]);
  });

  it("syncs within an interval what was written during a sync, without anybody waiting", async () => {
    const { clock, syncs, group, turn } = make(100);
    group.written(1);
    clock.advance(100);
    group.written(2);
    syncs[0]!.done();
    await turn();
    clock.advance(100);
    expect(syncs).length(2);
  });

  it("says that a sync failed, and claims nothing from there on", async () => {
    const { clock, syncs, failures, group, turn } = make(100);
    group.written(1);
    const waiting = group.synced(1).catch((err: unknown) => err);
    const broken = new CairnError("EIO", "broken");
    syncs[0]!.fail(broken);
    await turn();
    expect(failures).eql([broken]);
    group.stop(broken);
    expect(await waiting).equal(broken);
    expect(await group.synced(1).catch((err: unknown) => err)).equal(broken);
    group.written(2);
    clock.advance(1000);
    expect([group.syncedIndex, syncs.length, clock.pending]).eql([0, 1, 0]);
  });

  it("is asked only for what has been written", () => {
    const { group } = make(100);
    expect(() => group.synced(1)).throw(InvariantError);
  });
});
