import { expect } from "chai";
import { ROOT_INO } from "../../../common/limits.js";
import { LEASE_MS, name, SESSION, World } from "./world.js";

/** Longer than the reclaimer waits, ms. */
const SOON = 1000;

describe("an inode without a name that a session has open", () => {
  let world: World;
  let ino: number;
  let block: number;
  beforeEach(async () => {
    world = await World.open();
    ({ ino } = await world.mkfile(ROOT_INO, "f"));
    block = await world.write(ino, 100);
  });

  const unlink = (hold: boolean, call = world.nextCall()) =>
    world.call("unlink", { dir: ROOT_INO, name: name("f"), hold, call });
  const gone = async (at = world) => (await at.code("getInode", { ino })) === "ESTALE";

  it("is reclaimed when nobody asked to hold it", async () => {
    expect((await unlink(false)).held).to.equal(0);
    world.clock.advance(SOON);
    expect(await gone()).to.equal(true);
    expect(world.freed()).to.deep.equal([block]);
  });

  it("stays readable, writable and changeable until it is released", async () => {
    expect((await unlink(true)).held).to.equal(ino);
    world.clock.advance(SOON);
    expect((await world.inode(ino)).nlink).to.equal(0);
    await world.write(ino, 50, [{ offset: 100, length: 50, blockOffset: 0 }]);
    await world.call("setAttributes", { ino, size: 120, mode: 0o600 });
    expect((await world.extents(ino)).map(([offset, length]) => [offset, length])).to.deep.equal([
      [0, 100],
      [100, 20],
    ]);
    expect(await world.code("link", { ino, dir: ROOT_INO, name: name("again") })).to.equal("ENOENT");
    await world.call("release", { session: SESSION, inos: [ino] });
    world.clock.advance(SOON);
    expect(await gone()).to.equal(true);
    expect(world.freed().length).to.equal(2);
  });

  it("is held when a rename takes its name, and not by one that fails", async () => {
    await world.mkfile(ROOT_INO, "g");
    const request = { fromDir: ROOT_INO, fromName: name("g"), toDir: ROOT_INO, toName: name("f"), hold: true };
    expect(await world.code("rename", { ...request, noReplace: true })).to.equal("EEXIST");
    const { replaced } = await world.call("rename", request);
    expect([replaced?.ino, replaced?.nlink]).to.deep.equal([ino, 0]);
    world.clock.advance(SOON);
    expect((await world.inode(ino)).size).to.equal(100);
    await world.call("release", { session: SESSION, inos: [ino] });
    world.clock.advance(SOON);
    expect(await gone()).to.equal(true);
  });

  it("is not held while another name is left", async () => {
    await world.call("link", { ino, dir: ROOT_INO, name: name("other") });
    expect((await unlink(true)).held).to.equal(0);
    const last = await world.call("unlink", { dir: ROOT_INO, name: name("other"), hold: true });
    expect(last.held).to.equal(ino);
  });

  it("keeps a directory that was removed", async () => {
    const dir = await world.mkdir(ROOT_INO, "d");
    const { held } = await world.call("unlink", { dir: ROOT_INO, name: name("d"), directory: true, hold: true });
    expect(held).to.equal(dir.ino);
    world.clock.advance(SOON);
    expect((await world.call("readDirectory", { dir: dir.ino })).entries).to.deep.equal([]);
    expect(await world.code("create", { dir: dir.ino, name: name("x"), mode: 0o100644 })).to.equal("ENOENT");
  });

  it("answers a repeated unlink as the first, also after a restart, and keeps the inode over it", async () => {
    const call = world.nextCall();
    expect((await unlink(true, call)).held).to.equal(ino);
    expect((await unlink(true, call)).held).to.equal(ino);
    const again = await World.open({ journal: world.journal });
    again.clock.advance(SOON);
    expect((await again.call("unlink", { dir: ROOT_INO, name: name("f"), hold: true, call })).held).to.equal(ino);
    expect((await again.inode(ino)).size).to.equal(100);
    await again.call("release", { session: SESSION, inos: [ino] });
    again.clock.advance(SOON);
    expect(await gone(again)).to.equal(true);
  });

  it("goes with its session when that is closed", async () => {
    await unlink(true);
    await world.call("closeSession", { session: SESSION });
    world.clock.advance(SOON);
    expect(await gone()).to.equal(true);
    expect(world.freed()).to.deep.equal([block]);
  });

  it("goes when the lease of a session of before a restart runs out", async () => {
    await unlink(true);
    const restarted = await World.open({ journal: world.journal });
    restarted.clock.advance(LEASE_MS / 2);
    expect(await gone(restarted)).to.equal(false);
    restarted.clock.advance(LEASE_MS);
    expect(await gone(restarted)).to.equal(true);
    expect(restarted.freed()).to.deep.equal([block]);
  });

  it("is released once: what a session does not hold is passed over", async () => {
    await unlink(true);
    const other = (await world.mkfile(ROOT_INO, "other")).ino;
    const release = () => world.call("release", { session: SESSION, inos: [ino, other] });
    await release();
    const { lastIndex } = world.editor;
    await release();
    expect(world.editor.lastIndex).to.equal(lastIndex);
    expect((await world.inode(other)).nlink).to.equal(1);
    expect(await world.code("release", { session: SESSION, inos: [0] })).to.equal("EINVAL");
    expect(await world.code("release", { session: SESSION + 9, inos: [ino] })).to.equal("ENOTCONN");
  });
});
