import { expect } from "chai";
import fc from "fast-check";
import { MetadataCache, type Question } from "../../fuse/cache.js";
import { Listing } from "../../fuse/listing.js";
import { Names } from "../../fuse/names.js";
import { RecentChanges } from "../../fuse/recent-changes.js";
import { inode } from "../support/inode.js";
import { MemoryWatch } from "../support/memory-client.js";

const a = Buffer.from("a");

function make() {
  const watch = new MemoryWatch();
  const evicted: number[] = [];
  return { watch, evicted, cache: new MetadataCache(watch, (ino) => evicted.push(ino)) };
}

describe("fuse MetadataCache", () => {
  it("believes an answer while the namenode can be heard", () => {
    const { cache, watch } = make();
    cache.putInode(inode(5), cache.question());
    cache.putDentry(1, a, 5, cache.question());
    cache.putDentry(1, Buffer.from("b"), "absent", cache.question());
    expect(cache.inode(5)?.ino).to.equal(5);
    expect(cache.dentry(1, a)).to.equal(5);
    expect(cache.dentry(1, Buffer.from("b"))).to.equal("absent");
    watch.trusted = 0;
    expect(cache.inode(5)).to.equal(undefined);
    expect(cache.ownership(5)).to.equal(undefined);
    expect(cache.dentry(1, a)).to.equal(undefined);
  });

  it("believes nothing of before a reconnection, nor what was asked before it", () => {
    const { cache, watch } = make();
    const question = cache.question();
    cache.putInode(inode(5), question);
    cache.putDentry(1, a, 5, question);
    watch.epoch++;
    cache.distrustAll();
    expect(cache.inode(5)).to.equal(undefined);
    expect(cache.dentry(1, a)).to.equal(undefined);
    expect(cache.putInode(inode(5), question)).to.equal(false);
    expect(cache.putDentry(1, a, 5, question)).to.equal(false);
  });

  it("passes over answers older than what is known, and keeps the owner when size and times are unknown", () => {
    const { cache } = make();
    cache.putInode(inode(5, { version: 9, size: 9 }), cache.question());
    cache.putInode(inode(5, { version: 8, size: 8 }), cache.question());
    expect(cache.inode(5)?.size).to.equal(9);
    cache.changed(5, 77);
    expect(cache.inode(5)).to.equal(undefined);
    expect(cache.ownership(5)?.mode).to.equal(0o100644);
    expect(cache.told(5)).to.equal(77);
  });

  it("does not believe an answer that a change may have overtaken", () => {
    const { cache } = make();
    const question = cache.question();
    cache.distrust(5);
    cache.distrustDentry(1, a);
    expect(cache.putInode(inode(5), question)).to.equal(false);
    expect(cache.putInode(inode(6), question)).to.equal(true);
    expect(cache.putDentry(1, a, 5, question)).to.equal(false);
    expect(cache.putDentry(1, Buffer.from("b"), 6, question)).to.equal(true);
  });

  it("knows that a directory that was read whole has no other names, until others make one", () => {
    const { cache } = make();
    cache.putDentry(1, a, 5, cache.question());
    expect(cache.dentry(1, Buffer.from("b"))).to.equal(undefined);
    cache.completeDirectory(1, cache.question());
    expect(cache.dentry(1, Buffer.from("b"))).to.equal("absent");
    cache.distrustDentry(1, Buffer.from("b"));
    expect(cache.dentry(1, Buffer.from("b"))).to.equal(undefined);
    expect(cache.dentry(1, Buffer.from("c"))).to.equal("absent");
    const question = cache.question();
    cache.distrustDentry(2, a);
    cache.completeDirectory(2, question);
    expect(cache.dentry(2, Buffer.from("b"))).to.equal(undefined);
  });

  it("is bounded, and says what it forgets", () => {
    const { cache, evicted } = make();
    for (let ino = 1; ino <= 80_000; ino++) {
      cache.putInode(inode(ino), cache.question());
      cache.putDentry(1, Buffer.from(String(ino)), ino, cache.question());
    }
    expect(cache.inode(1)).to.equal(undefined);
    expect(cache.inode(80_000)?.ino).to.equal(80_000);
    expect(cache.dentry(1, Buffer.from("1"))).to.equal(undefined);
    expect(cache.dentry(1, Buffer.from("80000"))).to.equal(80_000);
    const kept = [...cache.inos()];
    expect(kept.length).to.be.within(15_360, 16_384);
    const gone = new Set(evicted);
    expect(kept.some((ino) => gone.has(ino))).to.equal(false);
    expect(gone).to.include(1); // of whose names some are forgotten
    expect(gone.size).to.equal(80_000 - kept.length);
  });

  it("is never older than what was told, in whatever order questions, answers and changes cross", () => {
    const NAMES = ["a", "b", "c"].map((text) => Buffer.from(text));
    type Step = { kind: number; which: number };
    const step: fc.Arbitrary<Step> = fc.record({ kind: fc.nat(8), which: fc.nat(2) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { cache } = make();
        // The truth at the namenode: which inode a name stands for (0: none), and each inode's version.
        const names = [0, 0, 0];
        const versions = [1, 1, 1];
        let index = 1;
        /** What is on its way to the client: changes in order, answers that none may overtake which is younger. */
        let changes: { index: number; tell: () => void }[] = [];
        let answers: { index: number; take: () => void }[] = [];
        let asked: { ask: (question: Question) => () => void; question: Question }[] = [];
        const deliver = (upTo: number) => {
          for (const change of changes.filter((c) => c.index <= upTo)) change.tell();
          changes = changes.filter((c) => c.index > upTo);
        };
        for (const { kind, which } of steps) {
          const name = NAMES[which]!;
          if (kind === 0) {
            versions[which] = ++index;
            changes.push({ index, tell: () => cache.distrust(which + 10) });
          } else if (kind === 1) {
            names[which] = names[which] === 0 ? which + 10 : 0;
            index++;
            changes.push({ index, tell: () => cache.distrustDentry(1, name) });
          } else if (kind === 2) {
            const ask = (question: Question) => {
              const answer = inode(which + 10, { version: versions[which]! });
              return () => void cache.putInode(answer, question);
            };
            asked.push({ ask, question: cache.question() });
          } else if (kind === 3) {
            const ask = (question: Question) => {
              const meaning = names[which] || ("absent" as const);
              return () => void cache.putDentry(1, name, meaning, question);
            };
            asked.push({ ask, question: cache.question() });
          } else if (kind === 4) {
            // A listing of the whole directory.
            const ask = (question: Question) => {
              const listed = names.map((ino, i) => ({ ino, name: NAMES[i]! })).filter(({ ino }) => ino !== 0);
              return () => {
                for (const entry of listed) cache.putDentry(1, entry.name, entry.ino, question);
                cache.completeDirectory(1, question);
              };
            };
            asked.push({ ask, question: cache.question() });
          } else if (kind === 5) {
            // The namenode answers a question.
            const [first] = asked.splice(which % Math.max(1, asked.length), 1);
            if (first) answers.push({ index, take: first.ask(first.question) });
          } else if (kind === 6) {
            // An answer arrives, after all changes that are older.
            const [first] = answers.splice(which % Math.max(1, answers.length), 1);
            if (!first) continue;
            deliver(first.index);
            first.take();
          } else if (kind === 7) {
            const [first] = changes.splice(0, 1);
            first?.tell();
          } else {
            // This mount makes or removes a name: its reply comes at once, after all changes that are older.
            const question = cache.question();
            const made = names[which] === 0;
            names[which] = made ? which + 10 : 0;
            deliver(++index);
            cache.setDentry(1, name, made ? which + 10 : "absent", question);
          }
        }
        deliver(index);
        for (const [i, name] of NAMES.entries()) {
          const cached = cache.inode(i + 10);
          if (cached) expect(cached.version).to.equal(versions[i]);
          const meaning = cache.dentry(1, name);
          if (meaning !== undefined) expect(meaning).to.equal(names[i] || "absent");
        }
        asked = [];
        answers = [];
      }),
      { numRuns: 3000, seed: 20 },
    );
  });
});

