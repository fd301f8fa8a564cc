import { setImmediate } from "node:timers/promises";
import { expect } from "chai";
import fc from "fast-check";
import { LINK_HIGH_WATER, ROOT_INO } from "../../../common/limits.js";
import { silentLogger } from "../../../common/log.js";
import { Callbacks } from "../../../namenode/watches/callbacks.js";
import { Watcher, WatchTable } from "../../../namenode/watches/watch-table.js";
import type { Changes, Edit } from "../../../proto/gen/types.js";
import type { Link } from "../../../proto/link.js";
import { LEASE_MS, name, SESSION, World } from "../namespace/world.js";

/** A client that watches: what it was pushed, turn by turn. */
class Client {
  readonly pushed: Changes[] = [];
  terminated: string | undefined;
  bufferedBytes = 0;
  readonly isOpen = true;
  drop!: () => void;
  readonly closed = new Promise<void>((resolve) => {
    this.drop = resolve;
  });

  get link(): Link {
    return this as unknown as Link;
  }

  push(_method: unknown, changes: Changes): void {
    this.pushed.push(changes);
  }

  terminate(reason: string): void {
    this.terminated = reason;
    this.drop();
  }

  close(): void {
    this.drop();
  }

  /** What it was told by the end of this turn, as a word per change. */
  async told(): Promise<string[]> {
    await setImmediate();
    await setImmediate();
    return this.pushed
      .splice(0)
      .flatMap(({ attributes, contents, names, nameless, forgotten, accessed }) => [
        ...attributes.map((ino) => `attributes ${ino}`),
        ...contents.map((ino) => `content ${ino}`),
        ...names.map((n) => `name ${n.dir}/${Buffer.from(n.name)}`),
        ...nameless.map((ino) => `nameless ${ino}`),
        ...forgotten.map((ino) => `forgotten ${ino}`),
        ...accessed.map(({ ino, atime }) => `accessed ${ino} ${atime.sec}`),
      ])
      .sort();
  }
}

describe("the table of watches", () => {
  it("is what a list of pairs would be, whatever comes and goes", () => {
    const step = fc.record({ kind: fc.constantFrom("add", "remove", "clear"), who: fc.nat(2), ino: fc.nat(5) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
        const table = new WatchTable(4, 9);
        const watchers = [new Watcher(), new Watcher(), new Watcher()];
        const model: number[][] = [[], [], []];
        for (const { kind, who, ino } of steps) {
          const mine = model[who]!;
          if (kind === "add") {
            const full = !mine.includes(ino) && (mine.length === 4 || model.flat().length === 9);
            const dropped = full ? (mine.length === 0 ? ino : mine.shift()) : undefined;
            if (!mine.includes(ino) && dropped !== ino) mine.push(ino);
            expect(table.add(watchers[who]!, ino)).to.equal(dropped);
          } else if (kind === "remove") {
            table.remove(watchers[who]!, ino);
            model[who] = mine.filter((n) => n !== ino);
          } else {
            table.clear(watchers[who]!);
            model[who] = [];
          }
          expect(table.size).to.equal(model.flat().length);
          for (let i = 0; i < 6; i++) {
            const expected = watchers.filter((_, w) => model[w]!.includes(i));
            expect([...table.of(i)]).to.have.members(expected);
          }
        }
      }),
      { numRuns: 500, seed: 7 },
    );
  });
});

