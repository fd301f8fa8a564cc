import { expect } from "chai";
import { KIB, MAX_AHEAD, MAX_INLINE, MAX_INLINE_PAGE } from "../../common/limits.js";
import { MetadataCache } from "../../fuse/cache.js";
import { ListedOrders } from "../../fuse/listed.js";
import { Neighbours } from "../../fuse/neighbours.js";
import type { Inode } from "../../proto/gen/types.js";
import { FakeClock } from "../support/fake-clock.js";
import { inode } from "../support/inode.js";
import { MemoryClient } from "../support/memory-client.js";

const DIR = 7;
const START = Buffer.alloc(0);

function make() {
  const client = new MemoryClient();
  const clock = new FakeClock();
  const cache = new MetadataCache(client.watch, () => {});
  const neighbours = new Neighbours(client, cache, clock);
  const small = (ino: number, change: Partial<Inode> = {}) =>
    inode(ino, { parent: DIR, size: 1000, inline: 1000, ...change });
  /** A directory's files, listed in this order. */
  const list = (inos: readonly number[], change: Partial<Inode> = {}) => {
    const entries = inos.map((ino) => ({ name: Buffer.from(String(ino)), inode: small(ino, change) }));
    for (const entry of entries) cache.putInode(entry.inode, cache.question());
    neighbours.listed(change.parent ?? DIR, START, entries, false);
  };
  const open = (...inos: readonly number[]) => {
    for (const ino of inos) neighbours.opened(cache.inode(ino) ?? small(ino));
  };
  return { client, clock, cache, neighbours, small, list, open, asked: client.ahead };
}

const range = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);
/** Numbers that are not in their own order, nor near one another. */
const scattered = (count: number) => range(0, count).map((i) => 1000 + ((i * 37) % count) * 20);