describe("fuse Listing", () => {
  it("has what is listed remembered, and that there is nothing else; nothing of entries that are not watched", async () => {
    const { cache } = make();
    let unwatched = false;
    const entries = [{ name: a, inode: inode(5) }];
    const readDirectory = async () => ({ entries, more: false, unwatched });
    const neighbours = { listed: () => {} };
    await new Listing({ readDirectory }, cache, neighbours, 1).page(Buffer.alloc(0));
    expect([cache.inode(5)?.ino, cache.dentry(1, a), cache.dentry(1, Buffer.from("b"))]).to.deep.equal([
      5,
      5,
      "absent",
    ]);
    unwatched = true;
    const page = await new Listing({ readDirectory }, cache, neighbours, 2).page(Buffer.alloc(0));
    expect(page.entries).to.equal(entries);
    expect([cache.dentry(2, a), cache.dentry(2, Buffer.from("b"))]).to.deep.equal([undefined, undefined]);
  });
});

describe("fuse Names", () => {
  it("forgets the directory used least lately, and of the last one its oldest names", () => {
    const evicted: number[] = [];
    const names = new Names((dir) => evicted.push(dir), 10);
    for (const dir of [1, 2, 3]) for (const name of ["a", "b"]) names.put(dir, name, dir * 10);
    names.complete(1);
    expect(names.get(1, "a")).to.equal(10);
    names.put(4, "a", 40);
    expect(evicted).to.deep.equal([2]);
    expect(names.get(1, "x")).to.equal("absent");
    for (let i = 0; i < 20; i++) names.put(5, String(i), 50);
    expect(names.has(1)).to.equal(false);
    expect(names.get(5, "0")).to.equal(undefined);
    expect(names.get(5, "19")).to.equal(50);
    names.complete(5);
    names.put(5, "more", 50);
    expect(names.get(5, "0")).to.equal(undefined);
  });
});

describe("fuse RecentChanges", () => {
  it("forgets single changes, and then takes anything that old for changed", () => {
    const recent = new RecentChanges(4);
    const before = recent.now;
    recent.note("a");
    expect(recent.since("a", before)).to.equal(true);
    expect(recent.since("b", before)).to.equal(false);
    for (const key of ["b", "c", "d"]) recent.note(key);
    expect(recent.since("x", before)).to.equal(true);
    expect(recent.since("x", before + 2)).to.equal(false);
    expect(recent.since("c", before + 2)).to.equal(true);
    expect(recent.since("d", before + 3)).to.equal(true);
    expect(recent.since("d", recent.now)).to.equal(false);
    recent.noteAll();
    expect(recent.since("x", recent.now - 1)).to.equal(true);
  });
});
