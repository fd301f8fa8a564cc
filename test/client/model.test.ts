import { expect } from "chai";
import fc from "fast-check";
import type { CairnClient, FileContent } from "../../client/contract.js";
import { KIB, MIB } from "../../common/limits.js";
import type { Inode } from "../../proto/gen/types.js";
import { FakeCluster, noise, readAll } from "../support/fake-cluster.js";

const SPAN = 400 * KIB;
const POLICY = { blockSize: 128 * KIB };

type Action =
  | { kind: "write"; at: number; length: number; seed: number }
  | { kind: "append"; length: number; seed: number }
  | { kind: "read"; at: number; length: number }
  | { kind: "truncate"; size: number }
  | { kind: "attributes"; mode: number | undefined; mtime: number | undefined }
  | { kind: "allocate"; at: number; length: number; zero: boolean; keepSize: boolean }
  | { kind: "clone"; at: number; length: number; to: number }
  | { kind: "seek"; at: number; seek: "data" | "hole" }
  | { kind: "flush" | "fsync" | "reopen" | "burst"; seed: number };

const length = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 200 * KIB }));
const seed = fc.nat(1000);
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("write" as const), at: fc.nat(SPAN), length, seed }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("append" as const), length, seed }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("read" as const), at: fc.nat(SPAN), length }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("truncate" as const), size: fc.nat(SPAN) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("attributes" as const),
      mode: fc.option(fc.nat(0o777), { nil: undefined }),
      mtime: fc.option(fc.nat(1_000_000), { nil: undefined }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("allocate" as const),
      at: fc.nat(SPAN),
      length,
      zero: fc.boolean(),
      keepSize: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("clone" as const), at: fc.nat(SPAN), length, to: fc.nat(SPAN) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("seek" as const),
      at: fc.nat(SPAN),
      seek: fc.constantFrom("data" as const, "hole" as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("flush", "fsync", "reopen", "burst"), seed }) },
);

/** What a file on a local disk would hold: its bytes, and for each whether it was written (1) or is of a hole (0). */
class Model {
  data: Buffer = Buffer.alloc(0);
  mode = 0o644;
  /** As it was set; undefined: by a write or truncation since. */
  mtime: number | undefined;
  written: Buffer = Buffer.alloc(0);

  resize(size: number): void {
    const [data, written] = [this.data, this.written];
    this.data = Buffer.alloc(size);
    this.written = Buffer.alloc(size);
    data.copy(this.data);
    written.copy(this.written);
  }

  #reach(size: number): void {
    if (size > this.data.length) this.resize(size);
  }

  write(at: number, bytes: Buffer): void {
    this.#reach(at + bytes.length);
    bytes.copy(this.data, at);
    this.mtime = undefined;
    this.written.fill(1, at, at + bytes.length);
  }

  allocate(at: number, length: number, zero: boolean, keepSize: boolean): void {
    this.mtime = undefined;
    if (!keepSize) this.#reach(at + length);
    if (!zero || at >= this.data.length) return;
    const end = Math.min(at + length, this.data.length);
    this.data.fill(0, at, end);
    this.written.fill(0, at, end);
  }

  /** Copies a range over another that it does not overlap; returns the bytes copied. */
  clone(at: number, length: number, to: number): number {
    const copied = Math.max(0, Math.min(length, this.data.length - at));
    if (copied === 0) return 0;
    this.mtime = undefined;
    this.#reach(to + copied);
    this.data.copy(this.data, to, at, at + copied);
    this.written.copy(this.written, to, at, at + copied);
    return copied;
  }

  /** -1 for ENXIO. */
  seek(at: number, kind: "data" | "hole"): number {
    if (at >= this.data.length) return -1;
    const found = this.written.indexOf(kind === "data" ? 1 : 0, at);
    return found < 0 && kind === "hole" ? this.data.length : found;
  }
}

/** Sets attributes as a mount does: with what is unflushed, else at the namenode. */
async function setAttributes(
  client: CairnClient,
  content: FileContent,
  { mode, mtime }: { mode: number | undefined; mtime: number | undefined },
) {
  const change = {
    ...(mode !== undefined && { mode }),
    ...(mtime !== undefined && { mtime: { sec: mtime, nsec: 1 } }),
  };
  if (!content.setAttributes(change)) await client.meta.setAttributes(content.ino, change);
}

