import { constants } from "node:fs";
import { expect } from "chai";
import { codeOf } from "../../../common/errors.js";
import { ROOT_INO } from "../../../common/limits.js";
import { LAST_BYTE, type LockKind } from "../../../common/lock.js";
import { silentLogger } from "../../../common/log.js";
import { FileSystem } from "../../../fuse/core.js";
import type { LockAsked } from "../../../fuse/locks.js";
import { MemoryClient } from "../../support/memory-client.js";

const me = { uid: 0, gid: 0, pid: 1 };
const { O_RDWR, O_RDONLY } = constants;

describe("fuse core: locks", () => {
  let client: MemoryClient;
  let fs: FileSystem;
  let ino: number;
  beforeEach(async () => {
    client = new MemoryClient();
    fs = new FileSystem({ client, kernelMs: 1000, log: silentLogger });
    ({ ino } = await fs.mknod(ROOT_INO, Buffer.from("f"), 0o644, 0, me));
  });

  const open = async (flags = O_RDWR) => (await fs.open(ino, flags, me)).handle;
  const asked = (owner: number, kind: LockKind | undefined, more: Partial<LockAsked> = {}): LockAsked => {
    return { space: "range", owner: BigInt(owner), kind, first: 0n, last: LAST_BYTE, pid: owner, ...more };
  };
  const set = (handle: number, lock: LockAsked, wait = false) =>
    fs.setlk(handle, lock, { wait, signal: new AbortController().signal }, me).then(() => "locked", codeOf);

  it("end for a process with its first close of the file, whichever descriptor that was", async () => {
    const [one, two] = [await open(), await open(O_RDONLY)];
    await set(one, asked(5, "exclusive", { last: 9n }));
    await set(one, asked(6, "exclusive", { first: 10n }));
    await fs.flush(two, me, 7n);
    expect(client.locks.count).to.equal(2);
    await fs.flush(two, me, 5n);
    expect(client.locks.count).to.equal(1);
    expect(await set(two, asked(8, "shared", { last: 9n }))).to.equal("locked");
  });

  it("end with the file where nobody says who closes it: flocks, and those the kernel does not tell of", async () => {
    const [one, two] = [await open(), await open(O_RDONLY)];
    await set(one, asked(1, "exclusive", { space: "whole" }));
    await set(two, asked(5, "shared"));
    expect(await set(two, asked(2, "shared", { space: "whole" }))).to.equal("EAGAIN");
    await fs.release(one);
    expect(await set(two, asked(2, "shared", { space: "whole" }))).to.equal("locked");
    await fs.release(two);
    expect(client.locks.count).to.equal(0);
  });

  it("stay while another handle of their owner is open", async () => {
    const [one, two] = [await open(), await open()];
    await set(one, asked(5, "shared", { last: 9n }));
    await set(two, asked(5, "shared", { first: 20n }));
    await fs.release(one);
    expect(client.locks.count).to.equal(2);
    await fs.release(two);
    expect(client.locks.count).to.equal(0);
  });

  it("are given up after what was written is committed", async () => {
    const handle = await open();
    await set(handle, asked(5, "exclusive"));
    await fs.write(handle, 0, Buffer.from("12345"), me);
    await set(handle, asked(5, undefined));
    expect((await client.meta.getInode(ino)).size).to.equal(5);
    await set(handle, asked(5, "exclusive"));
    await fs.write(handle, 0, Buffer.from("123456"), me);
    await set(handle, asked(5, "shared"));
    expect((await client.meta.getInode(ino)).size).to.equal(6);
  });

  it("say who is in the way, and wait in turn", async () => {
    const [one, two] = [await open(), await open()];
    await set(one, asked(5, "exclusive", { first: 3n, last: 4n }));
    const blocker = await fs.getlk(two, { ...asked(6, "shared"), kind: "shared" }, me);
    expect(blocker).to.deep.include({ first: 3n, last: 4n, kind: "exclusive", pid: 5 });
    const waiting = set(two, asked(6, "shared"), true);
    await set(one, asked(5, undefined));
    expect(await waiting).to.equal("locked");
    expect(await fs.getlk(two, { ...asked(6, "shared"), kind: "shared" }, me)).to.equal(undefined);
  });

  it("work on a file that has no name left", async () => {
    const handle = await open();
    await fs.unlink(ROOT_INO, Buffer.from("f"), me);
    expect(await set(handle, asked(5, "exclusive"))).to.equal("locked");
    expect(await set(handle, asked(6, "exclusive"))).to.equal("EAGAIN");
    expect(await set(handle, asked(5, undefined))).to.equal("locked");
    expect(client.locks.count).to.equal(0);
  });

  it("make a handle useless when they are lost, until the file is opened again", async () => {
    const [one, two] = [await open(), await open()];
    await set(one, asked(5, "exclusive"));
    client.locks.lose([{ ino, space: "range", owner: 5n, exclusive: true }]);
    const code = (act: Promise<unknown>) => act.then(() => "ok", codeOf);
    expect(await code(fs.read(one, 0, Buffer.alloc(1), me))).to.equal("EIO");
    expect(await code(fs.write(one, 0, Buffer.alloc(1), me))).to.equal("EIO");
    expect(await code(fs.fsync(one, me))).to.equal("EIO");
    expect(await set(one, asked(5, "shared"))).to.equal("EIO");
    expect(await set(one, asked(5, undefined))).to.equal("locked");
    expect(await code(fs.flush(one, me, 5n))).to.equal("EIO");
    expect(await code(fs.write(two, 0, Buffer.alloc(1), me))).to.equal("ok");
    await fs.release(one);
    expect(await code(fs.read(await open(), 0, Buffer.alloc(1), me))).to.equal("ok");
  });

  it("take with them what was written and is not committed, if they were exclusive: every handle hears of it", async () => {
    const code = (act: Promise<unknown>) => act.then(() => "ok", codeOf);
    const size = async () => (await client.meta.getInode(ino)).size;
    const [one, two] = [await open(), await open()];
    await set(one, asked(5, "exclusive"));
    await fs.write(one, 0, Buffer.from("stale"), me);
    client.locks.lose([{ ino, space: "range", owner: 5n, exclusive: true }]);
    expect(await code(fs.fsync(two, me))).to.equal("EIO");
    expect(await code(fs.fsync(two, me))).to.equal("ok");
    await fs.release(one);
    await fs.release(two);
    expect(await size()).to.equal(0);
    const three = await open();
    await set(three, asked(6, "shared"));
    await fs.write(three, 0, Buffer.from("another's"), me);
    client.locks.lose([{ ino, space: "range", owner: 6n, exclusive: false }]);
    await fs.release(three);
    expect(await size()).to.equal(9);
  });
});
