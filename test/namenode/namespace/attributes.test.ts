import { expect } from "chai";
import { ROOT_INO } from "../../../common/limits.js";
import { readBlock } from "../../../namenode/namespace/records.js";
import { S_IFLNK, S_IFREG } from "../../../namenode/namespace/types.js";
import { name, SESSION, World } from "./world.js";

describe("attributes", () => {
  let world: World;
  let ino: number;
  beforeEach(async () => {
    world = await World.open();
    ino = (await world.mkfile(ROOT_INO, "f")).ino;
    world.clock.advance(10_000);
  });

  it("change where they are given, and only there", async () => {
    const before = await world.inode(ino);
    const { inode, index } = await world.call("setAttributes", { ino, mode: 0o4755, uid: 3 });
    expect(inode).to.include({ mode: S_IFREG | 0o4755, uid: 3, gid: before.gid, version: index });
    expect(inode.mtime).to.deep.equal(before.mtime);
    expect(inode.ctime.sec).to.equal(10);
    expect((await world.call("setAttributes", { ino, mode: 0, gid: 0 })).inode.mode).to.equal(S_IFREG);
  });

  it("take times from the caller or from the namenode's clock", async () => {
    const given = { sec: -5, nsec: 999_999_999 };
    const { inode } = await world.call("setAttributes", { ino, atime: given, mtimeNow: true });
    expect([inode.atime.sec, inode.atime.nsec, inode.mtime.sec]).to.deep.equal([-5, 999_999_999, 10]);
    const sized = (await world.call("setAttributes", { ino, size: 3, mtime: given })).inode;
    expect(sized.mtime.sec).to.equal(-5);
  });

  it("have access times that follow reads, unless they were set meanwhile", async () => {
    const before = await world.inode(ino);
    const gone = { ino: 999, atime: { sec: 20, nsec: 1 }, before: before.atime };
    const access = { ino, atime: { sec: 20, nsec: 1 }, before: before.atime };
    const edits = world.editor.lastIndex;
    const note = (accesses: (typeof access)[]) => world.call("noteAccesses", { session: SESSION, accesses });
    expect((await note([access, gone])).passed).to.deep.equal([999]);
    expect(world.editor.lastIndex).to.equal(edits + 1);
    const { atime, ...rest } = await world.inode(ino);
    expect(atime).to.deep.equal({ sec: 20, nsec: 1 });
    const { atime: _, ...same } = before;
    expect(rest).to.deep.equal(same);
    // Repeated, it is done once, and makes no edit.
    expect((await note([access])).passed).to.deep.equal([ino]);
    await world.call("setAttributes", { ino, atime: { sec: 5, nsec: 0 } });
    expect((await note([{ ...access, before: { sec: 20, nsec: 1 } }])).passed).to.deep.equal([ino]);
    expect((await world.inode(ino)).atime.sec).to.equal(5);
    expect(world.editor.lastIndex).to.equal(edits + 2);
    expect(await world.code("noteAccesses", { session: SESSION, accesses: Array(257).fill(access) })).to.equal(
      "EINVAL",
    );
    const odd = [{ ...access, atime: { sec: 0, nsec: 1e9 } }];
    expect(await world.code("noteAccesses", { session: SESSION, accesses: odd })).to.equal("EINVAL");
  });

  it("change a file's policy and what its blocks want", async () => {
    const block = await world.write(ino, 10);
    const { inode } = await world.call("setAttributes", { ino, policy: { replicas: 2 } });
    expect(inode.policy).to.include({ replicas: 2, blockSize: 64 << 20 });
    expect(readBlock(world.kv, block)!.replicas).to.equal(2);
    expect(world.effects.at(-1)!.wanted).to.deep.equal([
      { block: { id: block, generation: 1, length: 10 }, wanted: 2 },
    ]);
  });

  it("are checked", async () => {
    const link = { dir: ROOT_INO, name: name("l"), mode: S_IFLNK | 0o777, target: name("t") };
    const symlink = (await world.call("create", link)).inode.ino;
    const before = world.editor.lastIndex;
    for (const change of [
      { mode: S_IFREG | 0o644 },
      { uid: 0xffffffff },
      { atime: { sec: 0, nsec: 1e9 } },
      { mtime: { sec: 2 ** 60, nsec: 0 } },
      { policy: { replicas: 99 } },
      { ino: symlink, size: 1 },
      { ino: symlink, policy: { replicas: 1 } },
    ]) {
      expect(await world.code("setAttributes", { ino, ...change }), JSON.stringify(change)).to.equal("EINVAL");
    }
    expect(await world.code("setAttributes", { ino: 999, mode: 0 })).to.equal("ESTALE");
    expect(world.editor.lastIndex).to.equal(before);
  });

  describe("extended", () => {
    const get = async (text: string) => (await world.call("getXattr", { ino, name: name(text) })).value.toString();

    it("are set, read, listed and removed", async () => {
      await world.call("setXattr", { ino, name: name("user.b"), value: name("1") });
      const { inode } = await world.call("setXattr", { ino, name: name("user.a"), value: name("") });
      expect(inode.ctime.sec).to.equal(10);
      expect([await get("user.b"), await get("user.a")]).to.deep.equal(["1", ""]);
      await world.call("setXattr", { ino, name: name("user.b"), value: name("2") });
      expect(await get("user.b")).to.equal("2");
      const names = async () => (await world.call("listXattrs", { ino })).names.map(String);
      expect(await names()).to.deep.equal(["user.a", "user.b"]);
      await world.call("removeXattr", { ino, name: name("user.b") });
      expect(await names()).to.deep.equal(["user.a"]);
    });

    it("fail as setxattr(2) and its kin do", async () => {
      const set = (text: string, more: object = {}) =>
        world.code("setXattr", { ino, name: name(text), value: name("v"), ...more });
      expect(await set("user.a", { replace: true })).to.equal("ENODATA");
      expect(await set("user.a", { create: true })).to.equal("ok");
      expect(await set("user.a", { create: true })).to.equal("EEXIST");
      expect(await set("user.a", { create: true, replace: true })).to.equal("EINVAL");
      expect(await set("x".repeat(256))).to.equal("ERANGE");
      expect(await set("")).to.equal("ERANGE");
      expect(await set("user.b", { value: Buffer.alloc(65_536) })).to.equal("ok");
      expect(await set("user.b", { value: Buffer.alloc(65_537) })).to.equal("E2BIG");
      expect(await world.code("getXattr", { ino, name: name("user.x") })).to.equal("ENODATA");
      expect(await world.code("removeXattr", { ino, name: name("user.x") })).to.equal("ENODATA");
      expect(await world.code("listXattrs", { ino: 999 })).to.equal("ESTALE");
    });

    it("are bounded per inode", async () => {
      const long = (i: number) => name(`${String(i).padStart(3, "0")}${"x".repeat(252)}`);
      for (let i = 0; i < 256; i++) await world.call("setXattr", { ino, name: long(i), value: name("") });
      expect(await world.code("setXattr", { ino, name: name("y"), value: name("") })).to.equal("ENOSPC");
      expect(await world.code("setXattr", { ino, name: long(7), value: name("new") })).to.equal("ok");
    });
  });
});
