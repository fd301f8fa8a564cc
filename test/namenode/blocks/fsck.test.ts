import { expect } from "chai";
import fc from "fast-check";
import { readBlock } from "../../../namenode/namespace/records.js";
import { type FsckFile, ReplicaChangeState as State } from "../../../proto/gen/types.js";
import { TestCluster } from "./cluster.js";

const DIR = 0o040755;
const FILE = 0o100644;
const SYMLINK = 0o120777;

/** A namespace made with real edits, in front of simulated datanodes. */
class Tree extends TestCluster {
  #nextIno = 2;
  #nextBlock = 1;

  override committed(id: number) {
    const record = readBlock(this.kv, id);
    return record && { generation: record.generation, length: record.length, wanted: record.replicas };
  }

  make(dir: number, name: string, mode = FILE): number {
    const time = { sec: 1, nsec: 0 };
    const policy = { replicas: 3, blockSize: 64 * 2 ** 20, compression: 0 as const };
    const ino = this.#nextIno++;
    const nlink = mode === DIR ? 2 : 1;
    const inode = { ...{ ino, mode, nlink, policy }, atime: time, mtime: time, ctime: time, parent: dir };
    this.editor.apply({ create: { dir, name: Buffer.from(name, "latin1"), inode } });
    return ino;
  }