describe("callbacks", () => {
  const OTHER = SESSION + 1;
  let world: World;
  let client: Client;

  beforeEach(async () => {
    world = await World.open();
    client = new Client();
    await world.call("openSession", { session: OTHER, name: "other", host: "h", watch: true }, client.link);
  });

  it("tell a client what others change of what it was told, and nothing else", async () => {
    const seen = await world.mkfile(ROOT_INO, "seen");
    const unseen = await world.mkfile(ROOT_INO, "unseen");
    expect(await client.told()).to.deep.equal([]);
    await world.call("lookup", { dir: ROOT_INO, name: name("seen") }, client.link);
    await world.call("setAttributes", { ino: unseen.ino, mode: 0o600 });
    expect(await client.told()).to.deep.equal([]);
    await world.call("setAttributes", { ino: seen.ino, mode: 0o600 });
    expect(await client.told()).to.deep.equal([`attributes ${seen.ino}`]);
    await world.call("setXattr", { ino: seen.ino, name: name("user.x"), value: name("1") });
    await world.call("setAttributes", { ino: seen.ino, size: 7 });
    await world.write(seen.ino, 10);
    expect(await client.told()).to.deep.equal([`content ${seen.ino}`]);
  });

  it("tell of names that came, went or moved, also when there was none", async () => {
    const dir = await world.mkdir(ROOT_INO, "d");
    expect(await world.code("lookup", { dir: dir.ino, name: name("a") })).to.equal("ENOENT");
    await world.call("lookup", { dir: dir.ino, name: name("a") }, client.link).catch(() => {});
    const file = await world.mkfile(dir.ino, "a");
    expect(await client.told()).to.deep.equal([`attributes ${dir.ino}`, `name ${dir.ino}/a`]);
    await world.call("link", { ino: file.ino, dir: dir.ino, name: name("b") });
    expect(await client.told()).to.deep.equal([`attributes ${dir.ino}`, `name ${dir.ino}/b`]);
    await world.call("rename", { fromDir: dir.ino, fromName: name("b"), toDir: ROOT_INO, toName: name("c") });
    expect(await client.told()).to.deep.equal([`attributes ${dir.ino}`, `name ${dir.ino}/b`]);
    await world.call("unlink", { dir: dir.ino, name: name("a") });
    expect(await client.told()).to.deep.equal([`attributes ${dir.ino}`, `name ${dir.ino}/a`]);
  });

  it("tell of both directories of a rename, which its answer has shown", async () => {
    const from = await world.mkdir(ROOT_INO, "from");
    const to = await world.mkdir(ROOT_INO, "to");
    await world.mkfile(from.ino, "f");
    const call = { session: OTHER, sequence: 1, doneBelow: 1 };
    const move = { fromDir: from.ino, fromName: name("f"), toDir: to.ino, toName: name("g") };
    await world.call("rename", { call, ...move }, client.link);
    expect(await client.told()).to.deep.equal([]);
    await world.mkfile(from.ino, "x");
    expect(await client.told()).to.deep.equal([`attributes ${from.ino}`, `name ${from.ino}/x`]);
    await world.mkfile(to.ino, "y");
    expect(await client.told()).to.deep.equal([`attributes ${to.ino}`, `name ${to.ino}/y`]);
  });

  it("tell of every inode and name that a listing showed", async () => {
    const inos = [];
    for (const text of ["a", "b", "c"]) inos.push((await world.mkfile(ROOT_INO, text)).ino);
    await world.call("readDirectory", { dir: ROOT_INO }, client.link);
    await world.call("setAttributes", { ino: inos[1]!, mode: 0o600 });
    await world.mkfile(ROOT_INO, "d");
    expect(await client.told()).to.deep.equal([
      `attributes ${ROOT_INO}`,
      `attributes ${inos[1]}`,
      `name ${ROOT_INO}/d`,
    ]);
  });

  it("never tell a client of its own changes", async () => {
    const call = { session: OTHER, sequence: 1, doneBelow: 1 };
    const { inode } = await world.call(
      "create",
      { call, dir: ROOT_INO, name: name("mine"), mode: 0o100644 },
      client.link,
    );
    await world.call("setAttributes", { call: { ...call, sequence: 2 }, ino: inode.ino, mode: 0o600 }, client.link);
    expect(await client.told()).to.deep.equal([]);
    await world.call("setAttributes", { ino: inode.ino, mode: 0o644 });
    expect(await client.told()).to.deep.equal([`attributes ${inode.ino}`]);
  });

  it("tell of a read as that, with the time, and not the reader", async () => {
    const { ino, atime: before } = await world.mkfile(ROOT_INO, "f");
    await world.call("getInode", { ino }, client.link);
    const access = { ino, atime: { sec: 20, nsec: 0 }, before };
    await world.call("noteAccesses", { session: SESSION, accesses: [access] });
    expect(await client.told()).to.deep.equal([`accessed ${ino} 20`]);
    const again = { ino, atime: { sec: 30, nsec: 0 }, before: access.atime };
    await world.call("noteAccesses", { session: OTHER, accesses: [again] }, client.link);
    expect(await client.told()).to.deep.equal([]);
  });

  it("say once what changes often in a turn", async () => {
    const { ino } = await world.mkfile(ROOT_INO, "f");
    await world.call("getInode", { ino }, client.link);
    for (let mode = 0; mode < 50; mode++) world.editor.apply({ setAttributes: { ino, mode } });
    await setImmediate();
    expect(client.pushed.length).to.equal(1);
    expect(await client.told()).to.deep.equal([`attributes ${ino}`]);
  });

  it("end when the client forgets, and when its connection does", async () => {
    const { ino } = await world.mkfile(ROOT_INO, "f");
    await world.call("getInode", { ino }, client.link);
    world.callbacks.forget(client.link, [ino, 12345]);
    await world.call("setAttributes", { ino, mode: 0o600 });
    expect(await client.told()).to.deep.equal([]);
    await world.call("getInode", { ino }, client.link);
    expect(world.callbacks.size).to.equal(1);
    client.drop();
    await setImmediate();
    expect(world.callbacks.size).to.equal(0);
    await world.call("setAttributes", { ino, mode: 0o644 });
    expect(await client.told()).to.deep.equal([]);
  });

  it("do not concern clients that do not watch", async () => {
    const { ino } = await world.mkfile(ROOT_INO, "f");
    await world.call("getInode", { ino });
    await world.call("getInode", { ino }, new Client().link);
    expect(world.callbacks.size).to.equal(0);
  });

  it("leave out what a listing shows beyond three quarters of what a client may watch, and say so", async () => {
    const callbacks = new Callbacks(silentLogger, () => true, new WatchTable(8, 100));
    callbacks.open(OTHER, client.link);
    expect(callbacks.hasRoom(client.link, 6)).to.equal(true);
    expect(callbacks.hasRoom(client.link, 7)).to.equal(false);
    expect(callbacks.hasRoom(new Client().link, 1000)).to.equal(true);
    callbacks.told(client.link, 1, 2, 3);
    expect(callbacks.hasRoom(client.link, 3)).to.equal(true);
    expect(callbacks.hasRoom(client.link, 4)).to.equal(false);
    callbacks.forget(client.link, [1]);
    expect(callbacks.hasRoom(client.link, 4)).to.equal(true);
  });

  it("drop the connection of a client that does not keep up, instead of gathering what it is to be told", async () => {
    const { ino } = await world.mkfile(ROOT_INO, "f");
    await world.call("getInode", { ino }, client.link);
    client.bufferedBytes = LINK_HIGH_WATER + 1;
    await world.call("setAttributes", { ino, mode: 0o600 });
    expect(await client.told()).to.deep.equal([]);
    expect(client.terminated).to.match(/keep up/);
    await setImmediate();
    expect(world.callbacks.size).to.equal(0);
  });

  it("say what they watch no longer when there is too much, and then take any file for open there", async () => {
    const callbacks = new Callbacks(silentLogger, () => true, new WatchTable(2, 100));
    callbacks.open(OTHER, client.link);
    callbacks.told(client.link, 11, 12);
    expect(callbacks.mayHaveOpen(11, SESSION)).to.deep.equal([OTHER]);
    expect(callbacks.mayHaveOpen(77, SESSION)).to.deep.equal([]);
    callbacks.told(client.link, 13);
    expect(await client.told()).to.deep.equal(["forgotten 11"]);
    expect(callbacks.mayHaveOpen(77, SESSION)).to.deep.equal([OTHER]);
    expect(callbacks.mayHaveOpen(77, OTHER)).to.deep.equal([]);
    const edit = { call: null, setAttributes: { size: null } } as unknown as Edit;
    callbacks.applied(edit, { touched: [11, 12, 13] });
    expect(await client.told()).to.deep.equal(["attributes 12", "attributes 13"]);
  });
});

