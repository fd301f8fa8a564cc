import { expect } from "chai";
import fc from "fast-check";
import { RealClock } from "../../../common/clock.js";
import { ROOT_INO } from "../../../common/limits.js";
import { silentLogger } from "../../../common/log.js";
import { Quotas } from "../../../namenode/care/quotas.js";
import { dirOfQuota, INODES, QUOTAS } from "../../../namenode/namespace/keys.js";
import { countBelow, hasQuotas, readQuota } from "../../../namenode/namespace/quotas.js";
import { readInode, writeInode } from "../../../namenode/namespace/records.js";
import { isDirectory } from "../../../namenode/namespace/types.js";
import { Inode } from "../../../proto/gen/types.js";
import { dump, name, World } from "../namespace/world.js";

/** The quotas of a world. */
function quotasOf(world: World): Quotas {
  const { store, editor } = world;
  return new Quotas({ store, editor, room: () => undefined, clock: new RealClock(), log: silentLogger });
}

/** What a directory has below it, counted. */
function counted(world: World, dir: number): { names: number; bytes: number } {
  const counting = countBelow(world.kv, dir);
  for (;;) {
    const step = counting.next();
    if (step.done) return { names: step.value.names, bytes: step.value.bytes };
  }
}

/** Every quota's usage is what a count finds. */
function expectRight(world: World): void {
  for (const [key] of world.kv.range(QUOTAS)) {
    const dir = dirOfQuota(key);
    const { usedNames, usedBytes, counted: known } = readQuota(world.kv, dir)!;
    if (known) expect({ names: usedNames, bytes: usedBytes }, `directory ${dir}`).eql(counted(world, dir));
  }
}

const nat = fc.nat(1000);
const text = fc.constantFrom("a", "b", "c");
const op = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant("create" as const), dir: nat, name: text, directory: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant("write" as const),
      file: nat,
      offset: fc.nat(50),
      length: fc.integer({ min: 1, max: 30 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("truncate" as const), file: nat, size: fc.nat(60) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("punch" as const), file: nat, size: fc.nat(60) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant("clone" as const),
      file: nat,
      to: nat,
      size: fc.integer({ min: 1, max: 60 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant("unlink" as const), dir: nat, name: text, directory: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("link" as const), file: nat, dir: nat, name: text }) },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant("rename" as const),
      from: nat,
      a: text,
      to: nat,
      b: text,
      exchange: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant("quota" as const), dir: nat, names: fc.nat(12), bytes: fc.nat(100) }),
  },
);
type Op = typeof op extends fc.Arbitrary<infer T> ? T : never;

/** Does something; what cannot be done is refused. */
async function run(world: World, quotas: Quotas, o: Op): Promise<void> {
  const dirs: number[] = [];
  const files: number[] = [];
  for (const [, value] of world.kv.range(INODES)) {
    const inode = Inode.decode(value);
    if (inode.nlink > 0) (isDirectory(inode) ? dirs : files).push(inode.ino);
  }
  const dir = (n: number) => dirs[n % dirs.length]!;
  const file = (n: number) => files[n % files.length];
  switch (o.op) {
    case "create":
      await world.code("create", { dir: dir(o.dir), name: name(o.name), mode: o.directory ? 0o040755 : 0o100644 });
      return;
    case "unlink":
      await world.code("unlink", { dir: dir(o.dir), name: name(o.name), directory: o.directory });
      return;
    case "rename": {
      const [fromDir, toDir] = [dir(o.from), dir(o.to)];
      const { exchange } = o;
      await world.code("rename", { fromDir, fromName: name(o.a), toDir, toName: name(o.b), exchange });
      return;
    }
    case "quota":
      await quotas.set({ ino: dir(o.dir), names: o.names, bytes: o.bytes });
      await quotas.settled();
      return;
  }
  const ino = file(o.file);
  if (ino === undefined) return;
  if (o.op === "link") await world.code("link", { ino, dir: dir(o.dir), name: name(o.name) });
  else if (o.op === "truncate") await world.code("setAttributes", { ino, size: o.size });
  else if (o.op === "punch") await world.code("fallocate", { ino, offset: 0, length: 1 + o.size, zero: true });
  else if (o.op === "clone") {
    const to = file(o.to)!;
    await world.code("clone", { source: ino, sourceOffset: 0, ino: to, offset: 100, length: o.size });
  } else
    await world.write(ino, o.length, [{ offset: o.offset, length: o.length, blockOffset: 0 }]).catch((err: unknown) => {
      if ((err as { code: string }).code !== "EDQUOT") throw err;
    });
}

