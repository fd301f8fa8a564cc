import { expect } from "chai";
import fc from "fast-check";
import type { DirectoryPage } from "../../client/contract.js";
import { CairnError } from "../../common/errors.js";
import { DirectoryStream } from "../../fuse/directory.js";
import { HandleTable } from "../../fuse/handles.js";
import { parseMounts } from "../../fuse/mountinfo.js";
import { callerOf, encodeStat, resultOf, timeOf, wide } from "../../fuse/native/numbers.js";
import { inode } from "../support/inode.js";

describe("fuse HandleTable", () => {
  it("hands out numbers from 1, uses them again, and knows the closed ones", () => {
    const table = new HandleTable<{ n: number }>();
    const [a, b] = [table.add({ n: 1 }), table.add({ n: 2 })];
    expect([a, b]).to.deep.equal([1, 2]);
    expect(table.remove(a).n).to.equal(1);
    expect(() => table.get(a))
      .to.throw(CairnError)
      .with.property("code", "EBADF");
    expect(table.add({ n: 3 })).to.equal(a);
    expect(table.get(b).n).to.equal(2);
    for (const wrong of [0, -1, 99]) expect(() => table.get(wrong)).to.throw(CairnError);
  });

  it("is bounded", () => {
    const table = new HandleTable<object>(2);
    table.add({});
    const second = table.add({});
    expect(() => table.add({}))
      .to.throw(CairnError)
      .with.property("code", "ENFILE");
    table.remove(second);
    table.add({});
  });
});

describe("fuse DirectoryStream", () => {
  /** A directory of `count` entries in pages of at most `limit`, some of them shorter. */
  function stream(count: number, limit: number) {
    const names = Array.from({ length: count }, (_, i) => Buffer.from(String(i).padStart(7, "0")));
    let fetches = 0;
    const fetch = async (after: Uint8Array): Promise<DirectoryPage> => {
      fetches++;
      const from = after.length === 0 ? 0 : Number(Buffer.from(after).toString()) + 1;
      const size = 1 + ((from * 7) % limit);
      const entries = names.slice(from, from + size).map((name, i) => ({ name, inode: inode(from + i + 1) }));
      return { entries, more: from + size < count };
    };
    return { stream: new DirectoryStream(fetch), fetches: () => fetches };
  }

  it("gives the entry at every position, in whatever order it is asked", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 1, max: 9 }),
        fc.array(fc.nat(70), { maxLength: 30 }),
        async (count, limit, positions) => {
          const { stream: s } = stream(count, limit);
          for (const at of positions) {
            const entries = await s.from(at);
            expect(entries[0]?.inode.ino).to.equal(at < count ? at + 1 : undefined);
          }
        },
      ),
    );
  });

  it("fetches every page once when it is read from front to back, stepping back a little", async () => {
    const { stream: s, fetches } = stream(100_000, 20);
    let pages = 0;
    for (let at = 0; ; pages++) {
      const entries = await s.from(at);
      if (entries.length === 0) break;
      if (at > 0) expect((await s.from(at - 1))[0]?.inode.ino).to.equal(at);
      at += entries.length;
    }
    expect(fetches()).to.equal(pages);
    expect((await s.from(23_456))[0]?.inode.ino).to.equal(23_457);
  });
});

describe("fuse mountinfo", () => {
  it("reads mount points with spaces, optional fields and the type", () => {
    const text = [
      "36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 - ext3 /dev/root rw,errors=continue",
      "37 35 0:45 / /data rw,relatime shared:2 master:3 - fuse.cairn host:9870 rw",
      "",
    ].join("\n");
    expect(parseMounts(text)).to.deep.equal([
      { device: "98:0", mountpoint: "/mnt/a b", type: "ext3", source: "/dev/root" },
      { device: "0:45", mountpoint: "/data", type: "fuse.cairn", source: "host:9870" },
    ]);
  });
});

describe("fuse-native numbers", () => {
  it("carries 64-bit numbers and times before 1970", () => {
    const big = 2 ** 44 + 12345;
    const stat = encodeStat(inode(big, { size: big, allocated: big, mtime: { sec: -3, nsec: 999_999_999 } }));
    expect([stat[3], stat[5], stat[8]]).to.deep.equal([big, big, Math.ceil(big / 512)]);
    expect([stat[11], stat[12]]).to.deep.equal([-3, 999_999_999]);
    expect(wide(5, 7)).to.equal(7 * 2 ** 32 + 5);
  });

  it("answers each request with numbers of its own", () => {
    const [first, second] = [encodeStat(inode(1)), encodeStat(inode(2))];
    expect([first[5], second[5]]).to.deep.equal([1, 2]);
  });

  it("reads the times of utimensat, the caller, and errnos", () => {
    expect(timeOf(0, 0x3fffffff)).to.equal("now");
    expect(timeOf(0, 0x3ffffffe)).to.equal(undefined);
    expect(timeOf(-1, 5)).to.deep.equal({ sec: -1, nsec: 5 });
    const request = Buffer.from(new Uint32Array([1000, 4_000_000_000, 77]).buffer);
    expect(callerOf(request)).to.deep.equal({ uid: 1000, gid: 4_000_000_000, pid: 77 });
    expect(resultOf(new CairnError("ENOTEMPTY", "x"))).to.equal(-39);
    expect(resultOf(new CairnError("ESTALE", "x"))).to.equal(-116);
    expect(resultOf(new Error("x"))).to.equal(-5);
  });
});
