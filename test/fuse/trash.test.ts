import { constants } from "node:fs";
import { expect } from "chai";
import { CairnError } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import { silentLogger } from "../../common/log.js";
import { dayOf } from "../../common/trash.js";
import { FileSystem } from "../../fuse/core.js";
import { subtree } from "../../fuse/subtree.js";
import { MountTrash } from "../../fuse/trash.js";
import type { KernelCache } from "../../fuse/types.js";
import { UserNames } from "../../fuse/user-names.js";
import { FakeClock } from "../support/fake-clock.js";
import { MemoryClient, type MemoryClientOptions } from "../support/memory-client.js";
import { rejection } from "../support/rejection.js";

const { O_CREAT, O_RDWR } = constants;
const ann = { uid: 1000, gid: 100, pid: 7 };
const name = (text: string) => Buffer.from(text);

/** A mount with a trash, of the whole cluster or of a folder of it. */
async function make(options: MemoryClientOptions & { subdir?: string; client?: MemoryClient } = {}) {
  const { subdir = "/", client = new MemoryClient(options) } = options;
  client.trashMs = 1000;
  const clock = new FakeClock();
  const { ino: top } = await client.meta.resolve(subdir);
  const trash = new MountTrash({
    meta: client.meta,
    top,
    trashMs: () => client.trashMs,
    userName: async (uid) => `user${uid}`,
    clock,
  });
  const fs = new FileSystem({ client: await subtree(client, subdir), kernelMs: 1000, log: silentLogger, clock, trash });
  const day = dayOf(clock.now());
  const inoOf = (path: string) =>
    client.meta.resolve(path).then(
      ({ ino }) => ino,
      (err: CairnError) => err.code,
    );
  const file = async (dir: number, text: string) => {
    const { handle, inode } = await fs.create(dir, name(text), 0o644, O_RDWR | O_CREAT, ann);
    await fs.write(handle, 0, name(text), ann);
    await fs.flush(handle, ann);
    return { handle, ino: inode.ino };
  };
  const folder = async (dir: number, text: string) => (await fs.mkdir(dir, name(text), 0o755, ann)).ino;
  return { client, fs, clock, inoOf, file, folder, mine: `/.trash/user1000/${day}` };
}