describe("quotas", () => {
  it("know what is used, whatever is done, and again after a replay", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(op, { minLength: 10, maxLength: 60 }), async (ops) => {
        const world = await World.open();
        const quotas = quotasOf(world);
        const a = await world.mkdir(ROOT_INO, "a");
        await world.mkdir(a.ino, "b");
        const other = await world.mkdir(ROOT_INO, "c");
        await quotas.set({ ino: a.ino, names: 15, bytes: 150 });
        await quotas.set({ ino: other.ino, names: 1000, bytes: 0 });
        await quotas.settled();
        for (const o of ops) {
          await run(world, quotas, o);
          expectRight(world);
        }
        const again = await World.open({ journal: world.journal });
        expect(dump(again.kv)).eql(dump(world.kv));
      }),
      { numRuns: 40, seed: 4 },
    );
  });

  it("refuse what is too much: names, bytes, links, moves; not what makes room", async () => {
    const world = await World.open();
    const quotas = quotasOf(world);
    const { ino: dir } = await world.mkdir(ROOT_INO, "dir");
    await quotas.set({ ino: dir, names: 3, bytes: 100 });
    await quotas.settled();
    const { ino: sub } = await world.mkdir(dir, "sub");
    const { ino: file } = await world.mkfile(sub, "file");
    await world.write(file, 60);
    const block = await world.allocate();
    const commit = (offset: number, length: number) =>
      world.code("commit", {
        ...{ ino: file, replicas: 3, blocks: [{ block: { id: block, generation: 1, length: 200 }, datanodes: [1] }] },
        extents: [{ offset, length, block, blockOffset: 0 }],
      });
    expect(await commit(20, 81)).equal("EDQUOT");
    expect(await commit(0, 100)).equal("ok");
    expect(await commit(50, 50)).equal("ok");
    expect(await world.code("setAttributes", { ino: file, size: 5000 })).equal("ok");
    const { ino: outside } = await world.mkfile(ROOT_INO, "outside");
    await world.write(outside, 1);
    const into = { fromDir: ROOT_INO, fromName: name("outside"), toDir: sub, toName: name("in") };
    expect(await world.code("rename", into)).equal("EDQUOT");
    expect(await world.code("setAttributes", { ino: file, size: 10 })).equal("ok");
    expect(await world.code("rename", into)).equal("ok");
    expect(await world.code("create", { dir: sub, name: name("more"), mode: 0o100644 })).equal("EDQUOT");
    expect(await world.code("link", { ino: file, dir, name: name("more") })).equal("EDQUOT");
    expect(await world.code("unlink", { dir: sub, name: name("in") })).equal("ok");
    expect(await world.code("create", { dir: sub, name: name("more"), mode: 0o100644 })).equal("ok");
    const [shown] = quotas.get({ ino: sub }).quotas!;
    expect(shown).eql({ ino: dir, names: 3, bytes: 100, usedNames: 3, usedBytes: 10, counted: true });
    for (const ino of [dir, sub, file]) expect((await world.call("getCapacity", { ino })).quotas).eql([shown]);
    for (const ino of [0, ROOT_INO, 999]) expect((await world.call("getCapacity", { ino })).quotas).eql([]);
    await quotas.set({ ino: dir, names: 0, bytes: 0 });
    expect(hasQuotas(world.kv)).equal(false);
  });

  it("count what is there, also of files that were made before there were quotas", async () => {
    const world = await World.open();
    const quotas = quotasOf(world);
    const { ino: dir } = await world.mkdir(ROOT_INO, "dir");
    const { ino: sub } = await world.mkdir(dir, "sub");
    for (let i = 0; i < 700; i++) {
      const { ino } = await world.mkfile(sub, `f${i}`);
      if (i % 100 === 0) await world.write(ino, 10);
      const inode = readInode(world.kv, ino)!;
      inode.parent = 0;
      writeInode(world.kv, inode);
    }
    await quotas.set({ ino: dir, names: 1000, bytes: 1000 });
    await quotas.settled();
    expect(readQuota(world.kv, dir)).deep.include({ usedNames: 701, usedBytes: 70, counted: true });
    expectRight(world);
    // One that was stopped in between goes on.
    world.editor.apply({ setQuota: { dir: sub, names: 5, bytes: 0 } });
    expect(quotas.get({ ino: sub }).quotas!.map((q) => q.counted)).eql([true, false]);
    expect(await world.code("create", { dir: sub, name: name("x"), mode: 0o100644 })).equal("ok");
    quotas.start();
    await quotas.settled();
    expect(await world.code("create", { dir: sub, name: name("y"), mode: 0o100644 })).equal("EDQUOT");
    expectRight(world);
    await quotas.close();
  });
});