  /** Writes `blocks` blocks of 100 bytes, each in `pieces` extents, to the end of a file. */
  write(ino: number, blocks: number, pieces = 1): number[] {
    const ids = Array.from({ length: blocks }, () => this.#nextBlock++);
    const piece = 100 / pieces;
    const at = ids[0]! * 100;
    this.editor.apply({
      commit: {
        ino,
        replicas: 3,
        size: at + blocks * 100,
        mtime: { sec: 1, nsec: 0 },
        blocks: ids.map((id) => ({ block: { id, generation: 1, length: 100 }, datanodes: [1, 2, 3] })),
        extents: ids.flatMap((block, i) =>
          Array.from({ length: pieces }, (_, p) => ({
            // Backwards within the block, so that its pieces do not make one extent.
            ...{ offset: at + i * 100 + p * piece, length: piece, block },
            blockOffset: 100 - (p + 1) * piece,
          })),
        ),
      },
    });
    return ids;
  }

  async all(ino: number, limit: number): Promise<{ files: FsckFile[]; pages: number }> {
    const files: FsckFile[] = [];
    let cursor: Uint8Array = Buffer.alloc(0);
    for (let pages = 1; ; pages++) {
      const reply = await this.fsck({ ino, cursor, limit });
      expect(reply.files.length).to.be.at.most(limit);
      files.push(...reply.files);
      if (reply.cursor.length === 0) return { files, pages };
      cursor = reply.cursor;
    }
  }
}

describe("namenode/blocks: fsck", () => {
  it("gives a file's distinct blocks with their live and corrupt replicas", async () => {
    const c = new Tree();
    const nodes = await c.joinMany(3);
    const ino = c.make(1, "file");
    const [first, second] = c.write(ino, 2, 4);
    await nodes[1]!.report({ id: second!, generation: 1, length: 100 }, 2);
    const { files } = await c.all(ino, 10);
    expect(files).to.have.length(1);
    expect(files[0]).to.deep.include({ ino, size: 300 });
    expect(files[0]!.path.length).to.equal(0);
    expect(files[0]!.policy.replicas).to.equal(3);
    expect(files[0]!.blocks).to.deep.equal([
      {
        block: { id: first, generation: 1, length: 100 },
        live: [1, 2, 3],
        corrupt: [],
        leaving: [],
        resting: [],
        absent: [],
        wanted: 3,
        lost: [],
      },
      {
        block: { id: second, generation: 1, length: 100 },
        live: [1, 3],
        corrupt: [2],
        leaving: [],
        resting: [],
        absent: [],
        wanted: 3,
        lost: [],
      },
    ]);
  });

  it("says which bytes of a file are lost, and with repair has bad replicas verified again", async () => {
    const c = new Tree();
    const nodes = await c.joinMany(3);
    const ino = c.make(1, "file");
    const [, second] = c.write(ino, 2, 2);
    const block = { id: second!, generation: 1, length: 100 };
    for (const node of nodes) {
      node.store(block);
      await node.report(block, State.CORRUPT);
    }
    const [file] = (await c.all(1, 10)).files;
    const lost = file!.blocks.map((b) => b.lost.map(({ offset, length }) => [offset, length]));
    expect(lost).to.deep.equal([
      [],
      [
        [200, 50],
        [250, 50],
      ],
    ]);
    // Its datanodes read it again, and find it well.
    await c.fsck({ ino: 1, limit: 10, repair: true });
    for (const node of nodes) await node.report(block, State.VERIFIED);
    const [again] = (await c.all(1, 10)).files;
    expect(again!.blocks.map((b) => [b.live.length, b.corrupt.length, b.lost.length])).to.deep.equal([
      [3, 0, 0],
      [3, 0, 0],
    ]);
  });

  it("walks any tree completely and in order, whatever the size of the pages", async () => {
    const names = fc.constantFrom("a", "b", "b!", "b0", "\xff", "x y", "z".repeat(255));
    const path = fc.array(names, { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(fc.array(path, { maxLength: 20 }), fc.integer({ min: 1, max: 4 }), async (paths, limit) => {
        const c = new Tree();
        const dirs = new Map([["", 1]]);
        const files = new Set<string>();
        for (const p of paths) {
          let at = "";
          for (const name of p.slice(0, -1)) {
            const next = at === "" ? name : `${at}/${name}`;
            if (files.has(next)) break;
            if (!dirs.has(next)) dirs.set(next, c.make(dirs.get(at)!, name, DIR));
            at = next;
          }
          const file = at === "" ? p.at(-1)! : `${at}/${p.at(-1)}`;
          if (dirs.has(file) || files.has(file)) continue;
          c.make(dirs.get(at)!, p.at(-1)!);
          files.add(file);
        }
        const seen = (await c.all(1, limit)).files.map((f) => f.path.toString("latin1"));
        expect([...seen].sort()).to.deep.equal([...files].sort());
      }),
      { numRuns: 100 },
    );
  });

  it("goes on where a page ended, also when that name is gone, and skips what is no file", async () => {
    const c = new Tree();
    const dir = c.make(1, "dir", DIR);
    for (const name of ["a", "b", "c"]) c.make(dir, name);
    c.make(dir, "bb", SYMLINK);
    c.make(1, "empty", DIR);
    c.make(1, "last");
    const first = await c.fsck({ ino: 1, limit: 2 });
    expect(first.files.map((f) => f.path.toString())).to.deep.equal(["dir/a", "dir/b"]);
    c.editor.apply({ unlink: { dir, name: Buffer.from("b") } });
    const rest = await c.fsck({ ino: 1, limit: 10, cursor: first.cursor });
    expect(rest.files.map((f) => f.path.toString())).to.deep.equal(["dir/c", "last"]);
    expect(rest.cursor.length).to.equal(0);
  });

  it("continues a file in very many pieces on further pages", async () => {
    const c = new Tree();
    await c.joinMany(3);
    c.make(1, "before");
    const ino = c.make(1, "big");
    for (let i = 0; i < 5; i++) c.write(ino, 50, 100);
    c.make(1, "last");
    const { files, pages } = await c.all(1, 100);
    expect(pages).to.equal(2);
    expect(files.map((f) => f.path.toString())).to.deep.equal(["before", "big", "big", "last"]);
    const blocks = files.flatMap((f) => f.blocks.map((b) => b.block.id));
    expect([...new Set(blocks)]).to.have.length(250);
  });

  it("refuses an inode that is not there, and cursors that are none", async () => {
    const c = new Tree();
    const code = (work: Promise<unknown>) =>
      work.then(
        () => "none",
        (err) => err.code,
      );
    expect(await code(c.fsck({ ino: 99 }))).to.equal("ESTALE");
    expect(await code(c.fsck({ ino: 1, cursor: Buffer.from("a\0x") }))).to.equal("EINVAL");
    expect(await code(c.fsck({ ino: 1, cursor: Buffer.alloc(2 * 1024 * 1024) }))).to.equal("E2BIG");
    expect(await code(c.fsck({ ino: 1, cursor: Buffer.from("no/such/place") }))).to.equal("none");
  });
});
