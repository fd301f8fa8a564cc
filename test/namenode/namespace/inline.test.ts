import { expect } from "chai";
import {
  INLINE_BLOCKS,
  MAX_AHEAD,
  MAX_FILE_SIZE,
  MAX_INLINE,
  MAX_INLINE_PAGE,
  ROOT_INO,
} from "../../../common/limits.js";
import { readBlock, readCluster, readInline } from "../../../namenode/namespace/records.js";
import { encodeInline } from "../../../proto/inline.js";
import { dump, name, World } from "./world.js";

/** What a commit calls its first inline block. */
const CALLED = Number.MAX_SAFE_INTEGER;

describe("inline blocks", () => {
  let world: World;
  let ino: number;
  beforeEach(async () => {
    world = await World.open();
    ino = (await world.mkfile(ROOT_INO, "f")).ino;
  });

  const commit = (data: Buffer, offset = 0) =>
    world.call("commit", {
      ino,
      inline: [encodeInline(CALLED, data)],
      extents: [{ offset, length: data.length, block: CALLED }],
    });

  it("are told to clients as wanted", async () => {
    expect((await world.call("openSession", { session: 5, name: "x", host: "h" })).inlineBytes).to.equal(16);
  });

  it("are blocks that the namenode numbers and keeps, and hands out with the extents", async () => {
    const data = Buffer.from("small file");
    const { inode } = await commit(data);
    expect(inode).to.include({ size: 10, allocated: 10, inline: 10 });
    const { extents, blocks, inline } = await world.call("getExtents", { ino, length: 100 });
    expect(extents.map((e) => [e.offset, e.length, e.block])).to.deep.equal([[0, 10, INLINE_BLOCKS]]);
    expect(blocks.map(({ block, replicas }) => [block.id, block.length, replicas])).to.deep.equal([
      [INLINE_BLOCKS, 10, []],
    ]);
    expect(inline.map((b) => [b.id, b.data.toString(), b.crc])).to.deep.equal([
      [INLINE_BLOCKS, "small file", encodeInline(0, data).crc],
    ]);
    expect((await world.call("readInlineBlock", { block: INLINE_BLOCKS })).data.toString()).to.equal("small file");
    expect(readBlock(world.kv, INLINE_BLOCKS)).to.include({ replicas: 0, extents: 1, live: 10 });
    // Datanodes have nothing to do with it.
    expect(readCluster(world.kv)).to.include({ blocks: 0, inlineBlocks: 1 });
    expect(world.effects.flatMap((e) => [...(e.committed ?? []), ...(e.wanted ?? [])])).to.deep.equal([]);
  });

  it("go with the last extent, and take what the file counts of them along", async () => {
    await commit(Buffer.alloc(10, 1));
    await commit(Buffer.alloc(6, 2), 2);
    expect((await world.inode(ino)).inline).to.equal(16);
    await commit(Buffer.alloc(10, 3));
    expect((await world.inode(ino)).inline).to.equal(10);
    expect([0, 1, 2].map((i) => readInline(world.kv, INLINE_BLOCKS + i) !== undefined)).to.deep.equal([
      false,
      false,
      true,
    ]);
    await world.call("setAttributes", { ino, size: 0 });
    expect((await world.inode(ino)).inline).to.equal(0);
    expect(await world.code("readInlineBlock", { block: INLINE_BLOCKS + 2 })).to.equal("ESTALE");
    expect(world.freed()).to.deep.equal([]);
  });

  it("are never numbered twice, also when nothing of them came to stay", async () => {
    await world.call("commit", { ino, inline: [encodeInline(CALLED, Buffer.from("x"))] });
    await commit(Buffer.from("y"));
    expect(await world.extents(ino)).to.deep.equal([[0, 1, INLINE_BLOCKS + 1, 0]]);
  });

  it("may stand beside blocks on datanodes in one commit, and a change of replicas leaves them alone", async () => {
    const id = await world.allocate();
    await world.call("commit", {
      ino,
      replicas: 3,
      blocks: [{ block: { id, generation: 1, length: 5 }, datanodes: [1] }],
      inline: [encodeInline(CALLED, Buffer.from("ab")), encodeInline(CALLED - 1, Buffer.from("cd"))],
      extents: [
        { offset: 0, length: 5, block: id },
        { offset: 5, length: 2, block: CALLED - 1 },
        { offset: 7, length: 2, block: CALLED },
      ],
    });
    expect(await world.extents(ino)).to.deep.equal([
      [0, 5, id, 0],
      [5, 2, INLINE_BLOCKS + 1, 0],
      [7, 2, INLINE_BLOCKS, 0],
    ]);
    await world.call("setAttributes", { ino, policy: { replicas: 2 } });
    expect(world.effects.at(-1)!.wanted!.map(({ block }) => block.id)).to.deep.equal([id]);
  });

  it("do not fill a reply: what has no room is asked for", async () => {
    const pieces = MAX_INLINE_PAGE / MAX_INLINE + 1;
    for (let i = 0; i < pieces; i++) await commit(Buffer.alloc(MAX_INLINE, i), i * MAX_INLINE);
    const { blocks, inline } = await world.call("getExtents", { ino, length: pieces * MAX_INLINE });
    expect([blocks.length, inline.length]).to.deep.equal([pieces, pieces - 1]);
    const last = await world.call("readInlineBlock", { block: INLINE_BLOCKS + pieces - 1 });
    expect(last.data).to.deep.equal(Buffer.alloc(MAX_INLINE, pieces - 1));
  });

  it("come along with another file, whole, as they are at that moment, as far as there is room, and are passed over if large or gone", async () => {
    await commit(Buffer.from("first"));
    const files: number[] = [];
    for (let i = 0; i < 11; i++) files.push((await world.mkfile(ROOT_INO, `ahead-${i}`)).ino);
    const [small, large, many, empty, ...full] = files as [number, number, number, number];
    const put = (to: number, data: Buffer, offset = 0) =>
      world.call("commit", {
        ino: to,
        inline: [encodeInline(CALLED, data)],
        extents: [{ offset, length: data.length, block: CALLED }],
      });
    await put(small, Buffer.from("abc"));
    await put(small, Buffer.from("d"), 7);
    const id = await world.allocate();
    await world.call("commit", {
      ino: large,
      replicas: 3,
      blocks: [{ block: { id, generation: 1, length: 5 }, datanodes: [1] }],
      inline: [encodeInline(CALLED, Buffer.from("x"))],
      extents: [
        { offset: 0, length: 5, block: id },
        { offset: 5, length: 1, block: CALLED },
      ],
    });
    for (let i = 0; i < 17; i++) await put(many, Buffer.from("y"), 2 * i);
    for (const each of full) await put(each, Buffer.alloc(MAX_INLINE, 1));
    const { extents, ahead } = await world.call("getExtents", { ino, length: 1, ahead: [...files, 999_999] });
    expect(extents.length).to.equal(1);
    const fitting = Math.floor((MAX_INLINE_PAGE - 4) / MAX_INLINE);
    expect(full.length).to.equal(fitting);
    expect(ahead.map((file) => file.inode.ino)).to.deep.equal([small, empty, ...full]);
    expect(ahead[0]!.inode).to.deep.equal(await world.inode(small));
    expect(ahead[0]!.extents.map((e) => [e.offset, e.length])).to.deep.equal([
      [0, 3],
      [7, 1],
    ]);
    expect(ahead[0]!.covered).to.equal(MAX_FILE_SIZE);
    expect(ahead[0]!.inline.map(({ data }) => data.toString())).to.deep.equal(["abc", "d"]);
    expect(ahead[0]!.blocks.map(({ block }) => block.length)).to.deep.equal([3, 1]);
    await put(empty, Buffer.alloc(MAX_INLINE, 2));
    const again = await world.call("getExtents", { ino, ahead: [empty, ...full] });
    expect(again.ahead.map((file) => file.inode.ino)).to.deep.equal([empty, ...full]);
    const more = (await world.mkfile(ROOT_INO, "one-more")).ino;
    await put(more, Buffer.from("small"));
    const most = await world.call("getExtents", { ino, ahead: [small, empty, ...full, more] });
    expect(most.ahead.map((file) => file.inode.ino)).to.deep.equal([small, empty, ...full.slice(0, -1), more]);
    const tooMany = Array.from({ length: MAX_AHEAD + 1 }, () => small);
    expect(await world.code("getExtents", { ino, ahead: tooMany })).to.equal("EINVAL");
  });

  it("are refused when they are damaged, empty, too long, named twice, or called what may be a block", async () => {
    const good = encodeInline(CALLED, Buffer.from("abc"));
    const code = (...inline: (typeof good)[]) => world.code("commit", { ino, inline });
    expect(await code({ ...good, data: Buffer.from("abd") })).to.equal("EBADMSG");
    expect(await code(encodeInline(CALLED, Buffer.alloc(0)))).to.equal("EINVAL");
    expect(await code(encodeInline(CALLED, Buffer.alloc(MAX_INLINE + 1)))).to.equal("EINVAL");
    expect(await code(good, good)).to.equal("EINVAL");
    expect(await code({ ...good, id: 7 })).to.equal("EINVAL");
    const many = Array.from({ length: 9 }, (_, i) => encodeInline(CALLED - i, Buffer.alloc(MAX_INLINE, i)));
    expect(await code(...many)).to.equal("EINVAL");
    expect((await world.inode(ino)).version).to.equal((await world.inode(ino)).version);
    expect(readCluster(world.kv).inlineBlocks).to.equal(0);
  });

  it("are as safe as names: a replay of the journal brings them back, to the byte", async () => {
    await commit(Buffer.from("first"));
    await commit(Buffer.from("second"), 3);
    await world.call("unlink", { dir: ROOT_INO, name: name("f") });
    const other = await world.mkfile(ROOT_INO, "g");
    ino = other.ino;
    await commit(Buffer.from("third"));
    const replayed = await World.open({ journal: world.journal });
    expect(dump(replayed.kv)).to.deep.equal(dump(world.kv));
    expect((await replayed.call("getExtents", { ino, length: 5 })).inline[0]!.data.toString()).to.equal("third");
  });
});

