import { expect } from "chai";
import fc from "fast-check";
import { ROOT_INO } from "../../../common/limits.js";
import { silentLogger } from "../../../common/log.js";
import { SNAPSHOT_INOS } from "../../../common/snapshots.js";
import { Snapshots } from "../../../namenode/care/snapshots.js";
import { FORGETTING, idOfBlock, RECLAIM, VERSIONS } from "../../../namenode/namespace/keys.js";
import {
  createSnapshot as create,
  listSnapshots,
  deleteSnapshot as remove,
} from "../../../namenode/namespace/operations/snapshots.js";
import { S_IFDIR, S_IFLNK } from "../../../namenode/namespace/types.js";
import { Delegations } from "../../../namenode/watches/delegations.js";
import { encodeInline } from "../../../proto/inline.js";
import type { Link } from "../../../proto/link.js";
import { Both, type Op, op } from "./both.js";
import type { Node } from "./model.js";
import { dump, name, SESSION, World } from "./world.js";

/** Long enough that everything removed is reclaimed, and far less than a lease. */
const SWEEP_MS = 1_000;

const tools = (world: World) => ({ kv: world.kv, editor: world.editor, clock: world.clock });

/** The number of a directory as it is in a new snapshot. */
async function snapshot(world: World, ino: number, called: string): Promise<number> {
  create(tools(world), { ino, name: name(called) });
  const list = await world.call("lookup", { dir: ino, name: name(".snapshot") });
  return (await world.call("lookup", { dir: list.inode.ino, name: name(called) })).inode.ino;
}

function deleteSnapshot(world: World, ino: number, called: string): void {
  remove(tools(world), { ino, name: name(called) });
}

/** Everything below a directory that a client can see, but for what tells its snapshots from today. */
async function picture(world: World, ino: number): Promise<unknown> {
  const { mode, uid, gid, nlink, size, atime, mtime, ctime, version, target, policy } = await world.inode(ino);
  const inode = { mode, uid, gid, nlink, size, atime, mtime, ctime, version, target, policy };
  const xattrs = (await world.call("listXattrs", { ino })).names;
  const values = await Promise.all(
    xattrs.map(async (x) => [x, (await world.call("getXattr", { ino, name: x })).value]),
  );
  if ((inode.mode & 0o170000) !== S_IFDIR) return { inode, values, extents: await extents(world, ino) };
  const { entries } = await world.call("readDirectory", { dir: ino });
  const below: [string, unknown][] = [];
  for (const entry of entries) below.push([entry.name.toString(), await picture(world, entry.inode.ino)]);
  return { inode, values, below };
}

/** A file's extents: all, and those that a reader in its midst asks for. */
const extents = async (world: World, ino: number) => [await world.extents(ino), await world.extents(ino, 20, 30)];

const versions = (world: World) => Array.from(world.kv.range(VERSIONS)).length;
const blocks = (world: World) => Array.from(world.kv.range({ gte: "B", lt: "C" }), ([key]) => idOfBlock(key));

