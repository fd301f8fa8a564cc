import { expect } from "chai";
import { ROOT_INO } from "../../../common/limits.js";
import { S_IFREG } from "../../../namenode/namespace/types.js";
import type { CreateReply } from "../../../proto/gen/types.js";
import { dump, name, SESSION, World } from "./world.js";

const mode = S_IFREG | 0o644;

describe("a repeated call", () => {
  let world: World;
  beforeEach(async () => {
    world = await World.open();
  });

  /** Makes a call, and again, and again after a restart. @returns what each answered, and how many edits each made */
  async function thrice<K extends Parameters<World["call"]>[0]>(key: K, request: object) {
    const call = world.nextCall();
    const replies: unknown[] = [];
    const edits: number[] = [];
    const make = async (at: World) => {
      const before = at.editor.lastIndex;
      replies.push(await at.call(key, { ...request, call } as never));
      edits.push(at.editor.lastIndex - before);
    };
    await make(world);
    await make(world);
    await make(await World.open({ journal: world.journal }));
    return { replies, edits };
  }

  it("creates once, and says so each time", async () => {
    const { replies, edits } = await thrice("create", { dir: ROOT_INO, name: name("f"), mode });
    expect(edits).to.deep.equal([1, 0, 0]);
    const [first, ...again] = replies as CreateReply[];
    const said = ({ inode, index, existed }: CreateReply) => ({ inode, index, existed });
    expect(again.map(said)).to.deep.equal([said(first!), said(first!)]);
    // The directory may have become another since.
    expect(again.map(({ parent }) => parent)).to.deep.equal([null, null]);
  });

  it("sets attributes, links and sets and removes extended attributes once", async () => {
    const { ino } = await world.mkfile(ROOT_INO, "f");
    const all: [Parameters<World["call"]>[0], object][] = [
      ["setAttributes", { ino, size: 9 }],
      ["link", { ino, dir: ROOT_INO, name: name("g") }],
      ["setXattr", { ino, name: name("user.a"), value: name("v"), create: true }],
      ["removeXattr", { ino, name: name("user.a") }],
    ];
    for (const [key, request] of all) {
      const { replies, edits } = await thrice(key, request);
      expect(edits, key).to.deep.equal([1, 0, 0]);
      expect(replies[1], key).to.deep.equal(replies[0]);
      expect(replies[2], key).to.deep.equal(replies[0]);
    }
  });

  it("removes once: not what took the name meanwhile", async () => {
    await world.mkfile(ROOT_INO, "f");
    const call = world.nextCall();
    await world.call("unlink", { dir: ROOT_INO, name: name("f"), call });
    const next = await world.mkfile(ROOT_INO, "f");
    await world.call("unlink", { dir: ROOT_INO, name: name("f"), call });
    expect((await world.call("lookup", { dir: ROOT_INO, name: name("f") })).inode.ino).to.equal(next.ino);
  });

  it("renames once, and names what was replaced", async () => {
    const a = await world.mkfile(ROOT_INO, "a");
    const b = await world.mkfile(ROOT_INO, "b");
    const request = { fromDir: ROOT_INO, fromName: name("a"), toDir: ROOT_INO, toName: name("b") };
    const { replies, edits } = await thrice("rename", request);
    expect(edits).to.deep.equal([1, 0, 0]);
    for (const reply of replies as { moved: object; replaced: object }[]) {
      expect(reply.moved).to.include({ ino: a.ino });
      expect(reply.replaced).to.include({ ino: b.ino, nlink: 0 });
    }
  });

  it("commits once: a block that is pending no more is no error", async () => {
    const { ino } = await world.mkfile(ROOT_INO, "f");
    const id = await world.allocate();
    const { replies, edits } = await thrice("commit", {
      ino,
      blocks: [{ block: { id, generation: 1, length: 5 }, datanodes: [1] }],
      extents: [{ length: 5, block: id }],
      replicas: 3,
    });
    expect(edits).to.deep.equal([1, 0, 0]);
    expect(replies[2]).to.deep.equal(replies[0]);
  });

  it("is tried again when it failed the first time", async () => {
    const call = world.nextCall();
    const request = { dir: ROOT_INO, name: name("f"), call };
    expect(await world.code("unlink", request)).to.equal("ENOENT");
    await world.mkfile(ROOT_INO, "f");
    expect(await world.code("unlink", request)).to.equal("ok");
  });

  it("must carry a sound id of an open session", async () => {
    const create = (call: object) =>
      world.code("create", { dir: ROOT_INO, name: name("f"), mode, call: { session: SESSION, sequence: 1, ...call } });
    expect(await create({ session: 5 })).to.equal("ENOTCONN");
    expect(await create({ session: 0 })).to.equal("EINVAL");
    expect(await create({ sequence: 0 })).to.equal("EINVAL");
    expect(await create({ doneBelow: 2 })).to.equal("EINVAL");
    expect(await create({ sequence: 70_000 })).to.equal("EINVAL");
  });

  it("has its record only as long as it may come", async () => {
    const records = () => dump(world.kv).filter(([key]) => key.startsWith("C")).length;
    for (let i = 0; i < 1000; i++) await world.mkfile(ROOT_INO, String(i));
    expect(records()).to.be.lessThan(70);
    const waiting = world.nextCall();
    for (let i = 1000; i < 1200; i++) {
      const call = { ...world.nextCall(), doneBelow: waiting.sequence! };
      await world.call("create", { dir: ROOT_INO, name: name(String(i)), mode, call });
    }
    expect(records()).to.be.greaterThan(199);
  });
});
