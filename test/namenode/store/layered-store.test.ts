import { expect } from "chai";
import { CairnError, InvariantError } from "../../../common/errors.js";
import { silentLogger } from "../../../common/log.js";
import {
  FLUSH_ENTRIES,
  FLUSH_INTERVAL_MS,
  FLUSH_RETRY_MS,
  LayeredStore,
  MAX_UNFLUSHED_EDITS,
} from "../../../namenode/store/layered-store.js";
import { ManualClock } from "./manual-clock.js";
import { MemoryBase } from "./memory-base.js";

const noSpace = () => new CairnError("ENOSPC", "no space left");
const settled = async (promise: Promise<unknown>) => {
  let state = "pending";
  promise.then(
    () => (state = "resolved"),
    (err: CairnError) => (state = err.code),
  );
  await new Promise((resolve) => setImmediate(resolve));
  return state;
};

describe("LayeredStore", () => {
  const make = (maxOverlayBytes = 100_000) => {
    const clock = new ManualClock();
    const base = new MemoryBase();
    const store = new LayeredStore({ base, clock, log: silentLogger, maxOverlayBytes });
    const durable: number[] = [];
    store.onDurable((index) => durable.push(index));
    return { clock, base, store, durable };
  };
  const value = Buffer.from("value");

  it("writes what came since the last flush at every interval, and says so when it is on the disk", async () => {
    const { clock, base, store, durable } = make();
    clock.advance(FLUSH_INTERVAL_MS);
    expect(base.isWriting).equal(false);
    store.put("a", value);
    store.setIndex(7);
    expect(base.isWriting).equal(false);
    clock.advance(FLUSH_INTERVAL_MS);
    expect(base.isWriting).equal(true);
    expect(durable).eql([]);
    expect(base.get("a")).equal(undefined);
    await base.end();
    expect(durable).eql([7]);
    expect(base.index).equal(7);
    expect(base.get("a")).equal(value);
    clock.advance(10 * FLUSH_INTERVAL_MS);
    expect(base.isWriting).equal(false);
  });

  it("writes the index of an edit that changed nothing", async () => {
    const { clock, base, store } = make();
    store.setIndex(3);
    clock.advance(FLUSH_INTERVAL_MS);
    await base.end();
    expect(base.index).equal(3);
  });

  it("writes what came during a flush with the next one, under its own index", async () => {
    const { clock, base, store, durable } = make();
    store.put("a", value);
    store.setIndex(1);
    clock.advance(FLUSH_INTERVAL_MS);
    store.put("b", value);
    store.delete("a");
    store.setIndex(2);
    clock.advance(FLUSH_INTERVAL_MS);
    await base.end();
    expect(base.index).equal(1);
    expect(base.get("a")).equal(value);
    expect(store.get("a")).equal(undefined);
    clock.advance(FLUSH_INTERVAL_MS);
    await base.end();
    expect([base.get("a"), base.get("b")]).eql([undefined, value]);
    expect(durable).eql([1, 2]);
  });

  it("begins a flush before its time when many entries wait, but not within an edit", () => {
    const { clock, base, store } = make(1e9);
    for (let i = 0; i < FLUSH_ENTRIES; i++) store.put(`k${i}`, value);
    expect(base.isWriting).equal(false);
    clock.advance(0);
    expect(base.isWriting).equal(true);
  });

  it("keeps what could not be written, tries again, and loses nothing", async () => {
    const { clock, base, store, durable } = make();
    store.put("a", value);
    store.setIndex(1);
    const flush = store.flush();
    flush.catch(() => undefined);
    await base.end(noSpace());
    expect(await settled(flush)).equal("ENOSPC");
    expect(store.failure?.code).equal("ENOSPC");
    expect(store.get("a")).equal(value);
    store.put("b", value);
    store.setIndex(2);
    clock.advance(FLUSH_RETRY_MS - 1);
    expect(base.isWriting).equal(false);
    clock.advance(1);
    await base.end();
    expect([base.index, store.failure, durable]).eql([1, undefined, [1]]);
    clock.advance(FLUSH_INTERVAL_MS);
    await base.end();
    expect([base.index, base.get("b")]).eql([2, value]);
  });

  it("resolves flush() only when all that was there when it was called is written", async () => {
    const { base, store } = make();
    expect(await settled(store.flush())).equal("resolved");
    store.put("a", value);
    const first = store.flush();
    store.put("b", value);
    const second = store.flush();
    await base.end();
    expect([await settled(first), await settled(second)]).eql(["resolved", "pending"]);
    await base.end();
    expect(await settled(second)).equal("resolved");
    expect(base.get("b")).equal(value);
    store.put("c", value);
    void store.flush();
    const joined = store.flush();
    await base.end();
    expect(await settled(joined)).equal("resolved");
  });

  it("has no room above its bound, and lets those who wait go on when a flush has made some", async () => {
    const { base, store } = make(1000);
    expect(store.hasRoom).equal(true);
    expect(await settled(store.waitForRoom())).equal("resolved");
    store.put("a", Buffer.alloc(1000));
    expect(store.hasRoom).equal(false);
    const room = store.waitForRoom();
    expect(await settled(room)).equal("pending");
    expect(base.isWriting).equal(true);
    await base.end();
    expect(await settled(room)).equal("resolved");
    expect(store.hasRoom).equal(true);
  });

  it("has no room for more edits than a start may have to replay, though they all change one key", async () => {
    const { base, store } = make();
    let index = 0;
    const edit = () => {
      store.put("a", value);
      store.setIndex(++index);
    };
    while (store.hasRoom && index <= MAX_UNFLUSHED_EDITS) edit();
    expect(index).equal(MAX_UNFLUSHED_EDITS);
    const room = store.waitForRoom();
    expect(await settled(room)).equal("pending");
    await base.end();
    expect(await settled(room)).equal("resolved");
    expect(base.index).equal(MAX_UNFLUSHED_EDITS);
    // Those of the overlay that is being written count, too; a jump of the index (a restore) is one edit.
    for (let i = 0; i < 10; i++) edit();
    void store.flush();
    index += 2 ** 30;
    store.setIndex(index);
    for (let i = 11; i < MAX_UNFLUSHED_EDITS; i++) {
      expect(store.hasRoom).equal(true);
      edit();
    }
    expect(store.hasRoom).equal(false);
    await base.end();
    expect(store.hasRoom).equal(true);
  });

  it("tells those who wait for room why there is none while the disk takes nothing", async () => {
    const { clock, base, store } = make(1000);
    store.put("a", Buffer.alloc(1000));
    const room = store.waitForRoom();
    await base.end(noSpace());
    expect(await settled(room)).equal("ENOSPC");
    expect(await settled(store.waitForRoom())).equal("ENOSPC");
    clock.advance(FLUSH_RETRY_MS);
    await base.end();
    expect(await settled(store.waitForRoom())).equal("resolved");
  });

  it("counts overwritten and deleted entries once", () => {
    const { store } = make(2000);
    for (let i = 0; i < 1000; i++) store.put("a", Buffer.alloc(500));
    expect(store.hasRoom).equal(true);
    for (let i = 0; i < 1000; i++) store.delete("a");
    expect(store.hasRoom).equal(true);
  });

  it("flushes when it is closed, and leaves no timer behind", async () => {
    const { clock, base, store } = make();
    store.put("a", value);
    const closing = store.close();
    await base.end();
    await closing;
    expect([base.closed, base.get("a"), clock.pending]).eql([true, value, 0]);
  });

  it("closes when the disk takes nothing, and says what is wrong", async () => {
    const { clock, base, store } = make();
    store.put("a", value);
    const closing = store.close();
    closing.catch(() => undefined);
    await base.end(noSpace());
    expect(await settled(closing)).equal("ENOSPC");
    expect([base.closed, clock.pending]).eql([true, 0]);
  });

  it("refuses an index that goes back", () => {
    const { store } = make();
    store.setIndex(5);
    expect(() => store.setIndex(4)).throw(InvariantError);
  });
});