describe("an inode without a name that others may have open", () => {
  const OTHER = SESSION + 1;
  /** Longer than the reclaimer waits, ms. */
  const SOON = 1000;
  let world: World;
  let client: Client;
  let ino: number;

  const open = (link: Link, inos: number[] = []) =>
    world.call("openSession", { session: OTHER, name: "other", host: "h", watch: true, open: inos }, link);
  const unlink = () => world.call("unlink", { dir: ROOT_INO, name: name("f") });
  const gone = async () => {
    world.clock.advance(SOON);
    return (await world.code("getInode", { ino })) === "ESTALE";
  };

  beforeEach(async () => {
    world = await World.open();
    client = new Client();
    await open(client.link);
    ({ ino } = await world.mkfile(ROOT_INO, "f"));
    await world.write(ino, 100);
    await world.call("getInode", { ino }, client.link);
  });

  it("is kept for a session that watches it, until that gives it up", async () => {
    await unlink();
    expect(await client.told()).to.include(`nameless ${ino}`);
    expect(await gone()).to.equal(false);
    await world.call("release", { session: OTHER, inos: [ino] }, client.link);
    expect(await gone()).to.equal(true);
    expect(world.freed().length).to.equal(1);
  });

  it("is kept until the last of several gives it up", async () => {
    await world.call("unlink", { dir: ROOT_INO, name: name("f"), hold: true });
    await world.call("release", { session: OTHER, inos: [ino] }, client.link);
    expect(await gone()).to.equal(false);
    await world.call("release", { session: SESSION, inos: [ino] });
    expect(await gone()).to.equal(true);
  });

  it("is kept when a rename takes its name, too", async () => {
    await world.mkfile(ROOT_INO, "g");
    await world.call("rename", { fromDir: ROOT_INO, fromName: name("g"), toDir: ROOT_INO, toName: name("f") });
    expect(await client.told()).to.include(`nameless ${ino}`);
    expect(await gone()).to.equal(false);
  });

  it("goes with the session", async () => {
    await unlink();
    await world.call("closeSession", { session: OTHER }, client.link);
    expect(await gone()).to.equal(true);
    expect(world.callbacks.mayHaveOpen(ino, SESSION)).to.deep.equal([]);
  });

  it("is kept for a session that lost its connection, and then only if it has it open", async () => {
    const { ino: second } = await world.mkfile(ROOT_INO, "second");
    client.drop();
    await setImmediate();
    await unlink();
    await world.call("unlink", { dir: ROOT_INO, name: name("second") });
    expect(await gone()).to.equal(false);
    const again = new Client();
    await open(again.link, [ino]);
    expect(await again.told()).to.deep.equal([`nameless ${ino}`]);
    expect(await gone()).to.equal(false);
    expect(await world.code("getInode", { ino: second })).to.equal("ESTALE");
    await world.call("release", { session: OTHER, inos: [ino] }, again.link);
    expect(await gone()).to.equal(true);
  });

  it("is kept over a restart, and for a session that has not come back since", async () => {
    const { ino: second } = await world.mkfile(ROOT_INO, "second");
    await unlink();
    // A session that only read is known by what it holds.
    world = await World.open({ journal: world.journal });
    await world.call("unlink", {
      dir: ROOT_INO,
      name: name("second"),
      call: { session: SESSION, sequence: 99, doneBelow: 99 },
    });
    expect(await gone()).to.equal(false);
    expect((await world.inode(second)).nlink).to.equal(0);
    await open(client.link, [second]);
    expect(await gone()).to.equal(true);
    expect((await world.inode(second)).nlink).to.equal(0);
    world.clock.advance(2 * LEASE_MS);
    world.clock.advance(SOON);
    expect(await world.code("getInode", { ino: second })).to.equal("ESTALE");
  });
});
