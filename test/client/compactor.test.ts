import { expect } from "chai";
import fc from "fast-check";
import { MIN_SAVED } from "../../client/compaction-plan.js";
import type { CairnClient, FileContent } from "../../client/contract.js";
import { KIB, MIB } from "../../common/limits.js";
import type { CommitRequest } from "../../proto/gen/types.js";
import { FakeCluster, noise, readAll } from "../support/fake-cluster.js";
import { FastClock } from "../support/fast-clock.js";
import { until } from "../support/until.js";

const POLICY = { blockSize: 256 * KIB };
const WAIT = { timeoutMs: 60_000 };

describe("compaction", function () {
  this.timeout(120_000);
  let cluster: FakeCluster;
  let client: CairnClient;
  beforeEach(async () => {
    cluster = await FakeCluster.start(2);
    // Its seconds last 50 ms. So do its patience and deadlines, which are lengthened.
    client = await cluster.client({ clock: new FastClock(20), startPatienceMs: 600_000, readPatienceMs: 600_000 });
  });
  afterEach(() => cluster.stop());

  /** Writes `count` pieces of a file last to first, each with a commit. */
  async function scatter(content: FileContent, model: Buffer, count: number): Promise<void> {
    const length = Math.floor(model.length / count);
    for (let i = count - 1; i >= 0; i--) {
      const data = noise(length, i + 1);
      await content.write(i * length, data);
      data.copy(model, i * length);
      await content.flush();
    }
  }

  it("makes few pieces of many, of the same bytes, at the same time of the last change", async () => {
    const { content, inode } = await cluster.file(client, POLICY);
    const model = Buffer.alloc(150 * KIB);
    await scatter(content, model, 150);
    const { mtime } = cluster.namenode.inode(inode.ino);
    await until(() => cluster.namenode.pieces(inode.ino) === 1, { ...WAIT, what: "one piece" });
    expect((await readAll(content)).equals(model)).to.equal(true);
    expect((await cluster.readBack(inode)).equals(model)).to.equal(true);
    expect(cluster.namenode.inode(inode.ino).mtime).to.deep.equal(mtime);
    await content.write(10, noise(5, 3));
    noise(5, 3).copy(model, 10);
    await content.close();
    expect((await cluster.readBack(inode)).equals(model)).to.equal(true);
  });

  it("has its block on the platters before it takes the place of others", async () => {
    const { content, inode } = await cluster.file(client, POLICY);
    await scatter(content, Buffer.alloc(100 * KIB), 100);
    await until(() => cluster.namenode.compactions > 0, { ...WAIT, what: "a compaction" });
    const [block] = cluster.namenode.commits.at(-1)!.blocks;
    for (const datanode of cluster.datanodes)
      expect(datanode.replicas.get(block!)?.synced, `block ${block}`).to.equal(true);
    expect(cluster.namenode.pieces(inode.ino)).to.equal(1);
  });

  it("leaves alone what somebody else has written to meanwhile, and gives its block back", async () => {
    const { content, inode } = await cluster.file(client, POLICY);
    const { namenode } = cluster;
    let given: number | undefined;
    namenode.before = (_method, request) => {
      const { replaces, blocks } = request as Partial<CommitRequest>;
      if (!replaces?.length) return;
      given = blocks![0]!.block.id;
      const [any] = [...namenode.blocks.values()];
      namenode.replace(inode.ino, 0, 10, { ...any!.block, id: namenode.newBlockId() }, any!.datanodes);
    };
    await scatter(content, Buffer.alloc(100 * KIB), 100);
    await until(() => given !== undefined && namenode.abandoned.includes(given), { ...WAIT, what: "the block back" });
    expect(namenode.compactions).to.equal(0);
    expect(namenode.pieces(inode.ino)).to.be.at.least(64);
  });

  it("gives up a file that is gone, and goes on with others", async () => {
    const { content, inode } = await cluster.file(client, POLICY);
    const other = await cluster.file(client, POLICY);
    await scatter(content, Buffer.alloc(100 * KIB), 100);
    cluster.namenode.forget(inode.ino);
    await scatter(other.content, Buffer.alloc(100 * KIB), 100);
    await until(() => cluster.namenode.pieces(other.inode.ino) === 1, { ...WAIT, what: "the other file" });
  });

  it("is no business of files in a few pieces", async () => {
    const { content, inode } = await cluster.file(client, POLICY);
    await scatter(content, Buffer.alloc(30 * KIB), MIN_SAVED - 1);
    const busy = await cluster.file(client, POLICY);
    await scatter(busy.content, Buffer.alloc(100 * KIB), 100);
    await until(() => cluster.namenode.pieces(busy.inode.ino) === 1, { ...WAIT, what: "the other file" });
    expect(cluster.namenode.pieces(inode.ino)).to.equal(MIN_SAVED - 1);
  });

  it("never shows, whatever is written, cut, punched and read meanwhile", async () => {
    const SPAN = 200 * KIB;
    const seed = fc.nat(1000);
    const at = fc.nat(SPAN);
    const action = fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fc.constant("scatter" as const), at, seed }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("write" as const), at, seed }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("truncate" as const, "punch" as const), at, seed }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("read" as const, "wait" as const), at, seed }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 25 }), async (actions) => {
        const { content, inode } = await cluster.file(client, { blockSize: MIB });
        let model = Buffer.alloc(0);
        const resize = (size: number) => {
          const old = model;
          model = Buffer.alloc(size);
          old.copy(model);
        };
        const write = async (offset: number, data: Buffer) => {
          if (offset + data.length > model.length) resize(offset + data.length);
          data.copy(model, offset);
          await content.write(offset, data);
        };
        for (const { kind, at, seed } of actions) {
          if (kind === "scatter") {
            for (let i = 60; i > 0; i--)
              await write(Math.floor(at / 2) + i * 1500, noise(1000 + (seed % 600), seed + i));
            await content.flush();
          } else if (kind === "write") await write(at, noise(1 + seed * 20, seed));
          else if (kind === "truncate") {
            await content.truncate(at);
            resize(at);
          } else if (kind === "punch") {
            await content.allocate(at, 1 + seed * 50, { zero: true, keepSize: true });
            if (at < model.length) model.fill(0, at, Math.min(model.length, at + 1 + seed * 50));
          } else if (kind === "read")
            expect((await readAll(content)).equals(model), "while it is written").to.equal(true);
          else {
            const before = cluster.namenode.compactions;
            await until(() => cluster.namenode.compactions > before, { timeoutMs: 100, what: "" }).catch(
              () => undefined,
            );
          }
        }
        expect((await readAll(content)).equals(model)).to.equal(true);
        await content.close();
        expect((await cluster.readBack(inode)).equals(model), "as others see it").to.equal(true);
      }),
      { numRuns: 12, seed: 11, interruptAfterTimeLimit: 30_000, markInterruptAsFailure: false },
    );
    await until(() => cluster.namenode.compactions > 0, { ...WAIT, what: "a compaction at all" });
  });
});