describe("snapshots of a directory", () => {
  it("show names, attributes and content as they were, whatever comes later", async () => {
    const world = await World.open();
    const dir = await world.mkdir(ROOT_INO, "dir");
    const sub = await world.mkdir(dir.ino, "sub");
    const file = await world.mkfile(sub.ino, "file");
    const first = await world.write(file.ino, 100);
    await world.call("setXattr", { ino: file.ino, name: name("user.a"), value: name("1") });
    await world.call("create", { dir: dir.ino, name: name("ln"), mode: S_IFLNK | 0o777, target: name("sub/file") });
    await world.call("link", { ino: file.ino, dir: ROOT_INO, name: name("outside") });
    const before = await picture(world, dir.ino);

    const view = await snapshot(world, dir.ino, "s1");
    expect(view).at.least(SNAPSHOT_INOS);
    expect(await picture(world, view)).eql(before);

    await world.write(file.ino, 50);
    await world.call("setAttributes", { ino: file.ino, size: 10, mode: 0o600 });
    await world.call("setXattr", { ino: file.ino, name: name("user.a"), value: name("2") });
    await world.call("unlink", { dir: dir.ino, name: name("ln"), directory: false });
    await world.mkfile(dir.ino, "new");
    await world.call("rename", { fromDir: dir.ino, fromName: name("sub"), toDir: ROOT_INO, toName: name("moved") });
    await world.call("unlink", { dir: sub.ino, name: name("file"), directory: false });
    await world.write(file.ino, 5);
    await world.call("unlink", { dir: ROOT_INO, name: name("outside"), directory: false });
    await world.call("unlink", { dir: ROOT_INO, name: name("moved"), directory: true });
    world.clock.advance(SWEEP_MS);
    expect(await picture(world, view)).eql(before);
    expect(blocks(world)).eql([first]);
  });

  it("free what only they needed when they are deleted, and say what numbers of theirs are gone", async () => {
    const world = await World.open();
    const dir = await world.mkdir(ROOT_INO, "dir");
    const file = await world.mkfile(dir.ino, "file");
    const ids: number[] = [];
    const views: number[] = [];
    for (const called of ["a", "b", "c"]) {
      ids.push(await world.write(file.ino, 10));
      views.push(await snapshot(world, dir.ino, called));
    }
    await world.call("unlink", { dir: dir.ino, name: name("file"), directory: false });
    world.clock.advance(SWEEP_MS);
    expect(blocks(world)).eql(ids);
    deleteSnapshot(world, dir.ino, "b");
    world.clock.advance(SWEEP_MS);
    expect(blocks(world)).eql([ids[0], ids[2]]);
    expect(await world.code("getInode", { ino: views[1]! })).equal("ESTALE");
    deleteSnapshot(world, dir.ino, "c");
    deleteSnapshot(world, dir.ino, "a");
    world.clock.advance(SWEEP_MS);
    expect([blocks(world), versions(world)]).eql([[], 0]);
    expect(world.freed().sort()).eql(ids);
    expect(await world.code("lookup", { dir: dir.ino, name: name(".snapshot") })).equal("ENOENT");
    expect(dump(world.kv).map(([key]) => key[0])).not.to.include.members(["S", "T", "V", "W", "Z"]);
  });

  it("keep nothing for what is not below the directory, nor for what is younger", async () => {
    const world = await World.open();
    const dir = await world.mkdir(ROOT_INO, "dir");
    const other = await world.mkdir(ROOT_INO, "other");
    const file = await world.mkfile(other.ino, "file");
    await world.write(file.ino, 10);
    await snapshot(world, dir.ino, "s");
    await world.write(file.ino, 10);
    await world.call("unlink", { dir: other.ino, name: name("file"), directory: false });
    world.clock.advance(SWEEP_MS);
    expect([blocks(world), versions(world)]).eql([[], 0]);
    const young = await world.mkfile(dir.ino, "young");
    const kept = versions(world);
    await world.write(young.ino, 10);
    await world.write(young.ino, 20);
    expect(versions(world)).equal(kept);
  });

  it("do not show a file that is born later, though its number was given out before", async () => {
    const world = await World.open();
    const dir = await world.mkdir(ROOT_INO, "dir");
    const { first } = await world.call("takeInodeNumbers", { session: SESSION, count: 2 });
    const before = await picture(world, dir.ino);
    const view = await snapshot(world, dir.ino, "s");
    const id = await world.allocate();
    await world.call("commit", {
      ino: first,
      birth: { dir: dir.ino, name: name("born"), mode: 0o644, uid: 0, gid: 0 },
      replicas: 3,
      blocks: [{ block: { id, generation: 1, length: 10 }, datanodes: [1] }],
      extents: [{ offset: 0, length: 10, block: id, blockOffset: 0 }],
    });
    expect(await picture(world, view)).eql(before);
    await world.call("setAttributes", { ino: first, size: 3 });
    await world.call("unlink", { dir: dir.ino, name: name("born"), directory: false });
    world.clock.advance(SWEEP_MS);
    expect(await picture(world, view)).eql(before);
    deleteSnapshot(world, dir.ino, "s");
    world.clock.advance(SWEEP_MS);
    expect([blocks(world), versions(world)]).eql([[], 0]);
  });

  it("wait for what clients have made by themselves below the directory, and nowhere else", async () => {
    const world = await World.open();
    const dir = await world.mkdir(ROOT_INO, "dir");
    const sub = await world.mkdir(dir.ino, "sub");
    const other = await world.mkdir(ROOT_INO, "other");
    const recalled: number[] = [];
    const link = { push: (_method: unknown, { dirs }: { dirs: number[] }) => recalled.push(...dirs) };
    const delegations = new Delegations({
      ...{ clock: world.clock, log: silentLogger },
      link: () => link as unknown as Link,
    });
    for (const at of [sub, other]) delegations.grant(at.ino, SESSION);
    const made = new Snapshots({ ...tools(world), room: () => undefined, delegations }).create({
      ino: dir.ino,
      name: name("s"),
    });
    expect(recalled).eql([sub.ino]);
    await world.mkfile(sub.ino, "late");
    delegations.returned(SESSION, [sub.ino]);
    expect(Buffer.from((await made).name!).toString()).equal("s");
    const { inodes } = await world.call("walk", {
      dir: dir.ino,
      names: [".snapshot", "s", "sub", "late"].map(name),
    });
    expect(inodes.length).equal(4);
  });

  it("cost the same, however much is below", async () => {
    const world = await World.open();
    const dir = await world.mkdir(ROOT_INO, "dir");
    for (let i = 0; i < 300; i++) await world.mkfile(dir.ino, `f${i}`);
    const before = new Map(dump(world.kv));
    await snapshot(world, dir.ino, "s");
    const changed = dump(world.kv).filter(([key, value]) => before.get(key) !== value);
    // The counters, the directory's mark, and where the snapshot is found.
    expect(changed.map(([key]) => key[0])).eql(["A", "I", "S", "S", "T", "Z", "Z"]);
  });

  it("keep a file in very many pieces, which is reclaimed in several edits", async () => {
    const world = await World.open();
    const dir = await world.mkdir(ROOT_INO, "dir");
    const file = await world.mkfile(dir.ino, "file");
    const pieces = Array.from({ length: 1_500 }, (_, i) => ({ offset: i * 20, length: 10, blockOffset: i * 10 }));
    const block = await world.write(file.ino, 15_000, pieces);
    const before = await picture(world, dir.ino);
    const view = await snapshot(world, dir.ino, "s");
    await world.call("unlink", { dir: dir.ino, name: name("file"), directory: false });
    world.clock.advance(SWEEP_MS);
    expect(await world.code("getInode", { ino: file.ino })).equal("ESTALE");
    expect(await picture(world, view)).eql(before);
    deleteSnapshot(world, dir.ino, "s");
    world.clock.advance(SWEEP_MS);
    expect([world.freed(), versions(world)]).eql([[block], 0]);
  });

  it("keep inline blocks", async () => {
    const world = await World.open();
    const file = await world.mkfile(ROOT_INO, "file");
    const put = (text: string) =>
      world.call("commit", {
        ino: file.ino,
        extents: [{ offset: 0, length: 4, block: Number.MAX_SAFE_INTEGER }],
        inline: [encodeInline(Number.MAX_SAFE_INTEGER, Buffer.from(text))],
      });
    await put("old!");
    const root = await snapshot(world, ROOT_INO, "s");
    await put("new!");
    const old = await world.call("lookup", { dir: root, name: name("file") });
    const request = { ino: old.inode.ino, offset: 0, length: 4 };
    const { inline, inode } = await world.call("getExtents", request);
    expect([inline[0]!.data.toString(), inode.ino]).eql(["old!", old.inode.ino]);
    // Put back without moving a byte.
    const back = { source: old.inode.ino, sourceOffset: 0, ino: file.ino, offset: 0, length: 4 };
    expect((await world.call("clone", back)).copied).equal(4);
    const now = await world.call("getExtents", { ino: file.ino, offset: 0, length: 4 });
    expect(now.inline[0]!.data.toString()).equal("old!");
    deleteSnapshot(world, ROOT_INO, "s");
    world.clock.advance(SWEEP_MS);
    expect(blocks(world).length).equal(1);
  });

  it("are listed, found by name, and lead back", async () => {
    const world = await World.open();
    const dir = await world.mkdir(ROOT_INO, "dir");
    const sub = await world.mkdir(dir.ino, "sub");
    for (const called of ["b", "a"]) await snapshot(world, dir.ino, called);
    const list = (await world.call("lookup", { dir: dir.ino, name: name(".snapshot") })).inode;
    expect(list.mode & 0o222).equal(0);
    const page = await world.call("readDirectory", { dir: list.ino });
    expect(page.entries.map((e) => e.name.toString())).eql(["a", "b"]);
    const after = await world.call("readDirectory", { dir: list.ino, after: name("a") });
    expect(after.entries.map((e) => e.name.toString())).eql(["b"]);
    expect((await world.call("readDirectory", { dir: dir.ino })).entries.map((e) => e.inode.ino)).eql([sub.ino]);
    const { inodes } = await world.call("walk", { dir: ROOT_INO, names: ["dir", ".snapshot", "a", "sub"].map(name) });
    expect(inodes.length).equal(4);
    const up = async (ino: number) => (await world.call("lookup", { dir: ino, name: name("..") })).inode.ino;
    expect(await up(inodes[3]!.ino)).equal(inodes[2]!.ino);
    expect(await up(inodes[2]!.ino)).equal(list.ino);
    expect(await up(list.ino)).equal(dir.ino);
    expect(await world.code("lookup", { dir: inodes[2]!.ino, name: name(".snapshot") })).equal("ENOENT");
    const { snapshots } = listSnapshots(world.kv, { ino: dir.ino, after: Buffer.alloc(0) });
    expect(snapshots?.map((s) => Buffer.from(s.name!).toString())).eql(["a", "b"]);
  });

  it("are named by their time unless told otherwise", async () => {
    const world = await World.open();
    const made = create(tools(world), { ino: ROOT_INO, name: Buffer.alloc(0) });
    expect(Buffer.from(made.name).toString()).match(/^s\d{8}-\d{6}\.\d{3}$/);
  });

  it("refuse every change, and keep their directory and its name for them", async () => {
    const world = await World.open();
    const dir = await world.mkdir(ROOT_INO, "dir");
    const file = await world.mkfile(dir.ino, "file");
    const view = await snapshot(world, dir.ino, "s");
    const old = (await world.call("lookup", { dir: view, name: name("file") })).inode.ino;
    const list = (await world.call("lookup", { dir: dir.ino, name: name(".snapshot") })).inode.ino;
    const n = name("n");
    for (const at of [view, list]) {
      expect(await world.code("create", { dir: at, name: n, mode: 0o100644 })).equal("EROFS");
      expect(await world.code("unlink", { dir: at, name: name("file"), directory: false })).equal("EROFS");
      expect(await world.code("link", { ino: file.ino, dir: at, name: n })).equal("EROFS");
      const rename = { fromDir: at, fromName: name("file"), toDir: dir.ino, toName: n };
      expect(await world.code("rename", rename)).equal("EROFS");
    }
    expect(await world.code("setAttributes", { ino: old, mode: 0o600 })).equal("EROFS");
    expect(await world.code("setXattr", { ino: old, name: name("user.a"), value: n })).equal("EROFS");
    expect(await world.code("commit", { ino: old, size: 5 })).equal("EROFS");
    expect(await world.code("fallocate", { ino: old, offset: 0, length: 5 })).equal("EROFS");
    expect(await world.code("link", { ino: old, dir: dir.ino, name: n })).equal("EROFS");

    const reserved = name(".snapshot");
    expect(await world.code("create", { dir: ROOT_INO, name: reserved, mode: 0o100644 })).equal("EEXIST");
    expect(await world.code("link", { ino: file.ino, dir: dir.ino, name: reserved })).equal("EEXIST");
    const onto = { fromDir: dir.ino, fromName: name("file"), toDir: dir.ino, toName: reserved };
    expect(await world.code("rename", onto)).equal("EEXIST");
    expect(await world.code("unlink", { dir: dir.ino, name: reserved, directory: true })).equal("EBUSY");
    await world.call("unlink", { dir: dir.ino, name: name("file"), directory: false });
    expect(await world.code("unlink", { dir: ROOT_INO, name: name("dir"), directory: true })).equal("ENOTEMPTY");
    await world.mkdir(ROOT_INO, "empty");
    const over = { fromDir: ROOT_INO, fromName: name("empty"), toDir: ROOT_INO, toName: name("dir") };
    expect(await world.code("rename", over)).equal("ENOTEMPTY");
    deleteSnapshot(world, dir.ino, "s");
    await world.call("unlink", { dir: ROOT_INO, name: name("dir"), directory: true });
  });

  it("refuse what cannot be: a name twice, none, one in a snapshot", async () => {
    const world = await World.open();
    const file = await world.mkfile(ROOT_INO, "file");
    const view = await snapshot(world, ROOT_INO, "s");
    const code = (act: () => void) => {
      try {
        act();
        return "ok";
      } catch (err) {
        return (err as { code: string }).code;
      }
    };
    const making = (ino: number, called: string) => code(() => create(tools(world), { ino, name: name(called) }));
    expect(making(ROOT_INO, "s")).equal("EEXIST");
    expect(making(ROOT_INO, "a/b")).equal("EINVAL");
    expect(making(ROOT_INO, "..")).equal("EINVAL");
    expect(making(file.ino, "t")).equal("ENOTDIR");
    expect(making(view, "t")).equal("EROFS");
    expect(code(() => deleteSnapshot(world, ROOT_INO, "t"))).equal("ENOENT");
  });

  it("leave an entry of an older version alone that has their name", async () => {
    const world = await World.open();
    const time = world.clock.timestamp();
    const inode = { ino: 2, mode: 0o100644, nlink: 1, atime: time, mtime: time, ctime: time, policy: {} };
    world.editor.apply({ create: { dir: ROOT_INO, name: name(".snapshot"), inode } });
    const { entries } = await world.call("readDirectory", { dir: ROOT_INO });
    expect(entries.map((e) => e.name.toString())).eql([".snapshot"]);
    expect(() => create(tools(world), { ino: ROOT_INO, name: name("s") })).throw(/rename it first/);
    const away = { fromDir: ROOT_INO, fromName: name(".snapshot"), toDir: ROOT_INO, toName: name("other") };
    await world.call("rename", away);
    await snapshot(world, ROOT_INO, "s");
  });

  it("tell whoever watches the directory, and its list, that one came or went", async () => {
    const world = await World.open();
    const link = world.link;
    await world.call("openSession", { session: 5, name: "watcher", host: "h", watch: true });
    await world.code("lookup", { dir: ROOT_INO, name: name(".snapshot") });
    create(tools(world), { ino: ROOT_INO, name: name("s") });
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    await turn();
    expect(JSON.stringify(link.pushed)).to.include(JSON.stringify({ dir: ROOT_INO, name: name(".snapshot") }));
    const list = (await world.call("lookup", { dir: ROOT_INO, name: name(".snapshot") })).inode.ino;
    await world.call("lookup", { dir: list, name: name("s") });
    deleteSnapshot(world, ROOT_INO, "s");
    await turn();
    expect(JSON.stringify(link.pushed)).to.include(JSON.stringify({ dir: list, name: name("s") }));
  });
});

