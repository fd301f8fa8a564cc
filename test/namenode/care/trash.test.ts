import { expect } from "chai";
import { ROOT_INO } from "../../../common/limits.js";
import { silentLogger } from "../../../common/log.js";
import { dayOf, endOfDay } from "../../../common/trash.js";
import { TrashExpiry } from "../../../namenode/care/trash.js";
import { createSnapshot, deleteSnapshot } from "../../../namenode/namespace/operations/snapshots.js";
import { readCluster } from "../../../namenode/namespace/records.js";
import { name, World } from "../namespace/world.js";

const DAY = 24 * 3_600_000;

describe("the trash", () => {
  it("has a folder for each day", () => {
    expect(dayOf(0)).equal("1970-01-01");
    expect(dayOf(DAY)).equal("1970-01-02");
    expect(endOfDay("1970-01-01")).equal(DAY);
    for (const none of ["", "1970-1-1", "1970-13-01", "x1970-01-01", "1970-01-01.1"])
      expect(endOfDay(none), none).equal(undefined);
  });

  it("loses a day, with all that is below it, when it is over for long enough", async () => {
    const world = await World.open();
    const { clock, editor } = world;
    const expiry = new TrashExpiry({
      ...{ editor, clock, log: silentLogger, trashMs: 2 * DAY },
      room: () => undefined,
      mayHaveOpen: () => [],
    });
    const trash = await world.mkdir(ROOT_INO, ".trash");
    const user = await world.mkdir(trash.ino, "ann");
    const other = await world.mkdir(trash.ino, "bob");
    const old = await world.mkdir(user.ino, "1970-01-01");
    const fresh = await world.mkdir(user.ino, "1970-01-02");
    await world.mkdir(user.ino, "no day");
    await world.mkfile((await world.mkdir(fresh.ino, "dir")).ino, "kept");
    let at = old.ino;
    for (let depth = 0; depth < 5; depth++) {
      for (let i = 0; i < 70; i++) await world.mkfile(at, `f${i}`);
      at = (await world.mkdir(at, "sub")).ino;
    }
    await world.mkfile((await world.mkdir(other.ino, "1970-01-01")).ino, "f");
    await world.mkfile(ROOT_INO, "outside");
    expiry.start();
    const before = readCluster(world.kv).files;
    clock.advance(3 * DAY - 120_000);
    expect(readCluster(world.kv).files).equal(before);
    clock.advance(300_000);
    const names = async (dir: number) =>
      (await world.call("readDirectory", { dir })).entries.map((e) => e.name.toString());
    expect(await names(user.ino)).eql(["1970-01-02", "no day"]);
    expect(await names(other.ino)).eql([]);
    expect(readCluster(world.kv).files).equal(2);
    clock.advance(DAY);
    expect(await names(user.ino)).eql(["no day"]);
    expect(await world.code("lookup", { dir: ROOT_INO, name: name("outside") })).equal("ok");
    expiry.close();
  });

  it("keeps what has snapshots until these are deleted", async () => {
    const world = await World.open();
    const { clock, editor, kv } = world;
    const expiry = new TrashExpiry({
      ...{ editor, clock, log: silentLogger, trashMs: DAY },
      room: () => undefined,
      mayHaveOpen: () => [],
    });
    const user = await world.mkdir((await world.mkdir(ROOT_INO, ".trash")).ino, "ann");
    const day = await world.mkdir(user.ino, "1970-01-01");
    const dir = await world.mkdir(day.ino, "b");
    const snapshotted = await world.mkdir(dir.ino, "snapshotted");
    for (const at of [day, dir, snapshotted]) for (const file of ["a", "z"]) await world.mkfile(at.ino, file);
    createSnapshot({ kv, editor, clock }, { ino: snapshotted.ino, name: name("s") });
    expiry.start();
    clock.advance(4 * DAY);
    const names = async (at: number) =>
      (await world.call("readDirectory", { dir: at })).entries.map((e) => e.name.toString());
    expect([await names(day.ino), await names(dir.ino)]).eql([["b"], ["snapshotted"]]);
    deleteSnapshot({ kv, editor }, { ino: snapshotted.ino, name: name("s") });
    clock.advance(300_000);
    expect(await names(user.ino)).eql([]);
    expiry.close();
  });
});
