import { constants } from "node:fs";
import { expect } from "chai";
import { ROOT_INO } from "../../common/limits.js";
import { silentLogger } from "../../common/log.js";
import { FileSystem } from "../../fuse/core.js";
import { subtree } from "../../fuse/subtree.js";
import type { Inode } from "../../proto/gen/types.js";
import { caller, makeFileSystem as make, name } from "../support/file-system.js";
import { MemoryClient } from "../support/memory-client.js";
import { rejection } from "../support/rejection.js";

const { O_WRONLY, O_CREAT, S_IFMT, S_IFDIR, S_IFIFO, S_IFREG } = constants;

describe("fuse core: names", () => {
  it("makes what mknod, mkdir and symlink ask for, as the caller's", async () => {
    const { fs } = make();
    const fifo = await fs.mknod(ROOT_INO, name("fifo"), S_IFIFO | 0o640, 0, caller);
    expect(fifo).to.include({ mode: S_IFIFO | 0o640, uid: 1000, gid: 100, nlink: 1 });
    const plain = await fs.mknod(ROOT_INO, name("plain"), 0o600, 0, caller);
    expect(plain.mode & S_IFMT).to.equal(S_IFREG);
    const dir = await fs.mkdir(ROOT_INO, name("dir"), 0o755, caller);
    expect(dir.nlink).to.equal(2);
    const link = await fs.symlink(dir.ino, name("link"), Buffer.from([0x2e, 0xff]), caller);
    expect(await fs.readlink(link.ino, caller)).to.deep.equal(Buffer.from([0x2e, 0xff]));
    expect((await rejection(fs.readlink(dir.ino, caller))).code).to.equal("EINVAL");
    expect((await fs.getattr(ROOT_INO, caller)).nlink).to.equal(3);
  });

  it("gives the group of a setgid directory to what is made in it, and the bit to directories", async () => {
    const { fs } = make();
    const dir = await fs.mkdir(ROOT_INO, name("shared"), 0o755, caller);
    await fs.setattr(dir.ino, { mode: 0o2775, gid: 55 }, caller);
    const { inode: file } = await fs.create(dir.ino, name("file"), 0o644, O_WRONLY | O_CREAT, caller);
    const sub = await fs.mkdir(dir.ino, name("sub"), 0o755, caller);
    expect(file).to.include({ gid: 55, uid: 1000 });
    expect(file.mode & 0o7777).to.equal(0o644);
    expect(sub.gid).to.equal(55);
    expect(sub.mode & 0o7777).to.equal(0o2755);
  });

  it("asks the namenode once for a name while its answer holds, and again after", async () => {
    const { fs, client, watch } = make();
    await client.meta.create(ROOT_INO, name("a"), { mode: S_IFREG | 0o644, uid: 0, gid: 0 });
    for (let i = 0; i < 3; i++) await fs.lookup(ROOT_INO, name("a"), caller);
    expect(client.calls["lookup"]).to.equal(1);
    expect(client.calls["getInode"] ?? 0).to.equal(0);
    watch.reconnect();
    await fs.lookup(ROOT_INO, name("a"), caller);
    expect(client.calls["lookup"]).to.equal(2);
  });

  it("is right about its own changes however long answers hold", async () => {
    const { fs } = make();
    const { inode: a } = await fs.create(ROOT_INO, name("a"), 0o644, O_WRONLY, caller);
    const { inode: b } = await fs.create(ROOT_INO, name("b"), 0o644, O_WRONLY, caller);
    await fs.getattr(ROOT_INO, caller);
    await fs.link(a.ino, ROOT_INO, name("c"), caller);
    expect((await fs.getattr(a.ino, caller)).nlink).to.equal(2);
    await fs.rename({ dir: ROOT_INO, name: name("b") }, { dir: ROOT_INO, name: name("c") }, {}, caller);
    expect((await fs.lookup(ROOT_INO, name("c"), caller)).ino).to.equal(b.ino);
    expect((await rejection(fs.lookup(ROOT_INO, name("b"), caller))).code).to.equal("ENOENT");
    expect((await fs.getattr(a.ino, caller)).nlink).to.equal(1);
    await fs.unlink(ROOT_INO, name("a"), caller);
    expect((await rejection(fs.lookup(ROOT_INO, name("a"), caller))).code).to.equal("ENOENT");
    const dir = await fs.mkdir(ROOT_INO, name("d"), 0o755, caller);
    await fs.rmdir(ROOT_INO, name("d"), caller);
    expect((await rejection(fs.getattr(dir.ino, caller))).code).to.equal("ESTALE");
    expect((await fs.getattr(ROOT_INO, caller)).nlink).to.equal(2);
  });

  it("knows the directories after a rename without asking", async () => {
    const { fs, client } = make();
    const dir = await fs.mkdir(ROOT_INO, name("d"), 0o755, caller);
    await fs.create(ROOT_INO, name("a"), 0o644, O_WRONLY, caller);
    const asked = client.calls["getInode"];
    const from = { dir: ROOT_INO, name: name("a") };
    await fs.rename(from, { dir: dir.ino, name: name("b") }, {}, caller);
    await fs.rename({ dir: dir.ino, name: name("b") }, { dir: dir.ino, name: name("c") }, {}, caller);
    const known = [await fs.getattr(ROOT_INO, caller), await fs.getattr(dir.ino, caller)];
    expect(client.calls["getInode"]).to.equal(asked);
    expect(known).to.deep.equal([await client.meta.getInode(ROOT_INO), await client.meta.getInode(dir.ino)]);
  });

  it("knows them, too, where the mount shows a folder as its top", async () => {
    const { client } = make();
    const dir = await client.meta.create(ROOT_INO, name("d"), { mode: S_IFDIR | 0o755, uid: 0, gid: 0 });
    const fs = new FileSystem({ client: await subtree(client, "/d"), kernelMs: 1000, log: silentLogger });
    await fs.create(ROOT_INO, name("a"), 0o644, O_WRONLY, caller);
    const sub = await fs.mkdir(ROOT_INO, name("sub"), 0o755, caller);
    const asked = client.calls["getInode"];
    await fs.rename({ dir: ROOT_INO, name: name("a") }, { dir: sub.ino, name: name("a") }, {}, caller);
    await fs.rename({ dir: sub.ino, name: name("a") }, { dir: ROOT_INO, name: name("b") }, {}, caller);
    const top = await fs.getattr(ROOT_INO, caller);
    expect(client.calls["getInode"]).to.equal(asked);
    expect(top.mtime).to.deep.equal((await client.meta.getInode(dir.inode.ino)).mtime);
  });

  it("exchanges two names", async () => {
    const { fs } = make();
    const { inode: a } = await fs.create(ROOT_INO, name("a"), 0o644, O_WRONLY, caller);
    const { inode: b } = await fs.create(ROOT_INO, name("b"), 0o644, O_WRONLY, caller);
    const [from, to] = [
      { dir: ROOT_INO, name: name("a") },
      { dir: ROOT_INO, name: name("b") },
    ];
    await fs.rename(from, to, { exchange: true }, caller);
    expect((await fs.lookup(ROOT_INO, name("a"), caller)).ino).to.equal(b.ino);
    expect((await fs.lookup(ROOT_INO, name("b"), caller)).ino).to.equal(a.ino);
    expect((await rejection(fs.rename(from, to, { noReplace: true }, caller))).code).to.equal("EEXIST");
  });

  it("does not remember a name that it removed while the namenode was being asked for it", async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const client = new MemoryClient();
    const lookup = client.meta.lookup.bind(client.meta);
    const held = Object.assign(Object.create(client.meta), {
      lookup: async (dir: number, n: Buffer): Promise<Inode> => {
        const answer = await lookup(dir, n);
        await gate;
        return answer;
      },
    }) as MemoryClient["meta"];
    const fs = new FileSystem({
      client: Object.assign(Object.create(client), { meta: held }) as MemoryClient,
      kernelMs: 1000,
      log: silentLogger,
    });
    await client.meta.create(ROOT_INO, name("a"), { mode: S_IFREG | 0o644, uid: 0, gid: 0 });
    const early = fs.lookup(ROOT_INO, name("a"), caller);
    await fs.unlink(ROOT_INO, name("a"), caller);
    release();
    await early;
    expect(fs.known(ROOT_INO, name("a"))).to.equal(undefined);
  });

  it("finds a name again that another client has replaced", async () => {
    const { fs, client, watch } = make();
    await fs.create(ROOT_INO, name("a"), 0o644, O_WRONLY, caller).then(({ handle }) => fs.release(handle));
    await client.meta.unlink(ROOT_INO, name("a"));
    const { inode } = await client.meta.create(ROOT_INO, name("a"), { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
    watch.tell({ names: [{ dir: ROOT_INO, name: name("a") }] });
    expect((await fs.lookup(ROOT_INO, name("a"), caller)).ino).to.equal(inode.ino);
  });

  it("knows a directory that it has changed without asking, and what the kernel has forgotten", async () => {
    const { fs, client } = make();
    const dir = await fs.mkdir(ROOT_INO, name("d"), 0o755, caller);
    const { handle, inode } = await fs.create(dir.ino, name("a"), 0o644, O_WRONLY, caller);
    await fs.release(handle);
    const { mtime } = await client.meta.getInode(dir.ino);
    const asked = client.calls["getInode"];
    expect(await fs.getattr(dir.ino, caller)).to.deep.include({ size: dir.size, mtime });
    fs.forget(inode.ino);
    expect((await fs.lookup(dir.ino, name("a"), caller)).ino).to.equal(inode.ino);
    await fs.unlink(dir.ino, name("a"), caller);
    const left = await fs.getattr(dir.ino, caller);
    expect(client.calls["getInode"]).to.equal(asked);
    expect(left).to.deep.equal(await client.meta.getInode(dir.ino));
  });

  it("refuses names longer than 255 bytes", async () => {
    const { fs, client } = make();
    const long = Buffer.alloc(256, "x");
    const place = { dir: ROOT_INO, name: long };
    const tries = [
      fs.lookup(ROOT_INO, long, caller),
      fs.create(ROOT_INO, long, 0o644, O_WRONLY, caller),
      fs.mkdir(ROOT_INO, long, 0o755, caller),
      fs.unlink(ROOT_INO, long, caller),
      fs.rename(place, place, {}, caller),
    ];
    for (const attempt of tries) expect((await rejection(attempt)).code).to.equal("ENAMETOOLONG");
    expect(client.calls).to.deep.equal({});
    const made = await fs.mkdir(ROOT_INO, Buffer.alloc(255, "x"), 0o755, caller);
    expect(made).to.include({ nlink: 2 });
    // Also in a directory of which it is known that no other name is there.
    expect((await rejection(fs.lookup(made.ino, long, caller))).code).to.equal("ENAMETOOLONG");
  });
});
