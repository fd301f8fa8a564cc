import { expect } from "chai";
import { BlockCache } from "../../client/block-cache.js";
import { Budget } from "../../client/budget.js";
import { PacketPool } from "../../client/packet.js";
import { ReadAhead } from "../../client/read-ahead.js";
import { ReadBuffers } from "../../client/read-buffers.js";
import { CHUNK_SIZE, KIB, MAX_PACKET, MAX_READ, MIB } from "../../common/limits.js";
import { settle } from "../support/fake-clock.js";

describe("a budget", () => {
  it("is never exceeded, and served in the order of asking", async () => {
    const budget = new Budget(10);
    const got: string[] = [];
    const take = (name: string, bytes: number) => budget.take(bytes).then(() => got.push(name));
    await take("a", 6);
    void take("b", 5);
    void take("c", 1);
    expect(budget.tryTake(1)).to.equal(false); // others wait
    await settle();
    expect(got).to.deep.equal(["a"]);
    expect(budget.isShort).to.equal(true);
    budget.give(6);
    await settle();
    expect(got).to.deep.equal(["a", "b", "c"]);
    expect(budget.used).to.equal(6);
    expect(budget.peak).to.equal(6);
    expect(() => budget.give(7)).to.throw("taken before");
    expect(() => budget.take(11)).to.throw("fits");
  });
});

describe("the memory of packets", () => {
  it("gives small packets to small files and is bounded", async () => {
    const pool = new PacketPool(2 * MAX_PACKET);
    const small = pool.tryMake(100)!;
    expect(small.capacity).to.be.lessThan(64 * KIB);
    const big = pool.tryMake(MAX_PACKET)!;
    expect(big.capacity).to.equal(MAX_PACKET);
    expect(pool.tryMake(MAX_PACKET)).to.equal(undefined);
    const waiting = pool.make(MAX_PACKET);
    pool.free(small);
    expect((await waiting).capacity).to.equal(MAX_PACKET);
    expect(pool.used).to.equal(2 * MAX_PACKET);
  });

  it("has packets that are half full sent on when memory is short and most of it is in them", async () => {
    const pool = new PacketPool(2 * MAX_PACKET);
    const [a, b] = [pool.tryMake(MAX_PACKET)!, pool.tryMake(MAX_PACKET)!];
    const sealed: string[] = [];
    pool.filling(a, () => {
      pool.filled(a);
      sealed.push("a");
    });
    const waiting = pool.make(1);
    expect(sealed).to.deep.equal([]); // half of the memory is on its way
    pool.filling(b, () => {
      pool.filled(b);
      sealed.push("b");
    });
    expect(sealed).to.deep.equal(["a", "b"]);
    pool.free(b);
    await waiting;
  });
});

