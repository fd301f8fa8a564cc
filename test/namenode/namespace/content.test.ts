import { expect } from "chai";
import { MAX_COMMIT_EXTENTS, MAX_FILE_SIZE, ROOT_INO } from "../../../common/limits.js";
import { readBlock, readCluster } from "../../../namenode/namespace/records.js";
import type { CommitRequestInit, ExtentInit, Inode } from "../../../proto/gen/types.js";
import { name, SESSION, World } from "./world.js";

describe("content", () => {
  let world: World;
  let ino: number;
  beforeEach(async () => {
    world = await World.open();
    ino = (await world.mkfile(ROOT_INO, "f")).ino;
  });

  describe("commit", () => {
    it("puts a block into a file, and tells of it", async () => {
      world.clock.advance(3_000);
      const block = await world.allocate();
      const { inode, index } = await world.call("commit", {
        ino,
        blocks: [{ block: { id: block, generation: 1, length: 100 }, datanodes: [4, 5] }],
        extents: [{ offset: 50, length: 100, block }],
        size: 400,
        replicas: 2,
      });
      expect(inode).to.include({ size: 400, allocated: 100, version: index });
      expect([inode.mtime.sec, inode.ctime.sec, inode.atime.sec]).to.deep.equal([3, 3, 0]);
      expect(readBlock(world.kv, block)).to.include({ generation: 1, length: 100, replicas: 2, extents: 1, live: 100 });
      const { committed } = world.effects.at(-1)!;
      expect(committed).to.have.length(1);
      expect(committed![0]).to.deep.include({ wanted: 2 });
      expect(committed![0]!.block.datanodes).to.deep.equal([4, 5]);
      expect(world.sessions.isPending(block)).to.equal(false);
      expect(readCluster(world.kv).blocks).to.equal(1);
    });

    it("splits what it lands in the middle of", async () => {
      const a = await world.write(ino, 100);
      const b = await world.write(ino, 20, [{ offset: 40, length: 20 }]);
      expect(await world.extents(ino)).to.deep.equal([
        [0, 40, a, 0],
        [40, 20, b, 0],
        [60, 40, a, 60],
      ]);
      expect(readBlock(world.kv, a)).to.include({ extents: 2, live: 80 });
      expect((await world.inode(ino)).allocated).to.equal(100);
    });

    it("trims what it overlaps at either end, and frees what it covers", async () => {
      const a = await world.write(ino, 10);
      const b = await world.write(ino, 10, [{ offset: 10, length: 10 }]);
      const c = await world.write(ino, 10, [{ offset: 20, length: 10 }]);
      const d = await world.write(ino, 20, [{ offset: 5, length: 20 }]);
      expect(await world.extents(ino)).to.deep.equal([
        [0, 5, a, 0],
        [5, 20, d, 0],
        [25, 5, c, 5],
      ]);
      expect(world.freed()).to.deep.equal([b]);
      expect(readBlock(world.kv, b)).to.equal(undefined);
    });

    it("lets a later extent of the same commit win, and joins what continues", async () => {
      const block = await world.write(ino, 40, [
        { offset: 0, length: 10 },
        { offset: 5, length: 10, blockOffset: 10 },
        { offset: 15, length: 20, blockOffset: 20 },
      ]);
      expect(await world.extents(ino)).to.deep.equal([
        [0, 5, block, 0],
        [5, 30, block, 10],
      ]);
      expect(readBlock(world.kv, block)).to.include({ extents: 2, live: 35 });
    });

    it("joins both neighbours when it fills the gap between them", async () => {
      const block = await world.write(ino, 30, [
        { offset: 20, length: 10, blockOffset: 20 },
        { offset: 0, length: 10 },
        { offset: 10, length: 10, blockOffset: 10 },
      ]);
      expect(await world.extents(ino)).to.deep.equal([[0, 30, block, 0]]);
    });

    it("keeps a block out of the store that no extent refers to in the end", async () => {
      const [a, b] = [await world.allocate(), await world.allocate()];
      const blocks = [a, b].map((id) => ({ block: { id, generation: 1, length: 10 }, datanodes: [1] }));
      const extents = [a, b].map((block) => ({ offset: 0, length: 10, block }));
      await world.call("commit", { ino, blocks, extents, replicas: 1 });
      expect(world.effects.at(-1)!.committed!.map((c) => c.block.block.id)).to.deep.equal([b]);
      expect(world.freed()).to.deep.equal([a]);
      expect(readCluster(world.kv).blocks).to.equal(1);
    });

    it("takes further extents of a block committed before, also in another file", async () => {
      const block = await world.write(ino, 100, [{ offset: 0, length: 50 }]);
      const other = await world.mkfile(ROOT_INO, "g");
      const named = { block: { id: block, generation: 1, length: 100 }, datanodes: [1] };
      await world.call("commit", {
        ino,
        blocks: [named],
        extents: [{ offset: 50, length: 50, block, blockOffset: 50 }],
        replicas: 3,
      });
      await world.call("commit", { ino: other.ino, extents: [{ length: 10, block }] });
      expect(await world.extents(ino)).to.deep.equal([[0, 100, block, 0]]);
      expect(readBlock(world.kv, block)).to.include({ extents: 2, live: 110 });
    });

    describe("of a compaction", () => {
      let old: number;
      let block: number;
      /** The file is [0, 20) and [30, 50); its last 10 bytes are of another block. */
      beforeEach(async () => {
        old = await world.write(ino, 40, [
          { offset: 0, length: 20 },
          { offset: 30, length: 20, blockOffset: 20 },
        ]);
        await world.write(ino, 10, [{ offset: 40, length: 10 }]);
        block = await world.allocate();
      });
      const request = (replaces: ExtentInit[], extents: ExtentInit[]) => ({
        ino,
        replaces,
        blocks: [{ block: { id: block, generation: 1, length: 25 }, datanodes: [1] }],
        extents: extents.map((e) => ({ ...e, block })),
        replicas: 3,
      });
      const pieces = () => [
        { offset: 5, length: 15, block: old, blockOffset: 5 },
        { offset: 30, length: 10, block: old, blockOffset: 20 },
      ];
      const made = [
        { offset: 5, length: 15 },
        { offset: 30, length: 10, blockOffset: 15 },
      ];

      it("puts the same bytes elsewhere, and leaves the times alone", async () => {
        const before = await world.inode(ino);
        world.clock.advance(9_000);
        const { inode } = await world.call("commit", request(pieces(), made));
        expect(inode.version).to.be.greaterThan(before.version);
        const seen = ({ size, allocated, mtime, ctime }: Inode) => ({ size, allocated, mtime, ctime });
        expect(seen(inode)).to.deep.equal(seen(before));
        expect((await world.extents(ino)).slice(0, 3)).to.deep.equal([
          [0, 5, old, 0],
          [5, 15, block, 0],
          [30, 10, block, 15],
        ]);
      });

      it("is refused when the file has changed there, and only there", async () => {
        await world.write(ino, 1, [{ offset: 60, length: 1 }]);
        await world.write(ino, 1, [{ offset: 10, length: 1 }]);
        expect(await world.code("commit", request(pieces(), made))).to.equal("EBUSY");
        const rest = request(pieces().slice(1), made.slice(1));
        expect(await world.code("commit", rest)).to.equal("ok");
      });

      it("is refused when a hole was filled, or a piece punched out", async () => {
        await world.call("fallocate", { ino, offset: 30, length: 10, zero: true, keepSize: true });
        expect(await world.code("commit", request(pieces(), made))).to.equal("EBUSY");
        await world.write(ino, 15, [{ offset: 20, length: 15 }]);
        expect(await world.code("commit", request(pieces().slice(0, 1), made.slice(0, 1)))).to.equal("ok");
        expect(await world.code("commit", request(pieces(), made))).to.equal("EBUSY");
      });

      it("is refused when it covers other bytes than it replaces, or is in disorder", async () => {
        const [first, second] = pieces();
        for (const [replaces, extents] of [
          [[first!], made],
          [pieces(), made.slice(1)],
          [pieces(), [{ offset: 5, length: 25 }]],
          [[second!, first!], made],
        ] as const) {
          expect(await world.code("commit", request([...replaces], [...extents]))).to.equal("EINVAL");
        }
      });
    });

    it("sets a time that the writer gives", async () => {
      const { inode } = await world.call("commit", { ino, size: 5, mtime: { sec: 42, nsec: 7 } });
      expect([inode.size, inode.allocated, inode.mtime.sec, inode.mtime.nsec]).to.deep.equal([5, 0, 42, 7]);
    });

    it("refuses what cannot be, and changes nothing", async () => {
      const dir = await world.mkdir(ROOT_INO, "d");
      const old = await world.write(ino, 10);
      const block = await world.allocate();
      const before = world.editor.lastIndex;
      const extent = { offset: 0, length: 10, block };
      const named = (over: object, datanodes = [1]) => ({
        block: { id: block, generation: 1, length: 10, ...over },
        datanodes,
      });
      const refusals: [string, Partial<CommitRequestInit>][] = [
        ["EISDIR", { ino: dir.ino }],
        ["ESTALE", { ino: 999 }],
        ["ESTALE", { blocks: [], extents: [extent] }],
        ["ESTALE", { blocks: [named({ generation: 2 })] }],
        ["ESTALE", { blocks: [named({ id: 900_000 })] }],
        ["EINVAL", { blocks: [named({ id: old, length: 11 })] }],
        ["EINVAL", { blocks: [named({ id: old, generation: 3 })] }],
        ["EINVAL", { blocks: [named({ length: 0 })] }],
        ["EINVAL", { blocks: [named({ length: (64 << 20) + 1 })] }],
        ["EINVAL", { blocks: [named({}, [])] }],
        ["EINVAL", { blocks: [named({}), named({})] }],
        ["EINVAL", { replicas: 0 }],
        ["EINVAL", { extents: [{ ...extent, length: 0 }] }],
        ["EINVAL", { extents: [{ ...extent, length: 11 }] }],
        ["EINVAL", { extents: [{ ...extent, blockOffset: 1 }] }],
        ["EINVAL", { extents: [{ ...extent, blockOffset: 11 }] }],
        ["EINVAL", { extents: [{ ...extent, offset: 2 ** 60 }] }],
        ["EINVAL", { extents: Array(MAX_COMMIT_EXTENTS + 1).fill(extent) }],
        ["EFBIG", { extents: [{ ...extent, offset: MAX_FILE_SIZE - 9 }] }],
        ["EFBIG", { size: MAX_FILE_SIZE + 1 }],
        ["EINVAL", { mtime: { sec: 0, nsec: 1e9 } }],
      ];
      for (const [code, change] of refusals) {
        const request = { ino, blocks: [named({})], extents: [extent], replicas: 3, ...change };
        expect(await world.code("commit", request), JSON.stringify(change).slice(0, 100)).to.equal(code);
      }
      expect(world.editor.lastIndex).to.equal(before);
      expect(world.sessions.isPending(block)).to.equal(true);
    });
  });

  describe("truncation", () => {
    it("trims, frees, and leaves holes where the file grows again", async () => {
      const a = await world.write(ino, 10);
      const b = await world.write(ino, 10, [{ offset: 10, length: 10 }]);
      world.clock.advance(9_000);
      const { inode } = await world.call("setAttributes", { ino, size: 4 });
      expect(inode).to.include({ size: 4, allocated: 4 });
      expect([inode.mtime.sec, inode.ctime.sec]).to.deep.equal([9, 9]);
      expect(world.freed()).to.deep.equal([b]);
      const grown = (await world.call("setAttributes", { ino, size: 1000 })).inode;
      expect(grown).to.include({ size: 1000, allocated: 4 });
      expect(await world.extents(ino)).to.deep.equal([[0, 4, a, 0]]);
      expect(readBlock(world.kv, a)).to.include({ extents: 1, live: 4 });
      await world.call("setAttributes", { ino, size: 0 });
      expect(world.freed()).to.deep.equal([b, a]);
    });

    it("is for regular files, up to the largest", async () => {
      const dir = await world.mkdir(ROOT_INO, "d");
      expect(await world.code("setAttributes", { ino: dir.ino, size: 0 })).to.equal("EISDIR");
      expect(await world.code("setAttributes", { ino, size: MAX_FILE_SIZE })).to.equal("ok");
      expect(await world.code("setAttributes", { ino, size: MAX_FILE_SIZE + 1 })).to.equal("EFBIG");
    });
  });

  describe("getExtents", () => {
    it("gives what touches a range, with blocks and their places once", async () => {
      const block = await world.write(ino, 30, [
        { offset: 0, length: 10 },
        { offset: 20, length: 10, blockOffset: 10 },
        { offset: 40, length: 10, blockOffset: 20 },
      ]);
      const starts = async (offset: number, length: number) =>
        (await world.extents(ino, offset, length)).map((e) => e[0]);
      expect(await starts(5, 20)).to.deep.equal([0, 20]);
      expect(await starts(10, 10)).to.deep.equal([]);
      expect(await starts(9, 1)).to.deep.equal([0]);
      expect(await starts(29, 12)).to.deep.equal([20, 40]);
      expect(await starts(20, 0)).to.deep.equal([]);
      const reply = await world.call("getExtents", { ino, offset: 0, length: 100 });
      expect(reply.blocks.map((b) => b.block)).to.deep.equal([{ id: block, generation: 1, length: 30 }]);
      expect(reply.blocks[0]!.replicas).to.have.length(1);
      expect(reply.covered).to.equal(100);
      expect(reply.inode.ino).to.equal(ino);
    });

    it("says how far a limited answer goes", async () => {
      await world.write(ino, 30, [
        { offset: 0, length: 10 },
        { offset: 20, length: 10, blockOffset: 10 },
      ]);
      const { extents, covered } = await world.call("getExtents", { ino, offset: 0, length: 100, limit: 1 });
      expect(extents.map((e) => e.offset)).to.deep.equal([0]);
      expect(covered).to.equal(20);
      const rest = await world.call("getExtents", { ino, offset: covered, length: 80, limit: 1 });
      expect([rest.extents[0]!.offset, rest.covered]).to.deep.equal([20, 100]);
    });

    it("refuses numbers that are none", async () => {
      expect(await world.code("getExtents", { ino, offset: 2 ** 60, length: 1 })).to.equal("EINVAL");
      expect(await world.code("getExtents", { ino, offset: 0, length: 2 ** 60 })).to.equal("EINVAL");
    });
  });

  describe("reclaiming", () => {
    it("goes on in bounded steps until everything of a deleted file is gone", async () => {
      const pieces = Array.from({ length: 1_200 }, (_, i) => ({ offset: i * 2, length: 1, blockOffset: i }));
      const block = await world.write(ino, 1_200, pieces);
      await world.call("setXattr", { ino, name: name("user.a"), value: name("v") });
      await world.call("unlink", { dir: ROOT_INO, name: name("f") });
      const first = world.editor.lastIndex;
      world.clock.advance(1_000);
      expect(world.freed()).to.deep.equal([block]);
      expect(world.editor.lastIndex - first).to.equal(3);
      expect([...world.kv.range({ gte: "E", lt: "F" })]).to.deep.equal([]);
      expect([...world.kv.range({ gte: "R", lt: "S" })]).to.deep.equal([]);
      expect([...world.kv.range({ gte: "X", lt: "Y" })]).to.deep.equal([]);
    });

    it("never shows a file with a part of its content", async () => {
      const pieces = Array.from({ length: 1_200 }, (_, i) => ({ offset: i * 2, length: 1, blockOffset: i }));
      await world.write(ino, 1_200, pieces);
      await world.call("unlink", { dir: ROOT_INO, name: name("f") });
      expect(await world.extents(ino)).to.have.length(1_200);
      world.clock.advance(10);
      expect([...world.kv.range({ gte: "E", lt: "F" })]).to.have.length.within(1, 1_199);
      expect(await world.code("getExtents", { ino, length: 1 })).to.equal("ESTALE");
    });
  });

  describe("blocks being written", () => {
    it("get ids that are never given out again, not even after a restart", async () => {
      const request = { session: SESSION, count: 16, replicas: 2, blockSize: 1 << 20, host: "h" };
      const given = new Set<number>();
      for (let i = 0; i < 150; i++) {
        for (const { block, replicas } of (await world.call("allocateBlocks", request)).blocks) {
          given.add(block.id);
          expect(block.generation).to.equal(1);
          expect(replicas.map((r) => r.id)).to.deep.equal([1, 2]);
        }
      }
      expect(given.size).to.equal(2_400);
      const after = await World.open({ journal: world.journal });
      expect(await after.allocate()).to.be.greaterThan(Math.max(...given));
    });

    it("are committed with their newest generation stamp only", async () => {
      const id = await world.allocate();
      const recover = { session: SESSION, block: { id, generation: 1 } };
      const { generation } = await world.call("recoverBlock", recover);
      const next = (await world.call("recoverBlock", recover)).generation;
      expect(generation).to.be.greaterThan(1);
      expect(next).to.be.greaterThan(generation);
      const commit = (stamp: number) => ({
        ino,
        blocks: [{ block: { id, generation: stamp, length: 10 }, datanodes: [1] }],
        extents: [{ length: 10, block: id }],
        replicas: 3,
      });
      expect(await world.code("commit", commit(generation))).to.equal("ESTALE");
      expect(await world.code("commit", commit(next))).to.equal("ok");
      expect(await world.code("recoverBlock", recover)).to.equal("ESTALE");
    });

    it("can be given up", async () => {
      const id = await world.allocate();
      await world.call("abandonBlocks", { session: SESSION, blocks: [id, 12345] });
      expect(world.sessions.isPending(id)).to.equal(false);
    });

    it("are asked for within bounds", async () => {
      const request = { session: SESSION, count: 1, replicas: 2, blockSize: 1 << 20, host: "h" };
      for (const change of [
        { count: 0 },
        { count: 17 },
        { replicas: 0 },
        { blockSize: 1 },
        { host: "h".repeat(256) },
      ]) {
        expect(await world.code("allocateBlocks", { ...request, ...change })).to.equal("EINVAL");
      }
      expect(await world.code("allocateBlocks", { ...request, session: 5 })).to.equal("ENOTCONN");
    });
  });
});
