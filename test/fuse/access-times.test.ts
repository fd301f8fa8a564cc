// Access times as relatime has them: what a read notes, what this mount shows, and what the namenode is told.
import { constants } from "node:fs";
import { expect } from "chai";
import { CairnError } from "../../common/errors.js";
import { MAX_ACCESSES, ROOT_INO } from "../../common/limits.js";
import { silentLogger } from "../../common/log.js";
import type { AccessPolicy } from "../../fuse/access-times.js";
import { FileSystem } from "../../fuse/core.js";
import type { Inode } from "../../proto/gen/types.js";
import { FakeClock } from "../support/fake-clock.js";
import { MemoryClient } from "../support/memory-client.js";

const { O_RDONLY, O_RDWR, O_WRONLY, O_NOATIME } = constants;
const caller = { uid: 0, gid: 0, pid: 7 };
const HOUR_MS = 3_600_000;
/** By then the namenode has been told. */
const TOLD_MS = 10_000;

describe("fuse access times", () => {
  let clock: FakeClock;
  let client: MemoryClient;
  let fs: FileSystem;
  /** When set, calls of noteAccesses wait for it. */
  let held: Promise<void> | undefined;

  beforeEach(() => {
    clock = new FakeClock();
    held = undefined;
    client = new MemoryClient({ clock, before: (call) => (call === "noteAccesses" ? held : undefined) });
    mount();
  });

  function mount(accessTimes?: AccessPolicy): void {
    fs = new FileSystem({ client, kernelMs: 1000, log: silentLogger, clock, ...(accessTimes && { accessTimes }) });
  }

  /** A file that was written an hour before it is read for the first time. */
  async function written(name = "f"): Promise<Inode> {
    const { handle, inode } = await fs.create(ROOT_INO, Buffer.from(name), 0o644, O_WRONLY, caller);
    await fs.write(handle, 0, Buffer.from("text"), caller);
    await fs.flush(handle, caller);
    await fs.release(handle);
    await clock.advance(HOUR_MS);
    return fs.getattr(inode.ino, caller);
  }

  async function read(ino: number, flags = O_RDONLY): Promise<boolean> {
    const { handle, accessed } = await fs.open(ino, flags, caller);
    await fs.read(handle, 0, Buffer.alloc(10), caller);
    await fs.release(handle);
    return accessed;
  }

  const now = () => Math.floor(clock.now() / 1000);
  /** The access time that this mount shows, and the namenode's, s. */
  const shown = async (ino: number) => (await fs.getattr(ino, caller)).atime.sec;
  const kept = async (ino: number) => (await client.meta.getInode(ino)).atime.sec;

  it("follow the first read after a change, at once here and soon at the namenode, and change nothing else", async () => {
    const { ino, ctime, mtime, version } = await written();
    const before = await kept(ino);
    await read(ino);
    const readAt = now();
    expect(await shown(ino)).to.equal(readAt);
    expect(await kept(ino)).to.equal(before);
    await clock.advance(TOLD_MS);
    expect(await kept(ino)).to.equal(readAt);
    expect(await shown(ino)).to.equal(readAt);
    expect(await client.meta.getInode(ino)).to.deep.include({ ctime, mtime, version });
    await clock.advance(HOUR_MS);
    await read(ino);
    expect(await shown(ino)).to.equal(readAt);
    await fs.setattr(ino, { mode: 0o600 }, caller);
    await read(ino);
    expect(await shown(ino)).to.equal(now());
  });

  it("follow a read that comes a day later, also through a handle that stays open", async () => {
    const { ino } = await written();
    const { handle } = await fs.open(ino, O_RDWR, caller);
    const target = Buffer.alloc(10);
    await fs.read(handle, 0, target, caller);
    const first = now();
    await clock.advance(23 * HOUR_MS);
    await fs.read(handle, 0, target, caller);
    expect(await shown(ino)).to.equal(first);
    await clock.advance(HOUR_MS);
    await fs.read(handle, 0, target, caller);
    expect(await shown(ino)).to.equal(now());
    await fs.release(handle);
  });

  it("follow an open for reading only when the kernel has the pages, and says so", async () => {
    const { ino } = await written();
    const opened = async (flags: number) => {
      const { handle, kept, accessed } = await fs.open(ino, flags, caller);
      await fs.release(handle);
      return { kept, accessed };
    };
    expect(await opened(O_RDONLY)).to.deep.equal({ kept: false, accessed: false });
    expect(await opened(O_RDWR)).to.deep.equal({ kept: true, accessed: false });
    expect(await opened(O_RDONLY | O_NOATIME)).to.deep.equal({ kept: true, accessed: false });
    expect(await opened(O_RDONLY)).to.deep.equal({ kept: true, accessed: true });
    expect(await shown(ino)).to.equal(now());
    expect(await opened(O_RDONLY)).to.deep.equal({ kept: true, accessed: false });
  });

  it("follow listings and readlink", async () => {
    const dir = await fs.mkdir(ROOT_INO, Buffer.from("d"), 0o755, caller);
    const link = await fs.symlink(ROOT_INO, Buffer.from("l"), Buffer.from("d"), caller);
    await clock.advance(HOUR_MS);
    const handle = await fs.opendir(dir.ino, caller);
    await fs.readdir(handle, 0, () => true, caller);
    fs.releasedir(handle);
    await fs.readlink(link.ino, caller);
    expect([await shown(dir.ino), await shown(link.ino)]).to.deep.equal([now(), now()]);
  });

  it("stay as they were set after the read", async () => {
    const { ino } = await written();
    let told = () => {};
    held = new Promise<void>((resolve) => {
      told = resolve;
    });
    await read(ino);
    await clock.advance(TOLD_MS); // on its way
    await fs.setattr(ino, { atime: { sec: 77, nsec: 0 } }, caller);
    expect(await shown(ino)).to.equal(77);
    told();
    await clock.advance(TOLD_MS);
    expect([await shown(ino), await kept(ino)]).to.deep.equal([77, 77]);
    // And one that another client has set meanwhile.
    held = undefined;
    await read(ino);
    await client.meta.setAttributes(ino, { atime: { sec: 88, nsec: 0 } });
    await clock.advance(TOLD_MS);
    expect([await shown(ino), await kept(ino)]).to.deep.equal([88, 88]);
  });

  it("of other mounts are heard of without asking", async () => {
    const { ino } = await written();
    const asked = client.calls["getInode"];
    client.watch.tell({ accessed: [{ ino, atime: { sec: 99, nsec: 0 } }] });
    expect(await shown(ino)).to.equal(99);
    expect(client.calls["getInode"]).to.equal(asked);
  });

  it("are told in few messages, and with the last of them when the mount ends", async () => {
    const inos: number[] = [];
    for (let i = 0; i < MAX_ACCESSES + 5; i++) inos.push((await written(`f${i}`)).ino);
    for (const ino of inos) await read(ino);
    await clock.advance(TOLD_MS);
    expect(client.calls["noteAccesses"]).to.equal(2);
    expect(await kept(inos.at(-1)!)).to.be.greaterThan((await kept(inos[0]!)) - 1);
    const { ino } = await written("last");
    await read(ino);
    await fs.flushAll();
    expect(await kept(ino)).to.equal(now());
  });

  it("that the namenode does not take keep nobody, and are forgotten", async () => {
    const { ino } = await written();
    const before = await kept(ino);
    held = Promise.reject(new CairnError("ENOTCONN", "a test says so"));
    held.catch(() => {});
    await read(ino);
    await clock.advance(TOLD_MS);
    expect(await shown(ino)).to.equal(before);
    held = new Promise(() => {});
    await read(ino);
    let ended = false;
    void fs.flushAll().then(() => {
      ended = true;
    });
    await clock.advance(TOLD_MS);
    expect(ended).to.equal(true);
  });

  it("stay with noatime, and those of directories with nodiratime", async () => {
    mount({ files: false, directories: false });
    const { ino, atime } = await written();
    await read(ino);
    await clock.advance(TOLD_MS);
    expect([await shown(ino), await kept(ino)]).to.deep.equal([atime.sec, atime.sec]);
    mount({ files: true, directories: false });
    const root = await shown(ROOT_INO);
    const handle = await fs.opendir(ROOT_INO, caller);
    await fs.readdir(handle, 0, () => true, caller);
    expect(await shown(ROOT_INO)).to.equal(root);
    await read(ino);
    expect(await shown(ino)).to.equal(now());
  });
});