describe("a commit with attributes", () => {
  it("changes content and attributes at once, and nothing else", async () => {
    const world = await World.open();
    const { ino } = await world.mkfile(ROOT_INO, "f");
    const block = await world.allocate();
    const before = world.editor.lastIndex;
    const { inode } = await world.call("commit", {
      ino,
      replicas: 3,
      blocks: [{ block: { id: block, generation: 1, length: 3 }, datanodes: [1] }],
      extents: [{ length: 3, block }],
      mode: 0o4711,
      uid: 7,
      gid: 8,
      atime: { sec: 1, nsec: 2 },
      mtime: { sec: 3, nsec: 4 },
    });
    expect(world.editor.lastIndex).to.equal(before + 1);
    expect(inode).to.deep.include({ mode: 0o104711, uid: 7, gid: 8, size: 3 });
    expect([inode.atime.sec, inode.mtime.sec]).to.deep.equal([1, 3]);
    await world.write(ino, 1, [{ offset: 3, length: 1 }]);
    expect(await world.inode(ino)).to.include({ mode: 0o104711, uid: 7, gid: 8, size: 4 });
  });

  it("is checked as SetAttributes is", async () => {
    const world = await World.open();
    const { ino } = await world.mkfile(ROOT_INO, "f");
    expect(await world.code("commit", { ino, mode: 0o100644 })).to.equal("EINVAL");
    expect(await world.code("commit", { ino, uid: 0xffffffff })).to.equal("EINVAL");
    expect(await world.code("commit", { ino, atime: { sec: 0, nsec: 1e9 } })).to.equal("EINVAL");
  });
});
