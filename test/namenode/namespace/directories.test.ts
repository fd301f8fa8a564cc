import { expect } from "chai";
import { MAX_MESSAGE, ROOT_INO } from "../../../common/limits.js";
import { S_IFLNK, S_IFREG } from "../../../namenode/namespace/types.js";
import { ReadDirectoryReply } from "../../../proto/gen/types.js";
import { name, World } from "./world.js";

const ENTRIES = 100_000;

/** All names of a directory, page by page. */
async function list(
  world: World,
  dir: number,
  limit = 0,
): Promise<{ names: Buffer[]; pages: number; largest: number }> {
  const names: Buffer[] = [];
  let largest = 0;
  for (let pages = 1; ; pages++) {
    const reply = await world.call("readDirectory", { dir, limit, after: names.at(-1) });
    largest = Math.max(largest, ReadDirectoryReply.encode(reply).finish().length);
    names.push(...reply.entries.map((e) => e.name));
    if (!reply.more) return { names, pages, largest };
  }
}

describe("directories", () => {
  it(`of ${ENTRIES} entries are listed in order, page by page`, async () => {
    const world = await World.open();
    const dir = await world.mkdir(ROOT_INO, "large");
    const pad = (i: number) => String((i * 7919) % ENTRIES).padStart(6, "0");
    // Straight through the editor: this is about the pages.
    const time = world.clock.timestamp();
    const inode = { mode: S_IFREG | 0o644, nlink: 1, atime: time, mtime: time, ctime: time, policy: {} };
    for (let i = 0; i < ENTRIES; i++) {
      world.editor.apply({ create: { dir: dir.ino, name: name(pad(i)), inode: { ...inode, ino: dir.ino + 1 + i } } });
    }
    expect((await world.inode(dir.ino)).size).to.equal(ENTRIES);
    const { names, pages } = await list(world, dir.ino);
    expect(pages).to.equal(ENTRIES / 1000);
    expect(names).to.have.length(ENTRIES);
    for (let i = 0; i < ENTRIES; i++) {
      if (names[i]!.toString() !== String(i).padStart(6, "0")) expect.fail(`${names[i]} is at place ${i}`);
    }
  });

  it("are listed with attributes, in the order of bytes, within the limit asked for", async () => {
    const world = await World.open();
    const made = [];
    for (const text of ["b", "a", "a0", "é", "B"]) made.push(await world.mkfile(ROOT_INO, text));
    const first = await world.call("readDirectory", { dir: ROOT_INO, limit: 2 });
    expect(first.more).to.equal(true);
    expect(first.entries.map((e) => [e.name.toString(), e.inode])).to.deep.equal([
      ["B", made[4]],
      ["a", made[1]],
    ]);
    expect((await list(world, ROOT_INO, 2)).names.map(String)).to.deep.equal(["B", "a", "a0", "b", "é"]);
    const after = await world.call("readDirectory", { dir: ROOT_INO, after: name("a00") });
    expect(after.entries.map((e) => e.name.toString())).to.deep.equal(["b", "é"]);
    expect(await world.code("readDirectory", { dir: made[0]!.ino })).to.equal("ENOTDIR");
    expect(await world.code("readDirectory", { dir: 999 })).to.equal("ESTALE");
    expect(await world.code("readDirectory", { dir: ROOT_INO, after: Buffer.alloc(256) })).to.equal("EINVAL");
  });

  it("never make a page too large for a message", async () => {
    const world = await World.open();
    const target = Buffer.alloc(4095, "t");
    for (let i = 0; i < 1500; i++) {
      const long = name(`${String(i).padStart(4, "0")}${"n".repeat(251)}`);
      await world.call("create", { dir: ROOT_INO, name: long, mode: S_IFLNK | 0o777, target });
    }
    const { names, largest } = await list(world, ROOT_INO);
    expect(names).to.have.length(1500);
    expect(largest).to.be.lessThan(MAX_MESSAGE / 2);
  });

  it("show changes while they are listed", async () => {
    const world = await World.open();
    for (const text of ["a", "b", "c", "d"]) await world.mkfile(ROOT_INO, text);
    const first = await world.call("readDirectory", { dir: ROOT_INO, limit: 2 });
    await world.call("unlink", { dir: ROOT_INO, name: name("b") });
    await world.call("unlink", { dir: ROOT_INO, name: name("c") });
    await world.call("create", { dir: ROOT_INO, name: name("e"), mode: S_IFREG });
    const rest = await world.call("readDirectory", { dir: ROOT_INO, after: first.entries.at(-1)!.name });
    expect(rest.entries.map((e) => e.name.toString())).to.deep.equal(["d", "e"]);
  });
});
