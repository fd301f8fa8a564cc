import { expect } from "chai";
import fc from "fast-check";
import { INLINE_BLOCKS } from "../../../common/limits.js";
import { within } from "../../../namenode/namespace/extents.js";
import {
  blocksWithin,
  extentsOf,
  idOfBlock,
  inlineKey,
  keyOfVersion,
  readU64,
  VERSIONS,
} from "../../../namenode/namespace/keys.js";
import { extentOf, readCluster, readInline } from "../../../namenode/namespace/records.js";
import { S_IFDIR, S_IFREG } from "../../../namenode/namespace/types.js";
import { BlockRecord, VersionRecord } from "../../../proto/gen/types.js";
import { encodeInline, isInline } from "../../../proto/inline.js";
import { Model, type Node } from "./model.js";
import { name, type World } from "./world.js";

/** Length of every block, and about the largest file, bytes: small, so that extents often meet. */
const BLOCK = 24;
const FILE = 64;
/** Greater than the id of any block. */
const ALL = Number.MAX_SAFE_INTEGER;
/** What an inline block holds. */
const bytesOf = (id: number): Buffer => Buffer.alloc(BLOCK, id % 251);

const nat = fc.nat(1000);
const text = fc.constantFrom("a", "b", "c");
const piece = fc.record({
  offset: fc.nat(FILE - BLOCK),
  length: fc.integer({ min: 1, max: BLOCK }),
  blockOffset: fc.nat(BLOCK - 1),
  /** Which of the commit's blocks; or a block committed before. */
  which: nat,
  old: fc.boolean(),
});
/** Any operation on names or content; what it is done to is picked by numbers from what there is. */
export const op = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant("create" as const), dir: nat, name: text, directory: fc.boolean() }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant("commit" as const),
      file: nat,
      blocks: fc.nat(2),
      inline: fc.nat(2),
      pieces: fc.array(piece, { maxLength: 6 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("truncate" as const), file: nat, size: fc.nat(FILE) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant("fallocate" as const),
      file: nat,
      offset: fc.nat(FILE),
      length: fc.integer({ min: 1, max: FILE }),
      zero: fc.boolean(),
      keepSize: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant("compact" as const), file: nat, from: fc.nat(FILE), length: fc.nat(FILE) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant("clone" as const),
      source: nat,
      from: fc.nat(FILE),
      file: nat,
      offset: fc.nat(FILE),
      length: fc.integer({ min: 1, max: FILE }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant("unlink" as const), dir: nat, name: text, directory: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("link" as const), file: nat, dir: nat, name: text }) },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant("rename" as const),
      from: nat,
      a: text,
      to: nat,
      b: text,
      how: fc.constantFrom("" as const, "noReplace" as const, "exchange" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("retry" as const) }) },
);
/** One of them. */
export type Op = typeof op extends fc.Arbitrary<infer T> ? T : never;

/** Drives the namenode and the model with the same operations. */
export class Both {
  readonly world: World;
  readonly model = new Model();
  /** The last change, to be repeated. */
  #last: (() => Promise<unknown>) | undefined;

  constructor(world: World) {
    this.world = world;
  }

