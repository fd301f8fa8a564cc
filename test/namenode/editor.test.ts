import { expect } from "chai";
import { RealClock } from "../../common/clock.js";
import { CairnError, codeOf } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import { silentLogger } from "../../common/log.js";
import { JournaledEditor } from "../../namenode/editor.js";
import { RECLAIM } from "../../namenode/namespace/keys.js";
import { SyncedPush } from "../../namenode/namespace/synced-push.js";
import { S_IFREG } from "../../namenode/namespace/types.js";
import { MemoryStore } from "../../namenode/store/memory.js";
import { MemoryJournal } from "../../namenode/store/memory-journal.js";
import { openStorage } from "../../namenode/store/storage.js";
import { ClientPush } from "../../proto/gen/services.js";
import type { Link } from "../../proto/link.js";
import { dump, name, World } from "./namespace/world.js";
import { ManualClock } from "./store/manual-clock.js";
import { tempFolder } from "./store/temp.js";

/** A store whose room the test decides on. */
function tightStore() {
  const tight = {
    store: new MemoryStore(),
    full: false,
    wake: () => {},
    fail: (_err: Error) => {},
  };
  Object.defineProperties(tight.store, {
    hasRoom: { get: () => !tight.full },
    waitForRoom: {
      value: () =>
        new Promise<void>((resolve, reject) => {
          tight.wake = resolve;
          tight.fail = reject;
        }),
    },
  });
  return tight;
}