describe("fuse Neighbours", () => {
  it("asks for more and more files as they are listed, while they are opened, and before the last are", () => {
    const { list, open, asked } = make();
    const inos = scattered(400);
    list(inos);
    open(...inos);
    const first = asked[0]!;
    expect(first).to.deep.equal(inos.slice(0, 3));
    expect(asked.slice(1).flat()).to.deep.equal(inos.slice(3));
    expect(asked.slice(1, 7).map((call) => call.length)).to.deep.equal([4, 8, 16, 32, MAX_AHEAD, MAX_AHEAD]);
    expect(asked.length).to.be.below(12);
  });

  it("asks by number where files are opened as they were made, and from anywhere in the directory", () => {
    const { list, open, asked } = make();
    const inos = range(100, 200);
    list([...inos].sort((a, b) => String(a * 7919).localeCompare(String(b * 7919))));
    open(150);
    expect(asked).to.deep.equal([]);
    open(151, 152, 153, 154);
    expect(asked[0]).to.deep.equal([151, 152, 153]);
    expect(asked.slice(1).flat()).to.deep.equal(range(154, asked.slice(1).flat().length));
    const other = make();
    other.list([102, 101, 100, 103]);
    other.open(100);
    expect(other.asked, "the one made first").to.deep.equal([[100, 101, 102]]);
  });

  it("goes through a tree with the window it had, and less when it asked in vain", () => {
    const { list, open, asked } = make();
    const tree = range(1, 6).map((dir) => ({ parent: dir * 10_000, inos: scattered(30).map((i) => dir * 10_000 + i) }));
    for (const { parent, inos } of tree) list(inos, { parent });
    const [one, two, three, four, five] = tree as [
      (typeof tree)[0],
      (typeof tree)[0],
      (typeof tree)[0],
      (typeof tree)[0],
      (typeof tree)[0],
    ];
    open(...one.inos);
    const before = asked.length;
    open(...two.inos);
    expect(asked.length - before).to.be.at.most(2);
    // Only the first file of each from here on.
    open(three.inos[0]!);
    const first = asked.at(-1)!.length;
    open(four.inos[0]!);
    const second = asked.at(-1)!.length;
    open(five.inos[0]!);
    expect([first, second > asked.at(-1)!.length]).to.deep.equal([30, true]);
  });

  it("does not ask where files are opened in no order, and stops asking when they are no more", () => {
    const { list, open, asked } = make();
    const inos = scattered(400);
    list(inos);
    open(...range(0, 300).map((i) => inos[50 + ((i * 101) % 350)]!));
    expect(asked).to.deep.equal([]);
    open(...inos.slice(100, 140));
    expect(asked.length).to.be.above(3);
    for (let i = 0; i < 20; i++) open(inos[(i * 151) % 400]!);
    const calls = asked.length;
    open(inos[399]!, inos[17]!);
    expect(asked.length).to.equal(calls);
  });

  it("asks only for small files that are known as they are now, and not in the kernel's pages", () => {
    const { cache, list, open, asked, neighbours, small } = make();
    const inos = scattered(20);
    list(inos);
    const [first, cached, changed, large, empty, elsewhere, good] = inos as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    cache.keepPages(small(cached));
    cache.distrust(changed);
    cache.putInode(small(large, { size: MAX_INLINE + 1, version: 2 }), cache.question());
    cache.putInode(small(empty, { size: 0, version: 2 }), cache.question());
    cache.putInode(small(elsewhere, { parent: 8, version: 2 }), cache.question());
    open(first);
    expect(asked).to.deep.equal([[first, good, inos[7]!]]);
    neighbours.opened(small(5, { inline: 0 }));
    neighbours.opened(small(5, { parent: 0 }));
    expect(asked.length).to.equal(1);
  });

  it("asks for no more bytes than an answer has room for", () => {
    const { list, open, asked } = make();
    const inos = scattered(60);
    list(inos, { size: 60 * KIB });
    open(...inos);
    const most = Math.floor(MAX_INLINE_PAGE / (60 * KIB));
    expect(Math.max(...asked.map((call) => call.length))).to.equal(most);
    expect(asked.flat()).to.deep.equal(inos);
  });

  it("begins anew with a directory of which nothing was opened for a while", () => {
    const { list, open, asked, clock } = make();
    const inos = scattered(400);
    list(inos);
    open(...inos.slice(0, 20));
    const calls = asked.length;
    clock.jump(60_000);
    open(inos[300]!);
    expect(asked.length).to.equal(calls);
    open(inos[301]!);
    expect(asked.at(-1)).to.deep.equal(inos.slice(301, 304));
  });
});

describe("fuse ListedOrders", () => {
  const entries = (...inos: number[]) => inos.map((ino) => ({ name: Buffer.from(String(ino)), inode: inode(ino) }));

  it("has what is wanted of pages that follow one another, and begins anew with the first", () => {
    const orders = new ListedOrders(({ inode: { ino } }) => ino % 2 === 0);
    orders.listed(1, START, entries(2, 3, 4), true);
    orders.listed(1, Buffer.from("4"), entries(8, 6), true);
    expect(orders.of(1)).to.deep.equal([2, 4, 8, 6]);
    orders.listed(1, Buffer.from("4"), entries(10), true);
    orders.listed(1, Buffer.from("6"), entries(12), false);
    orders.listed(1, Buffer.from("12"), entries(14), false);
    expect(orders.of(1)).to.deep.equal([2, 4, 8, 6, 12]);
    orders.listed(1, START, entries(16), false);
    expect([orders.of(1), orders.of(2)]).to.deep.equal([[16], []]);
  });

  it("forgets the oldest directories", () => {
    const orders = new ListedOrders(() => true);
    for (const dir of range(1, 400)) orders.listed(dir, START, entries(dir), false);
    expect(range(1, 400).filter((dir) => orders.of(dir).length > 0)).to.deep.equal(range(145, 256));
    orders.listed(500, START, entries(...range(1, 65_536)), false);
    expect([orders.of(400), orders.of(500).length]).to.deep.equal([[], 65_536]);
  });
});