  async run(o: Op): Promise<void> {
    const { model } = this;
    const pick = (nodes: Node[], n: number) => nodes[n % nodes.length];
    switch (o.op) {
      case "create": {
        const dir = pick(model.dirs, o.dir)!;
        const expected = model.mayCreate(dir, o.name);
        const mode = (o.directory ? S_IFDIR : S_IFREG) | 0o700;
        const reply = await this.#change("create", { dir: dir.ino, name: name(o.name), mode }, expected);
        if (reply) model.create(dir, o.name, o.directory, (reply as { inode: { ino: number } }).inode.ino);
        return;
      }
      case "commit": {
        const file = pick(model.files, o.file);
        if (file !== undefined) await this.#commit(file, o);
        return;
      }
      case "truncate": {
        const file = pick(model.files, o.file);
        if (file === undefined) return;
        model.truncate(file, o.size);
        await this.#change("setAttributes", { ino: file.ino, size: o.size }, "ok");
        return;
      }
      case "fallocate": {
        const file = pick(model.files, o.file);
        if (file === undefined) return;
        const { offset, length, zero, keepSize } = o;
        model.fallocate(file, offset, length, zero, keepSize);
        await this.#change("fallocate", { ino: file.ino, offset, length, zero, keepSize }, "ok");
        return;
      }
      case "compact": {
        const file = pick(model.files, o.file);
        if (file !== undefined) await this.#compact(file, o.from, o.length);
        return;
      }
      case "clone": {
        const [source, file] = [pick(model.files, o.source), pick(model.files, o.file)];
        if (source === undefined || file === undefined) return;
        const { from, offset, length } = o;
        const expected = model.clone(source, from, file, offset, length);
        const request = { source: source.ino, sourceOffset: from, ino: file.ino, offset, length };
        await this.#change("clone", request, expected);
        return;
      }
      case "unlink": {
        const dir = pick(model.dirs, o.dir)!;
        const expected = model.unlink(dir, o.name, o.directory);
        await this.#change("unlink", { dir: dir.ino, name: name(o.name), directory: o.directory }, expected);
        return;
      }
      case "link": {
        const file = pick(model.files, o.file);
        if (file === undefined) return;
        const dir = pick(model.dirs, o.dir)!;
        const expected = model.link(file, dir, o.name);
        await this.#change("link", { ino: file.ino, dir: dir.ino, name: name(o.name) }, expected);
        return;
      }
      case "rename": {
        const from = pick(model.dirs, o.from)!;
        const to = pick(model.dirs, o.to)!;
        const expected = model.rename(from, o.a, to, o.b, o.how);
        const names = { fromDir: from.ino, fromName: name(o.a), toDir: to.ino, toName: name(o.b) };
        await this.#change("rename", { ...names, ...(o.how && { [o.how]: true }) }, expected);
        return;
      }
      case "retry":
        await this.#last?.();
    }
  }

  /** What was removed is reclaimed: it can be used no more. */
  reclaimed(): void {
    this.#last = undefined;
    for (const nodes of [this.model.dirs, this.model.files])
      for (let i = nodes.length; i-- > 0; ) if (nodes[i]!.nlink === 0) nodes.splice(i, 1);
  }

