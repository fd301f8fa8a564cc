import { expect } from "chai";
import { ROOT_INO } from "../../../common/limits.js";
import { readCluster } from "../../../namenode/namespace/records.js";
import { S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG } from "../../../namenode/namespace/types.js";
import { name, POLICY, World } from "./world.js";

const FILE = S_IFREG | 0o644;
const DIR = S_IFDIR | 0o755;
const TOO_LONG = "x".repeat(256);

describe("names", () => {
  let world: World;
  beforeEach(async () => {
    world = await World.open();
  });

  describe("create", () => {
    it("makes an inode with the attributes asked for, under its name", async () => {
      world.clock.advance(1_234);
      const request = { dir: ROOT_INO, name: name("f"), mode: FILE, uid: 10, gid: 20 };
      const { inode, existed, index, parent } = await world.call("create", request);
      expect(existed).to.equal(false);
      expect(inode).to.include({ mode: FILE, uid: 10, gid: 20, nlink: 1, size: 0, version: index });
      expect(inode.mtime).to.include({ sec: 1, nsec: 234e6 });
      expect(inode.policy).to.include(POLICY);
      expect((await world.call("lookup", { dir: ROOT_INO, name: name("f") })).inode).to.deep.equal(inode);
      const root = await world.inode(ROOT_INO);
      expect(parent).to.deep.equal(root);
      expect(root).to.include({ nlink: 2, size: 1, version: index });
      expect(root.mtime).to.deep.equal(inode.mtime);
      expect(root.ctime).to.deep.equal(inode.mtime);
      expect(root.atime.sec).to.equal(0);
    });

    it("counts sub-directories in nlink, and what the cluster holds", async () => {
      const dir = await world.mkdir(ROOT_INO, "d");
      expect(dir).to.include({ nlink: 2, parent: ROOT_INO });
      await world.mkfile(dir.ino, "f");
      expect((await world.inode(ROOT_INO)).nlink).to.equal(3);
      expect((await world.inode(dir.ino)).nlink).to.equal(2);
      expect(readCluster(world.kv)).to.include({ files: 1, directories: 2 });
      expect((await world.call("getCapacity", {})).inodes).to.equal(3);
    });

    it("returns an existing file where that is wanted, and only a file", async () => {
      const file = await world.mkfile(ROOT_INO, "f");
      await world.mkdir(ROOT_INO, "d");
      const again = { dir: ROOT_INO, name: name("f"), mode: FILE, openExisting: true };
      const reply = await world.call("create", again);
      expect(reply).to.include({ existed: true, index: 0 });
      expect(reply.inode.ino).to.equal(file.ino);
      expect(await world.code("create", { ...again, openExisting: false })).to.equal("EEXIST");
      expect(await world.code("create", { ...again, name: name("d") })).to.equal("EEXIST");
    });

    it("hands down policy, and the group of a setgid directory", async () => {
      const policy = { replicas: 2, blockSize: 1 << 20 };
      const request = { dir: ROOT_INO, name: name("d"), mode: DIR | 0o2000, gid: 9, policy };
      const { inode: dir } = await world.call("create", request);
      const file = await world.mkfile(dir.ino, "f");
      expect(file.gid).to.equal(9);
      expect(file.policy).to.include({ ...policy, compression: 0 });
      const sub = await world.mkdir(dir.ino, "sub");
      expect(sub).to.include({ gid: 9, mode: DIR | 0o2000 });
      expect((await world.mkfile(sub.ino, "f")).policy).to.include(policy);
    });

    it("keeps targets of symlinks and numbers of devices", async () => {
      const link = { dir: ROOT_INO, name: name("l"), mode: S_IFLNK | 0o777, target: name("../away") };
      const { inode } = await world.call("create", link);
      expect(inode.size).to.equal(7);
      expect(inode.target.toString()).to.equal("../away");
      const device = { dir: ROOT_INO, name: name("c"), mode: S_IFCHR | 0o600, rdev: 259 };
      expect((await world.call("create", device)).inode.rdev).to.equal(259);
      expect(await world.code("create", { ...device, name: name("p"), mode: S_IFIFO })).to.equal("EINVAL");
    });

    it("takes names as bytes", async () => {
      const odd = Buffer.from([0xff, 0x0a, 0x80]);
      const { inode } = await world.call("create", { dir: ROOT_INO, name: odd, mode: FILE });
      const { entries } = await world.call("readDirectory", { dir: ROOT_INO });
      expect(entries.map((e) => e.name)).to.deep.equal([odd]);
      expect((await world.call("lookup", { dir: ROOT_INO, name: odd })).inode.ino).to.equal(inode.ino);
    });

    const base = { dir: ROOT_INO, name: name("n"), mode: FILE };
    const long = Buffer.alloc(4096, "a");
    for (const [what, request, code] of [
      ["a name of 256 bytes", { ...base, name: name(TOO_LONG) }, "ENAMETOOLONG"],
      ["a name with a slash", { ...base, name: name("a/b") }, "EINVAL"],
      ["a name with a NUL", { ...base, name: name("a\0") }, "EINVAL"],
      ["no name", { ...base, name: name("") }, "EINVAL"],
      [".", { ...base, name: name(".") }, "EEXIST"],
      ["..", { ...base, name: name("..") }, "EEXIST"],
      ["no type", { ...base, mode: 0o644 }, "EINVAL"],
      ["bits beyond a mode", { ...base, mode: FILE | (1 << 20) }, "EINVAL"],
      ["an inode that is gone", { ...base, dir: 999 }, "ESTALE"],
      ["inode number 0", { ...base, dir: 0 }, "EINVAL"],
      ["an inode number beyond 2^53", { ...base, dir: 2 ** 60 }, "EINVAL"],
      ["an empty symlink", { ...base, mode: S_IFLNK | 0o777 }, "ENOENT"],
      ["a long symlink", { ...base, mode: S_IFLNK | 0o777, target: long }, "ENAMETOOLONG"],
      ["a file with a target", { ...base, target: name("t") }, "EINVAL"],
      ["an odd block size", { ...base, policy: { blockSize: (1 << 20) + 1 } }, "EINVAL"],
      ["too many replicas", { ...base, policy: { replicas: 17 } }, "EINVAL"],
      ["an unknown compression", { ...base, policy: { compression: 9 as 1 } }, "EINVAL"],
    ] as const) {
      it(`refuses ${what} with ${code}, and changes nothing`, async () => {
        const before = world.editor.lastIndex;
        expect(await world.code("create", request)).to.equal(code);
        expect(world.editor.lastIndex).to.equal(before);
      });
    }

    it("refuses a file as the directory, and a removed directory", async () => {
      const file = await world.mkfile(ROOT_INO, "f");
      expect(await world.code("create", { ...base, dir: file.ino })).to.equal("ENOTDIR");
      const dir = await world.mkdir(ROOT_INO, "d");
      await world.call("unlink", { dir: ROOT_INO, name: name("d"), directory: true });
      expect(await world.code("create", { ...base, dir: dir.ino })).to.equal("ENOENT");
    });
  });

  describe("lookup and walk", () => {
    it("understand dots", async () => {
      const dir = await world.mkdir(ROOT_INO, "d");
      const find = async (ino: number, text: string) =>
        (await world.call("lookup", { dir: ino, name: name(text) })).inode.ino;
      expect(await find(dir.ino, ".")).to.equal(dir.ino);
      expect(await find(dir.ino, "..")).to.equal(ROOT_INO);
      expect(await find(ROOT_INO, "..")).to.equal(ROOT_INO);
      expect(await world.code("lookup", { dir: dir.ino, name: name("x") })).to.equal("ENOENT");
      expect(await world.code("lookup", { dir: dir.ino, name: name(TOO_LONG) })).to.equal("ENAMETOOLONG");
      expect(await world.code("lookup", { dir: 999, name: name("x") })).to.equal("ESTALE");
    });

    it("go as far as the path exists", async () => {
      const a = await world.mkdir(ROOT_INO, "a");
      const f = await world.mkfile(a.ino, "f");
      const walk = async (...names: string[]) =>
        (await world.call("walk", { dir: ROOT_INO, names: names.map(name) })).inodes.map((i) => i.ino);
      expect(await walk("a", "f")).to.deep.equal([a.ino, f.ino]);
      expect(await walk("a", "x", "y")).to.deep.equal([a.ino]);
      expect(await walk("a", "f", "y")).to.deep.equal([a.ino, f.ino]);
      expect(await walk("a", "..", "a", ".", "f")).to.deep.equal([a.ino, ROOT_INO, a.ino, a.ino, f.ino]);
      expect(await walk()).to.deep.equal([]);
      expect(await world.code("walk", { dir: f.ino, names: [name("x")] })).to.equal("ENOTDIR");
      expect(await world.code("walk", { dir: ROOT_INO, names: Array(2049).fill(name("a")) })).to.equal("EINVAL");
    });
  });

  describe("link", () => {
    it("gives a file a second name, which keeps it alive", async () => {
      const file = await world.mkfile(ROOT_INO, "a");
      world.clock.advance(5_000);
      const { inode } = await world.call("link", { ino: file.ino, dir: ROOT_INO, name: name("b") });
      expect(inode.nlink).to.equal(2);
      expect(inode.ctime.sec).to.equal(5);
      expect(inode.mtime.sec).to.equal(0);
      await world.call("unlink", { dir: ROOT_INO, name: name("a") });
      world.clock.advance(5_000);
      expect((await world.inode(file.ino)).nlink).to.equal(1);
      expect(readCluster(world.kv).files).to.equal(1);
    });

    it("fails as link(2) does", async () => {
      const file = await world.mkfile(ROOT_INO, "a");
      const dir = await world.mkdir(ROOT_INO, "d");
      const link = (ino: number, text: string) => world.code("link", { ino, dir: ROOT_INO, name: name(text) });
      expect(await link(dir.ino, "b")).to.equal("EPERM");
      expect(await link(file.ino, "d")).to.equal("EEXIST");
      expect(await link(file.ino, "..")).to.equal("EEXIST");
      expect(await link(999, "b")).to.equal("ESTALE");
      expect(await world.code("link", { ino: file.ino, dir: file.ino, name: name("b") })).to.equal("ENOTDIR");
    });
  });

  describe("unlink", () => {
    it("frees what the last name held, in the background", async () => {
      const file = await world.mkfile(ROOT_INO, "f");
      const block = await world.write(file.ino, 100);
      await world.call("unlink", { dir: ROOT_INO, name: name("f") });
      expect(await world.code("lookup", { dir: ROOT_INO, name: name("f") })).to.equal("ENOENT");
      expect((await world.inode(file.ino)).nlink).to.equal(0);
      expect(world.freed()).to.deep.equal([]);
      world.clock.advance(1_000);
      expect(await world.code("getInode", { ino: file.ino })).to.equal("ESTALE");
      expect(world.freed()).to.deep.equal([block]);
      expect(readCluster(world.kv)).to.include({ files: 0, blocks: 0 });
    });

    it("fails as unlink(2) and rmdir(2) do", async () => {
      const dir = await world.mkdir(ROOT_INO, "d");
      await world.mkfile(dir.ino, "f");
      const remove = (at: number, text: string, directory: boolean) =>
        world.code("unlink", { dir: at, name: name(text), directory });
      expect(await remove(ROOT_INO, "d", false)).to.equal("EISDIR");
      expect(await remove(ROOT_INO, "d", true)).to.equal("ENOTEMPTY");
      expect(await remove(dir.ino, "f", true)).to.equal("ENOTDIR");
      expect(await remove(ROOT_INO, "x", false)).to.equal("ENOENT");
      expect(await remove(dir.ino, ".", true)).to.equal("EINVAL");
      expect(await remove(dir.ino, "..", true)).to.equal("ENOTEMPTY");
      expect(await remove(dir.ino, ".", false)).to.equal("EISDIR");
      expect(await remove(dir.ino, "f", false)).to.equal("ok");
      expect(await remove(ROOT_INO, "d", true)).to.equal("ok");
      expect(await world.inode(ROOT_INO)).to.include({ nlink: 2, size: 0 });
    });
  });

  describe("rename", () => {
    const move = (from: number, a: string, to: number, b: string, flags = {}) => ({
      fromDir: from,
      fromName: name(a),
      toDir: to,
      toName: name(b),
      ...flags,
    });

    it("moves a directory, with its parent and all link counts", async () => {
      const a = await world.mkdir(ROOT_INO, "a");
      const b = await world.mkdir(ROOT_INO, "b");
      const sub = await world.mkdir(a.ino, "sub");
      world.clock.advance(7_000);
      const { moved, replaced } = await world.call("rename", move(a.ino, "sub", b.ino, "moved"));
      expect(moved).to.include({ ino: sub.ino, parent: b.ino });
      expect(moved.ctime.sec).to.equal(7);
      expect(replaced).to.equal(null);
      expect(await world.inode(a.ino)).to.include({ nlink: 2, size: 0 });
      expect(await world.inode(b.ino)).to.include({ nlink: 3, size: 1 });
      expect((await world.inode(a.ino)).mtime.sec).to.equal(7);
      expect((await world.inode(b.ino)).mtime.sec).to.equal(7);
      expect((await world.call("lookup", { dir: sub.ino, name: name("..") })).inode.ino).to.equal(b.ino);
    });

    it("answers with the directories as they are then, and with none when nothing was done", async () => {
      const a = await world.mkdir(ROOT_INO, "a");
      const sub = await world.mkdir(a.ino, "sub");
      await world.mkdir(ROOT_INO, "over");
      const away = await world.call("rename", move(a.ino, "sub", ROOT_INO, "over"));
      expect([away.from, away.to]).to.deep.equal([await world.inode(a.ino), await world.inode(ROOT_INO)]);
      const within = await world.call("rename", move(ROOT_INO, "over", ROOT_INO, "b"));
      expect([within.from, within.to]).to.deep.equal([null, await world.inode(ROOT_INO)]);
      const swap = await world.call("rename", move(ROOT_INO, "b", ROOT_INO, "a", { exchange: true }));
      expect([swap.moved.ino, swap.from, swap.to]).to.deep.equal([sub.ino, null, await world.inode(ROOT_INO)]);
      const nothing = await world.call("rename", move(ROOT_INO, "a", ROOT_INO, "a"));
      expect([nothing.from, nothing.to]).to.deep.equal([null, null]);
    });

    it("replaces a file, whose content is freed", async () => {
      const a = await world.mkfile(ROOT_INO, "a");
      const b = await world.mkfile(ROOT_INO, "b");
      const block = await world.write(b.ino, 10);
      const { moved, replaced } = await world.call("rename", move(ROOT_INO, "a", ROOT_INO, "b"));
      expect(moved.ino).to.equal(a.ino);
      expect(replaced).to.include({ ino: b.ino, nlink: 0 });
      world.clock.advance(1_000);
      expect(world.freed()).to.deep.equal([block]);
      expect((await world.inode(ROOT_INO)).size).to.equal(1);
    });

    it("replaces an empty directory", async () => {
      const a = await world.mkdir(ROOT_INO, "a");
      await world.mkdir(ROOT_INO, "b");
      await world.call("rename", move(ROOT_INO, "a", ROOT_INO, "b"));
      expect((await world.call("lookup", { dir: ROOT_INO, name: name("b") })).inode.ino).to.equal(a.ino);
      expect(await world.inode(ROOT_INO)).to.include({ nlink: 3, size: 1 });
      expect(readCluster(world.kv).directories).to.equal(2);
    });

    it("exchanges a file and a directory", async () => {
      const a = await world.mkdir(ROOT_INO, "a");
      const sub = await world.mkdir(a.ino, "sub");
      const file = await world.mkfile(ROOT_INO, "f");
      const { moved, replaced } = await world.call("rename", move(a.ino, "sub", ROOT_INO, "f", { exchange: true }));
      expect(moved).to.include({ ino: sub.ino, parent: ROOT_INO });
      expect(replaced).to.include({ ino: file.ino, nlink: 1, parent: a.ino });
      expect(await world.inode(a.ino)).to.include({ nlink: 2, size: 1 });
      expect(await world.inode(ROOT_INO)).to.include({ nlink: 4, size: 2 });
    });

    it("does nothing between two names of one file", async () => {
      const file = await world.mkfile(ROOT_INO, "a");
      await world.call("link", { ino: file.ino, dir: ROOT_INO, name: name("b") });
      const { moved, index } = await world.call("rename", move(ROOT_INO, "a", ROOT_INO, "b"));
      expect([moved.nlink, index]).to.deep.equal([2, 0]);
    });

    it("fails as rename(2) does", async () => {
      const a = await world.mkdir(ROOT_INO, "a");
      const sub = await world.mkdir(a.ino, "sub");
      const full = await world.mkdir(ROOT_INO, "full");
      await world.mkfile(full.ino, "x");
      await world.mkfile(ROOT_INO, "f");
      const code = (...args: Parameters<typeof move>) => world.code("rename", move(...args));
      const flags = { noReplace: true };
      expect(await code(ROOT_INO, "x", ROOT_INO, "y")).to.equal("ENOENT");
      expect(await code(ROOT_INO, "a", sub.ino, "b")).to.equal("EINVAL");
      expect(await code(ROOT_INO, "a", a.ino, "b")).to.equal("EINVAL");
      expect(await code(a.ino, "sub", ROOT_INO, "a", { exchange: true })).to.equal("EINVAL");
      expect(await code(a.ino, "sub", ROOT_INO, "a")).to.equal("ENOTEMPTY");
      expect(await code(ROOT_INO, "a", ROOT_INO, "full")).to.equal("ENOTEMPTY");
      expect(await code(ROOT_INO, "a", ROOT_INO, "f")).to.equal("ENOTDIR");
      expect(await code(ROOT_INO, "f", ROOT_INO, "a")).to.equal("EISDIR");
      expect(await code(ROOT_INO, "f", ROOT_INO, "a", flags)).to.equal("EEXIST");
      expect(await code(ROOT_INO, "f", ROOT_INO, "f", flags)).to.equal("EEXIST");
      expect(await code(ROOT_INO, "f", ROOT_INO, "y", { exchange: true })).to.equal("ENOENT");
      expect(await code(ROOT_INO, "f", ROOT_INO, "a", { ...flags, exchange: true })).to.equal("EINVAL");
      expect(await code(a.ino, ".", ROOT_INO, "y")).to.equal("EBUSY");
      expect(await code(ROOT_INO, "f", a.ino, "..")).to.equal("EBUSY");
      expect(await code(ROOT_INO, "f", ROOT_INO, TOO_LONG)).to.equal("ENAMETOOLONG");
      expect(await code(999, "f", ROOT_INO, "y")).to.equal("ESTALE");
    });
  });
});