function check({ mode, mtime }: Inode, model: Model): void {
  expect(mode & 0o7777).to.equal(model.mode);
  if (model.mtime !== undefined) expect(mtime).to.deep.equal({ sec: model.mtime, nsec: 1 });
  else expect(mtime.nsec === 1 && mtime.sec > 0, "a modification time from before the last write").to.equal(false);
}

async function play(cluster: FakeCluster, client: CairnClient, actions: readonly Action[], compression: 0 | 1) {
  const { content: first, inode } = await cluster.file(client, { ...POLICY, compression });
  let content = first;
  const model = new Model();
  for (const act of actions) {
    switch (act.kind) {
      case "write":
      case "append": {
        const at = act.kind === "write" ? act.at : undefined;
        const bytes = act.seed % 2 ? noise(act.length, act.seed) : Buffer.alloc(act.length, act.seed);
        await content.write(at, bytes);
        model.write(at ?? model.data.length, bytes);
        break;
      }
      case "burst": {
        // Many at once: they count in the order of the calls.
        const writes = Array.from({ length: 10 }, (_, i) => ({
          at: (act.seed * (i + 7) * 997) % SPAN,
          bytes: noise(1 + ((act.seed * i * 31) % 5_000), act.seed + i),
        }));
        await Promise.all(writes.map(({ at, bytes }) => content.write(at, bytes)));
        for (const { at, bytes } of writes) model.write(at, bytes);
        break;
      }
      case "read": {
        const target = Buffer.alloc(act.length, 0xee);
        const read = await content.read(act.at, target);
        const expected = model.data.subarray(act.at, act.at + act.length);
        expect(read).to.equal(expected.length);
        expect(target.subarray(0, read).equals(expected), `read of ${act.length} at ${act.at}`).to.equal(true);
        break;
      }
      case "truncate":
        expect((await content.truncate(act.size)).size).to.equal(act.size);
        model.resize(act.size);
        model.mtime = undefined;
        break;
      case "attributes":
        await setAttributes(client, content, act);
        model.mode = act.mode ?? model.mode;
        model.mtime = act.mtime ?? model.mtime;
        check(content.attributes(cluster.namenode.inode(inode.ino)), model);
        break;
      case "allocate": {
        const { at, length, zero, keepSize } = act;
        await content.allocate(at, length, { zero, keepSize });
        model.allocate(at, length, zero, keepSize);
        break;
      }
      case "clone": {
        const { at, length, to } = act;
        if (Math.abs(at - to) < length) break; // refused by the namenode
        expect((await content.copyFrom(content, at, to, length)).copied).to.equal(model.clone(at, length, to));
        break;
      }
      case "seek": {
        const found = await content.seek(act.at, act.seek).catch((err: { code: string }) => err.code);
        const expected = model.seek(act.at, act.seek);
        expect(found, `${act.seek} at ${act.at}`).to.equal(expected < 0 ? "ENXIO" : expected);
        break;
      }
      case "flush":
        await content.flush();
        break;
      case "fsync":
        await content.fsync();
        break;
      case "reopen":
        await content.close();
        content = client.open(await client.meta.getInode(inode.ino));
        break;
    }
    expect(content.size).to.equal(model.data.length);
  }
  expect((await readAll(content)).equals(model.data), "the whole file").to.equal(true);
  check(content.attributes(cluster.namenode.inode(inode.ino)), model);
  await content.close();
  check(cluster.namenode.inode(inode.ino), model);
  expect((await cluster.readBack(inode)).equals(model.data), "the whole file, as others see it").to.equal(true);
}

describe("the content of a file", () => {
  let cluster: FakeCluster;
  before(async () => {
    cluster = await FakeCluster.start(2);
  });
  after(() => cluster.stop());

  for (const inlineBytes of [0, 16 * KIB]) {
    it(`is what a buffer would be, whatever is done to it, with blocks of ${inlineBytes} bytes inline`, async function () {
      this.timeout(60_000);
      cluster.namenode.inlineBytes = inlineBytes;
      await run();
    });
  }

  async function run(): Promise<void> {
    const client = await cluster.client({ writeMemory: 2 * MIB, readMemory: 256 * KIB });
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 40 }), fc.constantFrom(0 as const, 1 as const), (actions, how) =>
        play(cluster, client, actions, how),
      ),
      { numRuns: 60, interruptAfterTimeLimit: 8_000, markInterruptAsFailure: false },
    );
  }
});