describe("the cache of blocks", () => {
  const bytes = (length: number, value: number) => Promise.resolve(Buffer.alloc(length, value));

  it("forgets what was used longest ago, and is bounded", async () => {
    const cache = new BlockCache(4 * CHUNK_SIZE, new ReadBuffers());
    for (let i = 0; i < 4; i++) cache.add(1, i * CHUNK_SIZE, (i + 1) * CHUNK_SIZE, bytes(CHUNK_SIZE, i));
    await settle();
    expect(cache.find(1, 0)!.data![0]).to.equal(0); // used
    cache.add(2, 0, CHUNK_SIZE, bytes(CHUNK_SIZE, 9));
    await settle();
    expect(cache.bytes).to.equal(4 * CHUNK_SIZE);
    expect(cache.has(1, CHUNK_SIZE)).to.equal(false);
    expect([cache.has(1, 0), cache.has(1, 2 * CHUNK_SIZE), cache.has(2, 5)]).to.deep.equal([true, true, true]);
  });

  it("does not have what it has only a part of, or what could not be read", async () => {
    const cache = new BlockCache(MIB, new ReadBuffers());
    cache.add(1, 0, 100, bytes(100, 1));
    expect([cache.has(1, 99), cache.has(1, 100)]).to.deep.equal([true, false]);
    const failing = cache.add(2, 0, CHUNK_SIZE, Promise.reject(new Error("no")));
    expect(cache.loads).to.equal(2);
    await failing.ready!.catch(() => {});
    await settle();
    expect([cache.has(2, 0), cache.loads, cache.loading]).to.deep.equal([false, 0, 0]);
  });

  it("takes what is there already, and keeps to its bound with it", () => {
    const cache = new BlockCache(2 * CHUNK_SIZE, new ReadBuffers());
    for (let i = 0; i < 5; i++) {
      const segment = cache.add(1, i * CHUNK_SIZE, (i + 1) * CHUNK_SIZE, Buffer.alloc(CHUNK_SIZE, i));
      expect(segment.data![0]).to.equal(i);
      expect(cache.bytes).to.be.at.most(2 * CHUNK_SIZE);
    }
    expect([cache.has(1, 4 * CHUNK_SIZE), cache.has(1, 0), cache.loads]).to.deep.equal([true, false, 0]);
  });

  it("keeps a segment that is larger than the cache until it was used", () => {
    const cache = new BlockCache(CHUNK_SIZE, new ReadBuffers());
    const segment = cache.add(1, 0, MAX_READ, Buffer.alloc(MAX_READ, 7));
    cache.hold(segment);
    expect(segment.data![5]).to.equal(7);
    cache.add(1, MAX_READ, MAX_READ + CHUNK_SIZE, Buffer.alloc(CHUNK_SIZE));
    expect(cache.has(1, 0)).to.equal(false);
    expect(segment.data![5]).to.equal(7);
    cache.release(segment);
    expect(segment.data).to.equal(undefined);
  });

  it("does not let memory be used again that somebody copies from", async () => {
    const buffers = new ReadBuffers();
    const cache = new BlockCache(MAX_READ, buffers);
    const first = buffers.take(MAX_READ);
    const segment = cache.add(1, 0, MAX_READ, Promise.resolve(first));
    cache.hold(segment);
    await settle();
    cache.add(1, MAX_READ, 2 * MAX_READ, Promise.resolve(buffers.take(MAX_READ)));
    await settle();
    expect(cache.has(1, 0)).to.equal(false);
    expect(buffers.take(MAX_READ)).not.to.equal(first);
    cache.release(segment);
    expect(buffers.take(MAX_READ)).to.equal(first);
    buffers.give(Buffer.alloc(2 * MAX_READ).subarray(0, MAX_READ)); // a part of something is not kept
    expect(buffers.take(MAX_READ).buffer.byteLength).to.equal(MAX_READ);
  });
});

describe("read-ahead", () => {
  it("grows with a sequential reader up to its bound, also when reads come a little out of order", () => {
    const ahead = new ReadAhead();
    expect(ahead.note(0, 128 * KIB)).to.equal(undefined);
    let widest = 0;
    for (const i of [2, 1, 3, 5, 4, 6, 7, 8]) {
      const next = ahead.note(i * 128 * KIB, (i + 1) * 128 * KIB)!;
      widest = Math.max(widest, next.to - (i + 1) * 128 * KIB);
      next.done(next.to);
    }
    expect(widest).to.equal(8 * MIB);
  });

  it("asks for nothing twice", () => {
    const ahead = new ReadAhead();
    ahead.note(0, MIB);
    let reach = MIB;
    for (let at = MIB; at < 40 * MIB; at += MIB) {
      const next = ahead.note(at, at + MIB)!;
      expect(next.from).to.be.at.least(Math.max(reach, at + MIB));
      reach = Math.max(reach, next.to);
      next.done(next.to);
    }
  });

  it("leaves random readers alone, and tells several sequential ones apart", () => {
    const ahead = new ReadAhead();
    for (let i = 0; i < 100; i++) {
      const at = ((i * 7919) % 100) * 10 * MIB;
      expect(ahead.note(at, at + 4096)).to.equal(undefined);
    }
    for (let i = 0; i < 10; i++) {
      for (const base of [0, 2000 * MIB, 4000 * MIB]) {
        const next = ahead.note(base + i * MIB, base + (i + 1) * MIB);
        if (i > 0) expect(next!.to).to.be.greaterThan(base + (i + 1) * MIB);
      }
    }
  });
});