describe("the editor", () => {
  it("numbers edits, and brings a new store to where the journal is", async () => {
    const world = await World.open();
    await world.mkdir(ROOT_INO, "d");
    await world.mkfile(ROOT_INO, "f");
    expect(world.editor.lastIndex).to.equal(3);
    const store = new MemoryStore();
    const editor = new JournaledEditor({ store, journal: world.journal, clock: new ManualClock() });
    const seen: number[] = [];
    editor.onApplied((edit, effects) => seen.push(edit.index, effects.inode?.ino ?? 0));
    expect(await editor.replay()).to.equal(3);
    expect(seen).to.deep.equal([1, 1, 2, 2, 3, 3]);
    expect(dump(store)).to.deep.equal(dump(world.kv));
    expect(editor.lastIndex).to.equal(3);
  });

  it("makes no edit while there is no room, and changes wait for it", async () => {
    const tight = tightStore();
    const world = await World.open(tight);
    tight.full = true;
    const before = world.editor.lastIndex;
    expect(() => world.editor.apply({ reserveBlockIds: { next: 5000 } })).to.throw(CairnError, "no room");
    const made = world.mkfile(ROOT_INO, "f");
    await new Promise(setImmediate);
    expect(world.editor.lastIndex).to.equal(before);
    tight.full = false;
    tight.wake();
    await made;
    expect(world.editor.lastIndex).to.equal(before + 1);
  });

  it("tells changes when the disk is full, and takes them again later", async () => {
    const tight = tightStore();
    const world = await World.open(tight);
    tight.full = true;
    const refused = world.code("create", { dir: ROOT_INO, name: name("f"), mode: S_IFREG });
    await new Promise(setImmediate);
    tight.fail(new CairnError("ENOSPC", "the disk is full"));
    expect(await refused).to.equal("ENOSPC");
    tight.full = false;
    await world.mkfile(ROOT_INO, "f");
  });

  it("refuses edits once it is closed", async () => {
    const world = await World.open();
    world.editor.close();
    expect(await world.code("create", { dir: ROOT_INO, name: name("f"), mode: S_IFREG })).to.equal("ECANCELED");
  });

  it("holds replies back until the edit is in the journal; until the disk where that is wanted", async () => {
    const journal = new MemoryJournal({ syncIntervalMs: 0 });
    let release = (): void => {};
    const waits: string[] = [];
    const hold = (what: string) => () => {
      waits.push(what);
      return new Promise<void>((resolve) => {
        release = resolve;
      });
    };
    const world = await World.open({ journal });
    journal.appended = hold("appended");
    journal.synced = hold("synced");
    let answered = 0;
    const made = world.mkfile(ROOT_INO, "f").then(() => answered++);
    await new Promise(setImmediate);
    // A read of what might yet be lost waits, too.
    const read = world.call("lookup", { dir: ROOT_INO, name: name("f") }).then(() => answered++);
    await new Promise(setImmediate);
    expect([answered, ...waits]).to.deep.equal([0, "appended", "appended"]);
    release();
    await read;
    void made;
    const strict = new JournaledEditor({ store: new MemoryStore(), journal, clock: world.clock, syncReplies: true });
    void strict.appended(1);
    expect(waits.at(-1)).to.equal("synced");
  });

  describe("over the real store and journal", () => {
    const temp = tempFolder();
    const open = async (folder: string) => {
      const storage = await openStorage({ folder, clock: new RealClock(), log: silentLogger });
      return { storage, world: await World.open(storage) };
    };

    it("finds everything again: from the store, and from the journal alone", async () => {
      const folder = temp.path("restart");
      let { storage, world } = await open(folder);
      const dir = await world.mkdir(ROOT_INO, "d");
      const file = await world.mkfile(dir.ino, "f");
      await world.write(file.ino, 100);
      const call = world.nextCall();
      const created = await world.call("create", { dir: dir.ino, name: name("g"), mode: S_IFREG, call });
      const before = dump(world.kv);
      await storage.close();

      ({ storage, world } = await open(folder));
      expect(world.store.appliedIndex).to.equal(world.editor.lastIndex);
      expect(dump(world.kv)).to.deep.equal(before);
      const { inode, index } = await world.call("create", { dir: dir.ino, name: name("g"), mode: S_IFREG, call });
      expect({ inode, index }).to.deep.equal({ inode: created.inode, index: created.index });
      const twin = new MemoryStore();
      const editor = new JournaledEditor({ store: twin, journal: world.journal, clock: world.clock });
      expect(await editor.replay()).to.equal(world.editor.lastIndex);
      expect(dump(twin)).to.deep.equal(before);
      await storage.close();
    });

    it("takes up reclaiming where it was left", async () => {
      const folder = temp.path("reclaim");
      let { storage, world } = await open(folder);
      const file = await world.mkfile(ROOT_INO, "f");
      await world.write(file.ino, 100);
      await world.call("unlink", { dir: ROOT_INO, name: name("f") });
      await storage.close();
      ({ storage, world } = await open(folder));
      expect(Array.from(world.kv.range(RECLAIM))).to.have.length(1);
      world.clock.advance(1_000);
      expect(Array.from(world.kv.range(RECLAIM))).to.have.length(0);
      expect(world.freed()).to.have.length(1);
      await storage.close();
    });

    it("refuses a folder that is in use", async () => {
      const { storage } = await open(temp.path("busy"));
      const second = await open(temp.path("busy")).catch((err: unknown) => codeOf(err));
      expect(second).to.equal("EBUSY");
      await storage.close();
    });
  });

  describe("pushes of the synced index", () => {
    it("come at most every 50 ms, with the newest index, to those who keep up", () => {
      const clock = new ManualClock();
      const pushed: unknown[] = [];
      const link = (bufferedBytes: number, id: string) =>
        ({
          bufferedBytes,
          push: (method: unknown, message: object) => pushed.push([id, method, message]),
        }) as never as Link;
      const push = new SyncedPush(clock, () => [link(0, "a"), link(1 << 30, "b")]);
      push.synced(1);
      clock.advance(49);
      push.synced(2);
      expect(pushed).to.deep.equal([]);
      clock.advance(1);
      expect(pushed).to.deep.equal([["a", ClientPush.synced, { syncedIndex: 2 }]]);
      clock.advance(1_000);
      expect(pushed).to.have.length(1);
      push.synced(3);
      push.close();
      clock.advance(1_000);
      expect(pushed).to.have.length(1);
    });
  });
});