describe("fuse core: the trash", () => {
  it("has what is removed under its path, for the one who removed it", async () => {
    const { fs, client, inoOf, file, folder, mine } = await make();
    const b = await folder(await folder(ROOT_INO, "a"), "b");
    const { ino } = await file(b, "f");
    await fs.unlink(b, name("f"), ann);
    expect(await inoOf("/a/b/f")).to.equal("ENOENT");
    expect(await inoOf(`${mine}/a/b/f`)).to.equal(ino);
    expect(await client.meta.resolve("/.trash")).to.include({ uid: 0, mode: 0o040755 });
    for (const path of ["/.trash/user1000", mine, `${mine}/a/b`])
      expect(await client.meta.resolve(path), path).to.include({ uid: 1000, gid: 100, mode: 0o040700 });
    expect((await rejection(fs.unlink(b, name("f"), ann))).code).to.equal("ENOENT");
  });

  it("keeps the content of a file that is open, for the one who has it open, and in the trash", async () => {
    const { fs, client, file, mine } = await make();
    const { handle, ino } = await file(ROOT_INO, "open");
    await fs.unlink(ROOT_INO, name("open"), ann);
    await fs.write(handle, 4, name(" on"), ann);
    const target = Buffer.alloc(10);
    expect(target.toString("utf8", 0, await fs.read(handle, 0, target, ann))).to.equal("open on");
    await fs.flush(handle, ann);
    await fs.release(handle);
    expect(await client.meta.resolve(`${mine}/open`)).to.include({ ino, size: 7, nlink: 1 });
    expect(client.held.size).to.equal(0);
  });

  it("takes one name of several; removes folders, what a rename replaces and what is in the trash for good", async () => {
    const { fs, client, inoOf, file, folder, mine } = await make();
    const { handle, ino } = await file(ROOT_INO, "one");
    await fs.release(handle);
    await fs.link(ino, ROOT_INO, name("two"), ann);
    await fs.unlink(ROOT_INO, name("one"), ann);
    expect([await inoOf("/two"), await inoOf(`${mine}/one`)]).to.deep.equal([ino, ino]);

    await file(ROOT_INO, "new");
    const from = { dir: ROOT_INO, name: name("new") };
    await fs.rename(from, { dir: ROOT_INO, name: name("two") }, {}, ann);
    expect(await inoOf(`${mine}/two`)).to.equal("ENOENT");

    const d = await folder(ROOT_INO, "d");
    expect((await rejection(fs.unlink(ROOT_INO, name("d"), ann))).code).to.equal("EISDIR");
    await fs.rmdir(ROOT_INO, name("d"), ann);
    expect(await client.meta.getInode(d).catch((err: CairnError) => err.code)).to.equal("ESTALE");

    const trash = (await fs.lookup(ROOT_INO, name(".trash"), ann)).ino;
    const own = (await fs.lookup(trash, name("user1000"), ann)).ino;
    const [day] = mine.split("/").slice(-1);
    await fs.unlink((await fs.lookup(own, name(day!), ann)).ino, name("one"), ann);
    expect(await client.meta.getInode(ino).catch((err: CairnError) => err.code)).to.equal("ESTALE");
  });

  it("tells files of the same path apart, however many there are, and whatever length their names have", async () => {
    const { fs, client, file, folder, mine } = await make();
    const d = await folder(ROOT_INO, "d");
    const long = "x".repeat(255);
    for (const text of ["lock", long]) {
      for (let i = 0; i < 30; i++) {
        const { handle } = await file(d, text);
        await fs.unlink(d, name(text), ann);
        await fs.release(handle);
      }
    }
    const { ino } = await client.meta.resolve(`${mine}/d`);
    const { entries } = await client.meta.readDirectory(ino, name(""), 1000);
    const names = entries.map((entry) => Buffer.from(entry.name).toString());
    expect(names).to.have.length(60);
    expect(names).to.include.members(["lock", "lock.1", "lock.9", long, `${long.slice(0, 253)}.1`]);
  });

  it("finds a folder's path after it was moved, by whomever, and after the trash was emptied", async () => {
    const { fs, client, clock, inoOf, file, folder, mine } = await make();
    const b = await folder(await folder(ROOT_INO, "a"), "b");
    const inos: number[] = [];
    for (const text of ["1", "2", "3", "4"]) inos.push((await file(b, text)).ino);
    await fs.unlink(b, name("1"), ann);
    await client.meta.rename(ROOT_INO, name("a"), ROOT_INO, name("moved"));
    await clock.advance(1_001);
    await fs.unlink(b, name("2"), ann);
    expect([await inoOf(`${mine}/a/b/1`), await inoOf(`${mine}/moved/b/2`)]).to.deep.equal(inos.slice(0, 2));
    await client.meta.rename(ROOT_INO, name(".trash"), ROOT_INO, name("away"));
    await clock.advance(1_001);
    await fs.unlink(b, name("3"), ann);
    expect(await inoOf(`${mine}/moved/b/3`)).to.equal(inos[2]);
    // Emptied within the moment in which the folder is remembered.
    const moved = await client.meta.resolve(`${mine}/moved`);
    const gone = await client.meta.resolve(`${mine}/moved/b`);
    await client.meta.unlink(gone.ino, name("3"));
    await client.meta.rmdir(moved.ino, name("b"));
    await fs.unlink(b, name("4"), ann);
    expect(await inoOf(`${mine}/moved/b/4`)).to.equal(inos[3]);
  });

  it("shows on the mount what is in it, whatever was known of it before", async () => {
    const { fs, file } = await make();
    const forgotten: string[] = [];
    const kernel: KernelCache = {
      forgetAttributes: () => {},
      forgetContent: () => {},
      forgetName: (dir, text) => forgotten.push(`${dir} ${text}`),
      forgetNames: () => {},
    };
    fs.attach(kernel);
    expect((await rejection(fs.lookup(ROOT_INO, name(".trash"), ann))).code).to.equal("ENOENT");
    const { ino } = await file(ROOT_INO, "f");
    await fs.unlink(ROOT_INO, name("f"), ann);
    let at = ROOT_INO;
    const day = dayOf(new FakeClock().now());
    for (const part of [".trash", "user1000", day, "f"]) {
      expect(forgotten).to.include(`${at} ${part}`);
      at = (await fs.lookup(at, name(part), ann)).ino;
    }
    expect(at).to.equal(ino);
  });

  it("is the cluster's, under whole paths, on a mount of a folder", async () => {
    const client = new MemoryClient();
    const node = { mode: 0o040755, uid: 0, gid: 0 };
    const home = (await client.meta.create(ROOT_INO, name("home"), node)).inode.ino;
    await client.meta.create(home, name("ann"), node);
    const { fs, inoOf, file, folder, mine } = await make({ client, subdir: "/home/ann" });
    const [top, below] = [await file(ROOT_INO, "f"), await file(await folder(ROOT_INO, "d"), "g")];
    await fs.unlink(ROOT_INO, name("f"), ann);
    await fs.unlink((await fs.lookup(ROOT_INO, name("d"), ann)).ino, name("g"), ann);
    expect(await inoOf(`${mine}/home/ann/f`)).to.equal(top.ino);
    expect(await inoOf(`${mine}/home/ann/d/g`)).to.equal(below.ino);
  });

  it("removes for good where a quota has no room for the trash's folders, or the cluster keeps no trash any more", async () => {
    let isFull = false;
    const full = (call: string) => {
      if (isFull && call === "create") throw new CairnError("EDQUOT", "make a folder of the trash");
    };
    const { fs, client, inoOf, file } = await make({ before: full });
    await file(ROOT_INO, "f");
    await file(ROOT_INO, "g");
    isFull = true;
    await fs.unlink(ROOT_INO, name("f"), ann);
    expect(await inoOf("/f")).to.equal("ENOENT");
    client.trashMs = 0;
    isFull = false;
    await fs.unlink(ROOT_INO, name("g"), ann);
    expect([await inoOf("/g"), await inoOf("/.trash")]).to.deep.equal(["ENOENT", "ENOENT"]);
  });

  it("calls its users by their names, and those without one by their numbers", async () => {
    const users = new UserNames();
    expect(await Promise.all([users.of(0), users.of(0), users.of(3_987_654)])).to.deep.equal([
      "root",
      "root",
      "3987654",
    ]);
  });
});
