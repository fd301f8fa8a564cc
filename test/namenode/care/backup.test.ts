import { mkdirSync } from "node:fs";
import { expect } from "chai";
import { RealClock } from "../../../common/clock.js";
import { codeOf } from "../../../common/errors.js";
import { ROOT_INO } from "../../../common/limits.js";
import { silentLogger } from "../../../common/log.js";
import { Backups } from "../../../namenode/care/backups.js";
import { readBackup, restoreFolder, verify } from "../../../namenode/care/restore.js";
import { CLUSTER } from "../../../namenode/namespace/keys.js";
import { readCluster } from "../../../namenode/namespace/records.js";
import { openStorage } from "../../../namenode/store/storage.js";
import { dump, fakeLink, World } from "../namespace/world.js";
import { tempFolder } from "../store/temp.js";

const clock = new RealClock();
const log = silentLogger;

async function* pieces(all: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* all;
}

/** The code of the error that a promise rejects with. */
async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "none",
    (err: unknown) => codeOf(err),
  );
}

/** A backup of a world; `during` is called after its first piece. */
async function backupOf(world: World, during?: () => Promise<unknown>): Promise<Buffer[]> {
  const backups = new Backups({ store: world.store, clock, log, version: "test" });
  const { link } = fakeLink();
  const all: Buffer[] = [];
  for (let backup = 0, done = false; !done; ) {
    const { message, body } = await backups.backup({ backup }, link);
    all.push(Buffer.from(body));
    backup = message.backup!;
    done = message.done!;
    if (all.length === 1) await during?.();
  }
  backups.close();
  return all;
}

/** All that restored and original have in common. */
const entriesOf = (world: World) => dump(world.kv).filter(([key]) => key !== CLUSTER && !key.startsWith("C"));

describe("backup and restore", () => {
  const temp = tempFolder();
  const closers: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0)) await close();
  });

  /** A namenode's names over a restored folder. */
  async function reopened(folder: string): Promise<World> {
    const storage = await openStorage({ folder, clock, log });
    closers.push(() => storage.close());
    return World.open(storage);
  }

  it("gives back the names as they were at one moment, while they change", async () => {
    const world = await World.open();
    for (let i = 0; i < 3000; i++) await world.mkfile(ROOT_INO, `file-${"x".repeat(100)}-${i}`);
    const { ino } = await world.mkfile(ROOT_INO, "content");
    const block = await world.write(ino, 1000);
    const before = entriesOf(world);
    const all = await backupOf(world, async () => {
      await world.mkfile(ROOT_INO, "later");
      await world.write(ino, 10);
    });
    expect(all.length).above(3);
    const restored = await restoreFolder(temp.path("r1"), await readBackup(pieces(all)), clock, log);
    expect(restored).include({ cluster: "c" });
    const again = await reopened(temp.path("r1"));
    expect(entriesOf(again)).eql(before);
    expect(await again.extents(ino)).eql([[0, 1000, block, 0]]);
  });

  it("never gives out again what may have been given out after the backup", async () => {
    const world = await World.open();
    const all = await backupOf(world);
    const index = world.editor.lastIndex;
    const lost = await world.mkfile(ROOT_INO, "lost");
    const block = await world.write(lost.ino, 10);
    const { generation } = await world.call("recoverBlock", {
      session: 77,
      block: { id: await world.allocate(), generation: 1, length: 0 },
    });
    const old = readCluster(world.kv);
    await restoreFolder(temp.path("r2"), await readBackup(pieces(all)), clock, log);
    const again = await reopened(temp.path("r2"));
    expect(readCluster(again.kv)).deep.include({ cluster: "c", lostAfter: index, lostUntil: again.editor.lastIndex });
    const made = await again.mkfile(ROOT_INO, "new");
    expect(made.ino).above(lost.ino);
    expect(made.version).above(world.editor.lastIndex);
    expect(await again.allocate()).above(block);
    expect(readCluster(again.kv).nextGeneration).above(generation);
    expect(readCluster(again.kv).nextDatanode).above(old.nextDatanode);
    expect(again.store.appliedIndex).above(world.editor.lastIndex);
    expect(await again.code("getInode", { ino: lost.ino })).equal("ESTALE");
    // Who waits for a lost edit to be on the disk is told.
    expect(await again.code("syncJournal", { index: lost.version })).equal("EIO");
    expect(await again.code("syncJournal", { index: made.version })).equal("ok");
    expect(await again.code("syncJournal", { index: 0 })).equal("ok");
  });

  it("notices every damage, and leaves nothing half restored", async () => {
    const world = await World.open();
    for (let i = 0; i < 200; i++) await world.mkfile(ROOT_INO, `f${i}`);
    const whole = Buffer.concat(await backupOf(world));
    const restore = async (bytes: Buffer) =>
      restoreFolder(temp.path("r3"), await readBackup(pieces([bytes])), clock, log);
    for (let at = 0; at < whole.length; at += 997) {
      const flipped = Buffer.from(whole);
      flipped[at]! ^= 4;
      expect(await failure(readBackup(pieces([flipped])).then(verify)), `byte ${at}`).equal("EBADMSG");
      expect(await failure(readBackup(pieces([whole.subarray(0, at)])).then(verify)), `cut at ${at}`).not.equal("none");
    }
    const flipped = Buffer.from(whole);
    flipped[whole.length - 40]! ^= 1;
    expect(await failure(restore(flipped))).equal("EBADMSG");
    await restore(whole);
    expect(await failure(restore(whole))).equal("EEXIST");
    expect(entriesOf(await reopened(temp.path("r3")))).eql(entriesOf(world));
    mkdirSync(temp.path("r4"));
    expect(await failure(readBackup(pieces([Buffer.from("no backup at all, only text")])))).not.equal("none");
  });

  it("belongs to its connection, and only so many are made at a time", async () => {
    const world = await World.open();
    const backups = new Backups({ store: world.store, clock, log, version: "test" });
    const [one, other] = [fakeLink(), fakeLink()];
    const { message } = await backups.backup({ backup: 0 }, one.link);
    expect(await failure(backups.backup({ backup: message.backup! }, other.link))).equal("ESTALE");
    await backups.backup({ backup: 0 }, other.link);
    expect(await failure(backups.backup({ backup: 0 }, other.link))).equal("EBUSY");
    one.drop();
    await one.link.closed;
    await backups.backup({ backup: 0 }, other.link);
    backups.close();
    expect(await failure(backups.backup({ backup: message.backup! }, one.link))).equal("ESTALE");
  });
});