  async #change<K extends "create" | "commit" | "setAttributes" | "fallocate" | "clone" | "unlink" | "link" | "rename">(
    key: K,
    request: object,
    expected: string,
  ): Promise<unknown> {
    const full = { ...request, call: this.world.nextCall() } as never;
    if (expected !== "ok") {
      expect(await this.world.code(key, full), `${key} ${JSON.stringify(request)}`).to.equal(expected);
      return undefined;
    }
    this.#last = () => this.world.call(key, full);
    return this.#last();
  }

  async #commit(file: Node, commit: Extract<Op, { op: "commit" }>) {
    const { pieces } = commit;
    const committed = Array.from(this.world.kv.range(blocksWithin(0, ALL)), ([key]) => idOfBlock(key));
    const fresh: number[] = [];
    for (let i = 0; i < commit.blocks; i++) fresh.push(await this.world.allocate());
    const blocks = fresh.map((id) => ({ block: { id, generation: 1, length: BLOCK }, datanodes: [1] }));
    const first = INLINE_BLOCKS + readCluster(this.world.kv).inlineBlocks;
    const inline = Array.from({ length: commit.inline }, (_, i) => encodeInline(ALL - i, bytesOf(first + i)));
    const given = new Map(inline.map(({ id }, i) => [id, first + i]));
    fresh.push(...given.keys());
    const extents = [];
    for (const { offset, length, blockOffset, which, old } of pieces) {
      const from = old ? committed : fresh;
      if (from.length === 0) continue;
      const block = from[which % from.length]!;
      extents.push({ offset, length: Math.min(length, BLOCK - blockOffset), block, blockOffset });
    }
    this.model.write(
      file,
      extents.map((e) => ({ ...e, block: given.get(e.block) ?? e.block })),
    );
    await this.#change("commit", { ino: file.ino, blocks, inline, extents, replicas: 3 }, "ok");
  }

  /** Puts what a range of a file has into one block. */
  async #compact(file: Node, from: number, length: number): Promise<void> {
    const { kv } = this.world;
    const replaces = [...within(kv, file.ino, from, from + length)];
    if (replaces.length === 0) return;
    const block = await this.world.allocate();
    let blockOffset = 0;
    const extents = replaces.map((piece) => {
      blockOffset += piece.length;
      return { offset: piece.offset, length: piece.length, block, blockOffset: blockOffset - piece.length };
    });
    const blocks = [{ block: { id: block, generation: 1, length: Math.max(BLOCK, blockOffset) }, datanodes: [1] }];
    this.model.write(file, extents);
    await this.#change("commit", { ino: file.ino, blocks, extents, replaces, replicas: 3 }, "ok");
  }

  /** Compares everything that can be seen, and what must hold within. */
  async compare(): Promise<void> {
    const { kv } = this.world;
    for (const dir of this.model.dirs) {
      const inode = await this.world.inode(dir.ino);
      expect([inode.nlink, inode.size]).to.deep.equal([dir.nlink, dir.entries!.size]);
      if (dir.parent !== undefined && dir.nlink > 0) expect(inode.parent).to.equal(dir.parent.ino);
      const { entries } = await this.world.call("readDirectory", { dir: dir.ino });
      const wanted = [...dir.entries!].map(([key, node]) => [key, node.ino]).sort();
      expect(entries.map((e) => [e.name.toString(), e.inode.ino])).to.deep.equal(wanted);
    }
    const references = new Map<number, { extents: number; live: number }>();
    for (const file of this.model.files) {
      const inode = await this.world.inode(file.ino);
      expect([inode.nlink, inode.size]).to.deep.equal([file.nlink, file.content.length]);
      const content: Node["content"] = Array(file.content.length).fill(undefined);
      let allocated = 0;
      let last = { end: 0, block: 0, blockEnd: 0 };
      for (const [key, value] of kv.range(extentsOf(file.ino))) {
        const { offset, length, block, blockOffset } = extentOf(key, value);
        expect(offset).to.be.at.least(last.end);
        const continues = offset === last.end && block === last.block && blockOffset === last.blockEnd;
        expect(continues, "neighbours that continue each other are one extent").to.equal(false);
        last = { end: offset + length, block, blockEnd: blockOffset + length };
        for (let i = 0; i < length; i++) content[offset + i] = [block, blockOffset + i];
        allocated += length;
        const seen = references.get(block) ?? { extents: 0, live: 0 };
        references.set(block, { extents: seen.extents + 1, live: seen.live + length });
      }
      expect(content).to.deep.equal(file.content);
      expect(inode.allocated).to.equal(allocated);
    }
    for (const [key, value] of kv.range(VERSIONS)) {
      const { absent, value: bytes } = VersionRecord.decode(value);
      const of = keyOfVersion(key);
      if (absent || of[0] !== "E") continue;
      const { block, length } = extentOf(of, bytes);
      const seen = references.get(block) ?? { extents: 0, live: 0 };
      references.set(block, { extents: seen.extents + 1, live: seen.live + length });
    }
    const records = Array.from(kv.range(blocksWithin(0, ALL)), ([key, value]) => {
      const { extents, live } = BlockRecord.decode(value);
      return [idOfBlock(key), { extents, live }] as const;
    });
    expect(new Map(records)).to.deep.equal(references);
    const known = new Set<number>();
    for (const { committed = [], freed = [] } of this.world.effects) {
      for (const { block } of committed) known.add(block.block.id);
      for (const { id } of freed) known.delete(id);
    }
    const used = [...references.keys()].sort((a, b) => a - b);
    expect([...known].sort((a, b) => a - b)).to.deep.equal(used.filter((id) => !isInline(id)));
    const inline = Array.from(kv.range({ gte: inlineKey(0), lt: inlineKey(ALL) }), ([key]) => readU64(key, 1));
    expect(inline).to.deep.equal(used.filter(isInline));
    for (const id of inline) expect(readInline(kv, id)?.data).to.deep.equal(bytesOf(id));
    const alive = (nodes: Node[]) => nodes.filter((n) => n.nlink > 0).length;
    const { files, directories, blocks } = readCluster(kv);
    expect({ files, directories, blocks }).to.deep.equal({
      files: alive(this.model.files),
      directories: alive(this.model.dirs),
      blocks: used.filter((id) => !isInline(id)).length,
    });
  }
}