const nat = fc.nat(1000);
const step = fc.oneof(
  { weight: 12, arbitrary: op },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("snapshot" as const), dir: nat }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("delete" as const), which: nat }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("sweep" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** A namenode with snapshots, and what each of them is to show. */
class Pictured {
  readonly both: Both;
  readonly taken: { dir: Node; called: string; view: number; picture: unknown }[] = [];
  #count = 0;

  constructor(world: World) {
    this.both = new Both(world);
  }

  async run(s: Step): Promise<void> {
    const { world, model } = this.both;
    if (s.op === "snapshot") {
      const dir = model.dirs[s.dir % model.dirs.length]!;
      if (dir.nlink === 0) return;
      const called = `s${++this.#count}`;
      const seen = await picture(world, dir.ino);
      this.taken.push({ dir, called, view: await snapshot(world, dir.ino, called), picture: seen });
      dir.snapshots++;
    } else if (s.op === "delete") {
      const [gone] = this.taken.splice(s.which % Math.max(1, this.taken.length), 1);
      if (gone === undefined) return;
      deleteSnapshot(world, gone.dir.ino, gone.called);
      gone.dir.snapshots--;
    } else if (s.op === "sweep") {
      this.sweep();
      await this.compare();
    } else await this.both.run(s as Op);
  }

  /** Everything that is to be freed in the background is. */
  sweep(): void {
    const { world } = this.both;
    world.clock.advance(SWEEP_MS);
    expect([Array.from(world.kv.range(RECLAIM)), world.kv.get(FORGETTING)]).eql([[], undefined]);
    this.both.reclaimed();
  }

  async compare(): Promise<void> {
    await this.both.compare();
    for (const { view, picture: seen, called } of this.taken)
      expect(await picture(this.both.world, view), called).eql(seen);
  }
}

describe("snapshots against copies of the tree", () => {
  it("show what was there; deleted in any order they leave exactly what is alive; replayed, the store is the same", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 10, maxLength: 80, size: "max" }),
        fc.array(nat),
        async (steps, order) => {
          const pictured = new Pictured(await World.open());
          const { world } = pictured.both;
          for (const s of steps) await pictured.run(s);
          await pictured.compare();
          const replayed = await World.open({ journal: world.journal });
          expect(dump(replayed.kv)).eql(dump(world.kv));
          for (let i = 0; pictured.taken.length > 0; i++) {
            await pictured.run({ op: "delete", which: order[i] ?? 0 });
            if (i % 2 === 0) await pictured.run({ op: "sweep" });
          }
          pictured.sweep();
          expect(versions(world)).equal(0);
          await pictured.compare();
        },
      ),
      { numRuns: 60, seed: 4 },
    );
  });
});
