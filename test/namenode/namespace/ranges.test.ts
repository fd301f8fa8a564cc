import { expect } from "chai";
import { MAX_FILE_SIZE, ROOT_INO } from "../../../common/limits.js";
import { MAX_CLONE_EXTENTS } from "../../../namenode/namespace/operations/ranges.js";
import { readBlock } from "../../../namenode/namespace/records.js";
import { World } from "./world.js";

describe("ranges of files", () => {
  let world: World;
  let ino: number;
  beforeEach(async () => {
    world = await World.open();
    ino = (await world.mkfile(ROOT_INO, "f")).ino;
  });
  const block = (id: number) => readBlock(world.kv, id);

  describe("fallocate", () => {
    it("makes a range a hole, trimming at both ends, and sets mtime and ctime", async () => {
      const a = await world.write(ino, 100);
      world.clock.advance(3_000);
      const request = { ino, offset: 20, length: 30, zero: true, keepSize: true };
      const { inode } = await world.call("fallocate", request);
      expect(inode).to.include({ size: 100, allocated: 70 });
      expect([inode.mtime.sec, inode.ctime.sec]).to.deep.equal([3, 3]);
      expect(await world.extents(ino)).to.deep.equal([
        [0, 20, a, 0],
        [50, 50, a, 50],
      ]);
      expect(block(a)).to.include({ extents: 2, live: 70 });
    });

    it("frees a block of which nothing is left", async () => {
      const a = await world.write(ino, 100);
      await world.call("fallocate", { ino, length: 1000, zero: true, keepSize: true });
      expect(world.freed()).to.deep.equal([a]);
      expect(await world.inode(ino)).to.include({ size: 100, allocated: 0 });
    });

    it("makes the file longer unless the size is to be kept", async () => {
      await world.write(ino, 10);
      expect((await world.call("fallocate", { ino, offset: 5, length: 20, keepSize: true })).inode.size).to.equal(10);
      expect((await world.call("fallocate", { ino, offset: 5, length: 20 })).inode).to.include({
        size: 25,
        allocated: 10,
      });
      const zeroed = await world.call("fallocate", { ino, offset: 8, length: 22, zero: true });
      expect(zeroed.inode).to.include({ size: 30, allocated: 8 });
    });

    it("says at once when there is no room, but for what frees space or is there already", async () => {
      // The datanodes have 200 bytes left, and every byte takes three.
      expect(await world.code("fallocate", { ino, length: 67 })).to.equal("ENOSPC");
      expect(await world.code("fallocate", { ino, length: 66 })).to.equal("ok");
      expect(await world.code("fallocate", { ino, length: 1000, zero: true, keepSize: true })).to.equal("ok");
      await world.write(ino, 50);
      expect(await world.code("fallocate", { ino, length: 116 })).to.equal("ok");
    });

    it("refuses what is no range of a file", async () => {
      expect(await world.code("fallocate", { ino, length: 0 })).to.equal("EINVAL");
      expect(await world.code("fallocate", { ino, offset: MAX_FILE_SIZE, length: 1, zero: true })).to.equal("EFBIG");
      expect(await world.code("fallocate", { ino: ROOT_INO, length: 1 })).to.equal("EISDIR");
      expect(await world.code("fallocate", { ino: 999, length: 1 })).to.equal("ESTALE");
    });
  });

  describe("clone", () => {
    it("has another file refer to the same blocks, holes included", async () => {
      const a = await world.write(ino, 100, [
        { offset: 0, length: 40 },
        { offset: 60, length: 40, blockOffset: 40 },
      ]);
      const other = await world.mkfile(ROOT_INO, "g");
      const old = await world.write(other.ino, 50);
      world.clock.advance(5_000);
      const request = { source: ino, sourceOffset: 30, ino: other.ino, offset: 10, length: 1000 };
      const { inode, copied } = await world.call("clone", request);
      expect(copied).to.equal(70);
      expect(inode).to.include({ size: 80, allocated: 60 });
      expect([inode.mtime.sec, inode.ctime.sec]).to.deep.equal([5, 5]);
      expect(await world.extents(other.ino)).to.deep.equal([
        [0, 10, old, 0],
        [10, 10, a, 30],
        [40, 40, a, 40],
      ]);
      expect(block(a)).to.include({ extents: 4, live: 130 });
      expect(await world.extents(ino)).to.have.length(2);
    });

    it("copies within a file, unless the ranges overlap", async () => {
      const a = await world.write(ino, 100);
      const ranges = { source: ino, ino, sourceOffset: 10, length: 50 };
      for (const offset of [10, 59, 0]) {
        expect(await world.code("clone", { ...ranges, offset }), `${offset}`).to.equal("EINVAL");
      }
      await world.call("clone", { ...ranges, offset: 60 });
      expect(await world.extents(ino)).to.deep.equal([
        [0, 60, a, 0],
        [60, 50, a, 10],
      ]);
    });

    it("stops after so many extents, and goes on when asked again; a retry is answered as the first try", async () => {
      const count = MAX_CLONE_EXTENTS + 10;
      const pieces = Array.from({ length: count }, (_, i) => ({ offset: i * 2, length: 1, blockOffset: i }));
      const { ino: other } = await world.mkfile(ROOT_INO, "g");
      await world.write(ino, count, pieces);
      const first = { call: world.nextCall(), source: ino, ino: other, length: 2 * count };
      const { copied } = await world.call("clone", first);
      expect(copied).to.equal(2 * MAX_CLONE_EXTENTS);
      expect((await world.call("clone", first)).copied).to.equal(copied);
      const rest = { source: ino, sourceOffset: copied, ino: other, offset: copied, length: 2 * count };
      expect((await world.call("clone", rest)).copied).to.equal(19);
      expect((await world.inode(other)).allocated).to.equal(count);
    });

    it("copies nothing from beyond the end", async () => {
      await world.write(ino, 10);
      const { ino: other } = await world.mkfile(ROOT_INO, "g");
      const { copied, inode } = await world.call("clone", { source: ino, sourceOffset: 10, ino: other, length: 5 });
      expect([copied, inode.size]).to.deep.equal([0, 0]);
    });

    it("wants as many replicas of a shared block as the most careful of its users", async () => {
      const a = await world.write(ino, 100);
      const { ino: other } = await world.mkfile(ROOT_INO, "g");
      await world.call("setAttributes", { ino: other, policy: { replicas: 5 } });
      await world.call("clone", { source: ino, ino: other, length: 100 });
      expect(block(a)!.replicas).to.equal(5);
      expect(world.effects.at(-1)!.wanted).to.have.length(1);
      await world.call("setAttributes", { ino, policy: { replicas: 2 } });
      expect(block(a)!.replicas, "somebody else has it").to.equal(5);
      await world.call("fallocate", { ino, length: 100, zero: true, keepSize: true });
      await world.call("setAttributes", { ino: other, policy: { replicas: 2 } });
      expect(block(a)!.replicas).to.equal(2);
    });

    it("keeps a block while one of its users lives", async () => {
      const a = await world.write(ino, 100);
      const { ino: other } = await world.mkfile(ROOT_INO, "g");
      await world.call("clone", { source: ino, ino: other, length: 100 });
      await world.call("setAttributes", { ino, size: 0 });
      expect(world.freed()).to.deep.equal([]);
      await world.call("setAttributes", { ino: other, size: 0 });
      expect(world.freed()).to.deep.equal([a]);
    });
  });
});
