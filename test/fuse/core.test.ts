import { constants } from "node:fs";
import { expect } from "chai";
import { CairnError } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import { silentLogger } from "../../common/log.js";
import { FileSystem } from "../../fuse/core.js";
import type { DirectoryEntry } from "../../fuse/types.js";
import { FakeClock } from "../support/fake-clock.js";
import { caller, makeFileSystem as make, name } from "../support/file-system.js";
import { MemoryClient } from "../support/memory-client.js";
import { rejection } from "../support/rejection.js";
import { until } from "../support/until.js";

const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_TRUNC, O_EXCL, O_CREAT, S_IFREG } = constants;
async function readAll(fs: FileSystem, handle: number, length = 1 << 16): Promise<string> {
  const target = Buffer.alloc(length);
  return target.toString("utf8", 0, await fs.read(handle, 0, target, caller));
}

async function list(
  fs: FileSystem,
  handle: number,
  from = 0,
  max = Number.POSITIVE_INFINITY,
): Promise<DirectoryEntry[]> {
  const entries: DirectoryEntry[] = [];
  await fs.readdir(handle, from, (e) => entries.length < max && entries.push(e) > 0, caller);
  return entries;
}

describe("fuse core: files", () => {
  it("shows unflushed writes to every handle, and in the attributes", async () => {
    const { fs, client } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_RDWR, caller);
    const other = await fs.open(inode.ino, O_RDONLY, caller);
    await fs.write(handle, 3, name("def"), caller);
    await fs.write(handle, 0, name("abc"), caller);
    expect(await readAll(fs, other.handle)).to.equal("abcdef");
    const seen = await fs.getattr(inode.ino, caller);
    expect(seen.size).to.equal(6);
    expect(seen.mtime).not.to.deep.equal(inode.mtime);
    expect((await client.meta.getInode(inode.ino)).size).to.equal(0);
    await fs.flush(handle, caller);
    expect((await client.meta.getInode(inode.ino)).size).to.equal(6);
    expect((await fs.getattr(inode.ino, caller)).size).to.equal(6);
    await fs.release(handle);
    await fs.release(other.handle);
    expect(client.openFiles).to.equal(0);
  });

  it("notices a commit in the background", async () => {
    const { fs, client } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_RDWR, caller);
    await fs.write(handle, 0, name("abc"), caller);
    await client.open(inode).flush();
    const seen = await fs.getattr(inode.ino, caller);
    expect(seen.size).to.equal(3);
    expect(seen.version).to.equal((await client.meta.getInode(inode.ino)).version);
  });

  it("appends at the end, wherever the kernel believes that is", async () => {
    const { fs } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_RDWR, caller);
    const append = await fs.open(inode.ino, O_WRONLY | O_APPEND, caller);
    await fs.write(handle, 0, name("0123456789"), caller);
    await fs.write(append.handle, 2, name("end"), caller);
    expect(await readAll(fs, handle)).to.equal("0123456789end");
  });

  it("writes pages of a mapping where they belong, through whichever handle they come", async () => {
    const { fs } = make();
    const { handle } = await fs.create(ROOT_INO, name("f"), 0o600, O_RDWR | O_APPEND, caller);
    await fs.write(handle, 0, Buffer.from("abcdef"), caller);
    await fs.writePages(handle, 2, Buffer.from("XY"), caller);
    expect(await readAll(fs, handle)).to.equal("abXYef");
  });

  it("takes a change of nothing for a chown to nobody: ctime changes, setuid and setgid go", async () => {
    const { fs } = make();
    const made = await fs.mknod(ROOT_INO, name("f"), 0o7751, 0, caller);
    expect((await fs.setattr(made.ino, {}, { ...caller, uid: 1001 })).mode).to.equal(made.mode);
    const touched = await fs.setattr(made.ino, {}, caller);
    expect(touched.version).to.be.above(made.version);
    expect(touched.mode).to.equal(S_IFREG | 0o1751);
  });

  it("truncates by open, by inode and by handle, and extends with zeros", async () => {
    const { fs, client } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_RDWR, caller);
    await fs.write(handle, 0, name("0123456789"), caller);
    expect((await fs.setattrOfHandle(handle, { size: 4 }, caller)).size).to.equal(4);
    await fs.setattr(inode.ino, { size: 6 }, caller);
    expect(await readAll(fs, handle)).to.equal("0123\0\0");
    await fs.release(handle);
    expect((await fs.setattr(inode.ino, { size: 2 }, caller)).size).to.equal(2);
    expect(client.openFiles).to.equal(0);
    const again = await fs.open(inode.ino, O_RDWR | O_TRUNC, caller);
    expect(again.inode.size).to.equal(0);
    expect((await fs.getattr(inode.ino, caller)).size).to.equal(0);
  });

  it("keeps an mtime that is set while writes are unflushed", async () => {
    const { fs } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_WRONLY, caller);
    await fs.write(handle, 0, name("abc"), caller);
    const mtime = { sec: -5, nsec: 123_456_789 };
    await fs.setattr(inode.ino, { mtime, atime: { sec: 7, nsec: 8 } }, caller);
    await fs.flush(handle, caller);
    await fs.release(handle);
    const seen = await fs.getattr(inode.ino, caller);
    expect(seen.mtime).to.deep.equal(mtime);
    expect(seen.atime).to.deep.equal({ sec: 7, nsec: 8 });
    expect(seen.size).to.equal(3);
  });

  it("commits attributes with the content, in one call, and shows them before", async () => {
    const { fs, client } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o600, O_WRONLY, caller);
    await fs.write(handle, 0, name("abc"), caller);
    const times = { mtime: { sec: 9, nsec: 1 }, atime: { sec: 8, nsec: 2 } };
    await fs.setattr(inode.ino, times, caller);
    await fs.setattr(inode.ino, { uid: 5, gid: 6 }, caller);
    expect(await fs.setattr(inode.ino, { mode: 0o4755 }, caller)).to.include({ mode: 0o104755, uid: 5, size: 3 });
    expect(await fs.getattr(inode.ino, caller)).to.deep.include({ mode: 0o104755, uid: 5, gid: 6, ...times });
    expect(await client.meta.getInode(inode.ino)).to.include({ mode: 0o100600, uid: caller.uid });
    // What they clear counts, too: nothing is asked of what the namenode still has.
    expect(await fs.setattr(inode.ino, { uid: 7 }, caller)).to.include({ mode: 0o100755, uid: 7 });
    expect(client.calls["setAttributes"]).to.equal(undefined);
    await fs.flush(handle, caller);
    expect(client.calls["setAttributes"]).to.equal(undefined);
    const committed = await client.meta.getInode(inode.ino);
    expect(committed).to.deep.include({ mode: 0o100755, uid: 7, gid: 6, size: 3, ...times });
  });

  it("sets the modification time again when a file is written after its times were set", async () => {
    const { fs, client } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o600, O_WRONLY, caller);
    await fs.write(handle, 0, name("abc"), caller);
    await fs.setattr(inode.ino, { mtime: { sec: 9, nsec: 1 }, atime: { sec: 8, nsec: 2 } }, caller);
    await fs.write(handle, 3, name("d"), caller);
    await fs.flush(handle, caller);
    const committed = await client.meta.getInode(inode.ino);
    expect(committed.mtime.sec).to.be.above(9);
    expect(committed.atime).to.deep.equal({ sec: 8, nsec: 2 });
  });

  it("tells the writer at close when attributes are lost with the content", async () => {
    const { fs, client } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_WRONLY, caller);
    await fs.write(handle, 0, name("abc"), caller);
    await fs.setattr(inode.ino, { mtime: "now" }, caller);
    client.fail(inode.ino, new CairnError("ENOSPC", "write"));
    expect((await rejection(fs.flush(handle, caller))).code).to.equal("ENOSPC");
    await fs.flush(handle, caller);
  });

  it("does not tell a reader of a writer's failure", async () => {
    const { fs, client } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_WRONLY, caller);
    const reader = await fs.open(inode.ino, O_RDONLY, caller);
    await fs.write(handle, 0, name("abc"), caller);
    client.fail(inode.ino, new CairnError("EIO", "write"));
    await fs.flush(reader.handle, caller);
    expect((await rejection(fs.flush(handle, caller))).code).to.equal("EIO");
  });

  it("tells every handle that was open of a failure, once, whoever hears of it first", async () => {
    const { fs, client } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_RDWR, caller);
    const second = await fs.open(inode.ino, O_RDWR, caller);
    const reader = await fs.open(inode.ino, O_RDONLY, caller);
    await fs.write(handle, 0, name("abc"), caller);
    client.fail(inode.ino, new CairnError("ENOSPC", "write"));
    expect(await rejection(fs.fsync(second.handle, caller))).to.include({ code: "ENOSPC" });
    const late = await fs.open(inode.ino, O_RDWR, caller);
    await fs.fsync(second.handle, caller);
    expect(await rejection(fs.flush(handle, caller))).to.include({ code: "ENOSPC" });
    expect(await rejection(fs.fsync(reader.handle, caller))).to.include({ code: "ENOSPC" });
    for (const each of [handle, second.handle, reader.handle, late.handle]) {
      await fs.fsync(each, caller);
      await fs.flush(each, caller);
    }
  });

  it("finds holes, punches them, and copies ranges, through handles that may", async () => {
    const { fs } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_RDWR, caller);
    const other = await fs.create(ROOT_INO, name("b"), 0o644, O_WRONLY, caller);
    const reader = await fs.open(inode.ino, O_RDONLY, caller);
    await fs.write(handle, 3 << 20, name("abc"), caller);
    expect(await fs.lseek(handle, 0, "data", caller)).to.equal(3 << 20);
    expect(await fs.lseek(reader.handle, 0, "hole", caller)).to.equal(0);
    expect(await rejection(fs.lseek(handle, 4 << 20, "data", caller))).to.include({ code: "ENXIO" });
    await fs.fallocate(handle, 0, 5 << 20, {}, caller);
    expect((await fs.getattr(inode.ino, caller)).size).to.equal(5 << 20);
    const source = { handle, offset: 3 << 20 };
    expect(await fs.copyRange(source, { handle: other.handle, offset: 2 }, 3, caller)).to.equal(3);
    expect((await fs.getattr(other.inode.ino, caller)).size).to.equal(5);
    await fs.fallocate(handle, 3 << 20, 2, { zero: true, keepSize: true }, caller);
    const bytes = Buffer.alloc(3);
    await fs.read(handle, 3 << 20, bytes, caller);
    expect(bytes.toString()).to.equal("\0\0c");
    for (const refused of [
      fs.fallocate(reader.handle, 0, 1, {}, caller),
      fs.copyRange(source, { handle: reader.handle, offset: 0 }, 3, caller),
      fs.copyRange({ handle: other.handle, offset: 0 }, source, 3, caller),
    ]) {
      expect(await rejection(refused)).to.include({ code: "EBADF" });
    }
  });

  it("takes setuid from a file that somebody punches", async () => {
    const { fs } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o4755, O_RDWR, caller);
    await fs.write(handle, 0, name("abc"), caller);
    await fs.fallocate(handle, 0, 1, { zero: true, keepSize: true }, { ...caller, uid: 0 });
    expect((await fs.getattr(inode.ino, caller)).mode & 0o7777).to.equal(0o4755);
    await fs.fallocate(handle, 0, 1, { zero: true, keepSize: true }, { ...caller, uid: 7 });
    expect((await fs.getattr(inode.ino, caller)).mode & 0o7777).to.equal(0o755);
  });

  it("keeps an unlinked file for those who have it open", async () => {
    const { fs } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_RDWR, caller);
    await fs.write(handle, 0, name("abc"), caller);
    await fs.unlink(ROOT_INO, name("a"), caller);
    expect(await readAll(fs, handle)).to.equal("abc");
    expect(await fs.getattr(inode.ino, caller)).to.include({ nlink: 0, size: 3 });
  });

  it("has the namenode keep a file that loses its last name while it is open, until its last close", async () => {
    const { fs, client } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_RDWR, caller);
    const second = await fs.open(inode.ino, O_RDWR, caller);
    await fs.link(inode.ino, ROOT_INO, name("b"), caller);
    await fs.unlink(ROOT_INO, name("a"), caller);
    expect([...client.held]).to.deep.equal([]);
    await fs.unlink(ROOT_INO, name("b"), caller);
    expect([...client.held]).to.deep.equal([inode.ino]);
    await fs.write(handle, 0, name("abc"), caller);
    await fs.flush(handle, caller);
    expect((await fs.setattr(inode.ino, { size: 2 }, caller)).nlink).to.equal(0);
    expect(await readAll(fs, second.handle)).to.equal("ab");
    await fs.release(handle);
    expect([...client.held]).to.deep.equal([inode.ino]);
    await fs.release(second.handle);
    expect([...client.held]).to.deep.equal([]);
    expect((await rejection(client.meta.getInode(inode.ino))).code).to.equal("ESTALE");
  });

  it("has it keep what a rename replaces, and a directory, and nothing that is not open", async () => {
    const { fs, client } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_RDWR, caller);
    await fs.mknod(ROOT_INO, name("b"), 0o644, 0, caller);
    await fs.mknod(ROOT_INO, name("c"), 0o644, 0, caller);
    const at = (text: string) => ({ dir: ROOT_INO, name: name(text) });
    await fs.rename(at("b"), at("c"), {}, caller);
    expect([...client.held]).to.deep.equal([]);
    await fs.rename(at("c"), at("a"), {}, caller);
    expect([...client.held]).to.deep.equal([inode.ino]);
    await fs.release(handle);
    expect([...client.held]).to.deep.equal([]);
    const dir = await fs.mkdir(ROOT_INO, name("d"), 0o755, caller);
    const listing = await fs.opendir(dir.ino, caller);
    await fs.rmdir(ROOT_INO, name("d"), caller);
    expect((await fs.getattr(dir.ino, caller)).nlink).to.equal(0);
    fs.releasedir(listing);
    await until(() => client.held.size === 0, { what: "the directory to be given up" });
  });

  it("has it keep what it cannot name while anything is open, and gives it up at once when that was not it", async () => {
    const { fs, client, watch } = make();
    await fs.create(ROOT_INO, name("open"), 0o644, O_RDWR, caller);
    await fs.mknod(ROOT_INO, name("a"), 0o644, 0, caller);
    watch.reconnect();
    await fs.unlink(ROOT_INO, name("a"), caller);
    expect(client.calls["release"]).to.equal(1);
    expect([...client.held]).to.deep.equal([]);
  });

  it("lets the kernel keep its pages over an open only if the file is as it was at the one before", async () => {
    const { fs, client, watch } = make();
    const open = async (ino: number, flags = O_RDONLY) => {
      const opened = await fs.open(ino, flags, caller);
      await fs.release(opened.handle);
      return opened.kept;
    };
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_RDWR, caller);
    await fs.write(handle, 0, name("abc"), caller);
    await fs.release(handle);
    await open(inode.ino);
    expect(await open(inode.ino)).to.equal(true);
    const foreign = client.open(inode);
    await foreign.write(0, name("ABC"));
    await foreign.close();
    watch.tell({ contents: [inode.ino] });
    expect(await open(inode.ino)).to.equal(false);
    expect(await open(inode.ino)).to.equal(true);
    await fs.setattr(inode.ino, { size: 1 }, caller);
    expect(await open(inode.ino)).to.equal(false);
    expect(await open(inode.ino, O_RDWR | O_TRUNC)).to.equal(true);
    expect(await open(inode.ino)).to.equal(true);
  });

  it("takes setuid and setgid from files that change owner, or that are written without the right to", async () => {
    const { fs } = make();
    const { inode } = await fs.create(ROOT_INO, name("a"), 0o6777, O_RDWR, caller);
    expect((await fs.setattr(inode.ino, { uid: 5 }, caller)).mode & 0o7777).to.equal(0o777);
    await fs.setattr(inode.ino, { mode: 0o6745 }, caller);
    expect(await fs.dropPrivileges(inode.ino, caller)).to.equal(true);
    expect((await fs.getattr(inode.ino, caller)).mode & 0o7777).to.equal(0o2745);
    expect(await fs.dropPrivileges(inode.ino, caller)).to.equal(false);
    const dir = await fs.mkdir(ROOT_INO, name("d"), 0o2777, caller);
    expect((await fs.setattr(dir.ino, { gid: 5 }, caller)).mode & 0o7777).to.equal(0o2777);
  });

  it("opens what exists when create is not exclusive", async () => {
    const { fs } = make();
    const { handle } = await fs.create(ROOT_INO, name("a"), 0o644, O_RDWR, caller);
    await fs.write(handle, 0, name("abc"), caller);
    await fs.flush(handle, caller);
    const exclusive = fs.create(ROOT_INO, name("a"), 0o644, O_RDWR | O_CREAT | O_EXCL, caller);
    expect((await rejection(exclusive)).code).to.equal("EEXIST");
    const second = await fs.create(ROOT_INO, name("a"), 0o644, O_RDWR | O_CREAT, caller);
    expect(await readAll(fs, second.handle)).to.equal("abc");
    const third = await fs.create(ROOT_INO, name("a"), 0o644, O_RDWR | O_CREAT | O_TRUNC, caller);
    expect(third.inode.size).to.equal(0);
  });

  it("heeds the access mode, and knows closed handles", async () => {
    const { fs } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_WRONLY, caller);
    const reader = await fs.open(inode.ino, O_RDONLY, caller);
    expect((await rejection(fs.read(handle, 0, Buffer.alloc(1), caller))).code).to.equal("EBADF");
    expect((await rejection(fs.write(reader.handle, 0, name("x"), caller))).code).to.equal("EBADF");
    await fs.release(handle);
    expect((await rejection(fs.write(handle, 0, name("x"), caller))).code).to.equal("EBADF");
    expect((await rejection(fs.open(ROOT_INO, O_RDONLY, caller))).code).to.equal("EISDIR");
  });

  it("sees another client's commit at open, and says that the file has grown", async () => {
    const { fs, client, watch } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_WRONLY, caller);
    await fs.write(handle, 0, name("abc"), caller);
    await fs.flush(handle, caller);
    await fs.release(handle);
    const same = await fs.open(inode.ino, O_RDONLY, caller);
    expect(same.grown).to.equal(false);
    await fs.release(same.handle);
    const foreign = client.open(inode);
    await foreign.write(undefined, name("def"));
    await foreign.close();
    watch.tell({ contents: [inode.ino] });
    const opened = await fs.open(inode.ino, O_RDONLY, caller);
    expect(opened.grown).to.equal(true);
    expect(opened.inode.size).to.equal(6);
    expect((await fs.getattr(inode.ino, caller)).size).to.equal(6);
  });

  it("commits everything on demand, and gathers the failures", async () => {
    const { fs, client } = make();
    const files = await Promise.all(["a", "b"].map((n) => fs.create(ROOT_INO, name(n), 0o644, O_WRONLY, caller)));
    for (const { handle } of files) await fs.write(handle, 0, name("abc"), caller);
    client.fail(files[0]!.inode.ino, new CairnError("ENOSPC", "no datanode has room"));
    expect(await rejection(fs.flushAll())).to.include({ code: "ENOSPC" });
    expect((await client.meta.getInode(files[1]!.inode.ino)).size).to.equal(3);
    await fs.flushAll();
  });
});

describe("fuse core: what others change", () => {
  const other = { mode: S_IFREG | 0o644, uid: 0, gid: 0 };
  /** What the kernel was made to forget. */
  function kernel(fs: FileSystem): string[] {
    const said: string[] = [];
    fs.attach({
      forgetAttributes: (ino) => said.push(`attributes ${ino}`),
      forgetContent: (ino) => said.push(`content ${ino}`),
      forgetName: (dir, n) => said.push(`name ${dir}/${n}`),
      forgetNames: () => said.push("names"),
    });
    return said;
  }

  it("opens without asking what it knows, and asks once the file was changed", async () => {
    const { fs, client, watch } = make();
    const { ino } = (await client.meta.create(ROOT_INO, name("a"), other)).inode;
    await fs.lookup(ROOT_INO, name("a"), caller);
    for (let i = 0; i < 3; i++) await fs.release((await fs.open(ino, O_RDONLY, caller)).handle);
    expect(client.calls["getInode"] ?? 0).to.equal(0);
    watch.tell({ attributes: [ino] });
    for (let i = 0; i < 3; i++) await fs.release((await fs.open(ino, O_RDONLY, caller)).handle);
    expect(client.calls["getInode"]).to.equal(1);
  });

  it("remembers that a name does not exist, until somebody makes it", async () => {
    const { fs, client, watch } = make();
    for (let i = 0; i < 3; i++)
      expect((await rejection(fs.lookup(ROOT_INO, name("a"), caller))).code).to.equal("ENOENT");
    expect(client.calls["lookup"]).to.equal(1);
    expect(fs.trustNameMs(ROOT_INO, name("a"))).to.be.greaterThan(0);
    const { ino } = (await client.meta.create(ROOT_INO, name("a"), other)).inode;
    watch.tell({ names: [{ dir: ROOT_INO, name: name("a") }] });
    expect(fs.trustNameMs(ROOT_INO, name("a"))).to.equal(0);
    expect((await fs.lookup(ROOT_INO, name("a"), caller)).ino).to.equal(ino);
  });

  it("knows all names of a directory that it made or read whole", async () => {
    const { fs, client } = make();
    const dir = await fs.mkdir(ROOT_INO, name("d"), 0o755, caller);
    expect((await rejection(fs.lookup(dir.ino, name("a"), caller))).code).to.equal("ENOENT");
    const { handle, inode } = await fs.create(dir.ino, name("a"), 0o644, O_WRONLY, caller);
    await fs.release(handle);
    expect((await fs.lookup(dir.ino, name("a"), caller)).ino).to.equal(inode.ino);
    const root = await fs.opendir(ROOT_INO, caller);
    await list(fs, root);
    fs.releasedir(root);
    expect((await rejection(fs.lookup(ROOT_INO, name("b"), caller))).code).to.equal("ENOENT");
    expect(client.calls["lookup"] ?? 0).to.equal(0);
  });

  it("has the kernel forget what changed, and everything after a reconnection", async () => {
    const { fs, client, watch } = make();
    const said = kernel(fs);
    const { ino } = (await client.meta.create(ROOT_INO, name("a"), other)).inode;
    await fs.lookup(ROOT_INO, name("a"), caller);
    watch.tell({ attributes: [ROOT_INO], contents: [ino], names: [{ dir: ROOT_INO, name: name("a") }] });
    expect(said.splice(0)).to.have.members([`attributes ${ROOT_INO}`, `content ${ino}`, `name ${ROOT_INO}/a`]);
    expect(fs.trustMs(ino)).to.equal(0);
    await fs.getattr(ino, caller);
    expect(fs.trustMs(ino)).to.be.greaterThan(0);
    watch.reconnect();
    expect(said).to.include.members(["names", `content ${ino}`]);
    expect(fs.trustMs(ino)).to.equal(0);
  });

  it("does not let the kernel believe attributes of a file with writes that the namenode has not heard of", async () => {
    const { fs } = make();
    const { handle, inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_WRONLY, caller);
    expect(fs.trustMs(inode.ino)).to.be.greaterThan(0);
    await fs.write(handle, 0, name("abc"), caller);
    expect(fs.trustMs(inode.ino)).to.equal(0);
    await fs.flush(handle, caller);
    await fs.getattr(inode.ino, caller);
    expect(fs.trustMs(inode.ino)).to.be.greaterThan(0);
    await fs.release(handle);
  });

  it("gives up what others removed, but for what it has open", async () => {
    const { fs, client, watch } = make();
    const [a, b] = await Promise.all(
      ["a", "b"].map(async (text) => (await client.meta.create(ROOT_INO, name(text), other)).inode.ino),
    );
    const { handle } = await fs.open(a!, O_RDONLY, caller);
    expect(watch.open()).to.deep.equal([a]);
    for (const text of ["a", "b"]) await client.meta.unlink(ROOT_INO, name(text), true);
    watch.tell({ attributes: [a!, b!], nameless: [a!, b!] });
    await until(() => client.held.size === 1, { timeoutMs: 60_000, what: "what is not open to be given up" });
    expect([...client.held]).to.deep.equal([a]);
    expect((await fs.getattr(a!, caller)).nlink).to.equal(0);
    await fs.release(handle);
    await until(() => client.held.size === 0, { what: "what was open to be given up" });
    expect(watch.open()).to.deep.equal([]);
  });

  it("keeps what an open under way may turn out to open", async () => {
    let go = (): void => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    const { fs, client, watch } = make({ before: (call) => (call === "create" ? gate : undefined) });
    const opening = fs.create(ROOT_INO, name("a"), 0o644, O_WRONLY | O_CREAT, caller);
    await until(() => client.calls["create"] === 1, { what: "the open" });
    // Both are told before the open is answered: it is one of them, so neither may go yet.
    client.held.add(ROOT_INO + 1).add(99);
    watch.tell({ nameless: [ROOT_INO + 1, 99] });
    expect(client.calls["release"] ?? 0).to.equal(0);
    go();
    const { handle, inode } = await opening;
    expect(inode.ino).to.equal(ROOT_INO + 1);
    await until(() => client.held.size === 1, { timeoutMs: 60_000, what: "the other one to be given up" });
    expect([...client.held]).to.deep.equal([inode.ino]);
    await fs.release(handle);
    await until(() => client.held.size === 0, { what: "the file to be given up" });
  });

  it("tells the namenode what it has forgotten, once the kernel has, too, and nothing that is open", async () => {
    const clock = new FakeClock();
    const client = new MemoryClient();
    const fs = new FileSystem({ client, kernelMs: 10_000, log: silentLogger, clock, maxInodes: 1 });
    const inos: number[] = [];
    for (const text of ["a", "b", "c"]) inos.push((await client.meta.create(ROOT_INO, name(text), other)).inode.ino);
    const [a, b, c] = inos as [number, number, number];
    for (const ino of inos) await fs.getattr(ino, caller);
    const { handle } = await fs.open(b, O_RDONLY, caller);
    await clock.advance(9_000);
    await fs.getattr(c, caller);
    expect(client.watch.forgotten).to.deep.equal([]);
    await clock.advance(2_000);
    expect(client.watch.forgotten).to.deep.equal([a]);
    await fs.release(handle);
    await clock.advance(12_000);
    expect(client.watch.forgotten).to.deep.equal([a, b]);
  });
});

describe("fuse core: directories", () => {
  it("lists in pages, and goes on at any entry's place", async () => {
    const { fs, client } = make();
    const dir = await fs.mkdir(ROOT_INO, name("d"), 0o755, caller);
    const count = 2500;
    for (let i = 0; i < count; i++) {
      await client.meta.create(dir.ino, name(`f${String(i).padStart(5, "0")}`), {
        mode: S_IFREG | 0o644,
        uid: 0,
        gid: 0,
      });
    }
    const handle = await fs.opendir(dir.ino, caller);
    const all = await list(fs, handle);
    expect(all.length).to.equal(count + 2);
    expect(all.slice(0, 2).map((e) => [String(e.name), e.ino])).to.deep.equal([
      [".", dir.ino],
      ["..", ROOT_INO],
    ]);
    expect(new Set(all.map((e) => String(e.name))).size).to.equal(count + 2);
    for (const at of [0, 1, 2, 500, 999, 1001, 1002, 1999, 2003, 2501]) {
      const rest = await list(fs, handle, all[at]!.next, 3);
      expect(rest.map((e) => String(e.name))).to.deep.equal(all.slice(at + 1, at + 4).map((e) => String(e.name)));
    }
    expect(client.calls["readDirectory"]).to.be.lessThan(20);
    fs.releasedir(handle);
    expect((await rejection(list(fs, handle))).code).to.equal("EBADF");
  });

  it("primes names and attributes for the stat of each entry", async () => {
    const { fs, client } = make();
    for (const n of ["a", "b"]) {
      await client.meta.create(ROOT_INO, name(n), { mode: S_IFREG | 0o644, uid: 0, gid: 0 });
    }
    await list(fs, await fs.opendir(ROOT_INO, caller));
    for (const n of ["a", "b"]) await fs.lookup(ROOT_INO, name(n), caller);
    expect(client.calls["lookup"] ?? 0).to.equal(0);
  });

  it("sees new names after a rewind", async () => {
    const { fs, client } = make();
    const handle = await fs.opendir(ROOT_INO, caller);
    expect((await list(fs, handle)).length).to.equal(2);
    await client.meta.create(ROOT_INO, name("a"), { mode: S_IFREG | 0o644, uid: 0, gid: 0 });
    expect((await list(fs, handle)).length).to.equal(3);
  });

  it("is ENOTDIR for a file", async () => {
    const { fs } = make();
    const { inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_WRONLY, caller);
    expect((await rejection(fs.opendir(inode.ino, caller))).code).to.equal("ENOTDIR");
  });
});

describe("fuse core: the rest", () => {
  it("shows df the bytes that files can take, petabytes too", async () => {
    const PB = 1e15;
    const space = { capacity: 300 * PB, used: 90 * PB, available: 180 * PB };
    const { fs } = make({ capacity: { ...space, inodes: 5_000_000_000, replicas: 3, quotas: [] } });
    const s = await fs.statfs(ROOT_INO, caller);
    expect(s.blocks * s.blockSize).to.be.closeTo(100 * PB, 1e4);
    expect((s.blocks - s.free) * s.blockSize).to.be.closeTo(30 * PB, 1e4);
    expect(s.available * s.blockSize).to.be.closeTo(60 * PB, 1e4);
    expect(s.files - s.filesFree).to.equal(5_000_000_000);
    expect(s.nameMax).to.equal(255);
  });

  it("shows df the quota that leaves least, and no more than the cluster has", async () => {
    const MIB = 1 << 20;
    const space = { capacity: 300 * MIB, used: 90 * MIB, available: 180 * MIB, inodes: 7, replicas: 3 };
    const statfs = async (...quotas: [names: number, usedNames: number, bytes: number, usedBytes: number][]) => {
      const shown = quotas.map(([names, usedNames, bytes, usedBytes]) => ({ names, usedNames, bytes, usedBytes }));
      const { blocks, free, available, files, filesFree } = await make({
        capacity: { ...space, quotas: shown },
      }).fs.statfs(ROOT_INO, caller);
      return { blocks: blocks / 256, free: free / 256, available: available / 256, files, filesFree };
    };
    const all = await statfs([0, 3, 0, 3]);
    expect(all).to.deep.equal(await statfs());
    expect(all).to.deep.include({ blocks: 100, free: 70, available: 60 });
    expect(await statfs([10, 4, 20 * MIB, 5 * MIB])).to.deep.equal({
      ...{ blocks: 20, free: 15, available: 15 },
      ...{ files: 10, filesFree: 6 },
    });
    const { files, filesFree } = all;
    expect(await statfs([0, 9, 500 * MIB, 0], [0, 9, 1000 * MIB, 600 * MIB])).to.deep.equal({
      ...{ blocks: 1000, free: 400, available: 60 },
      ...{ files, filesFree },
    });
    expect(await statfs([5, 9, MIB, 2 * MIB])).to.deep.equal({
      ...{ blocks: 1, free: 0, available: 0 },
      ...{ files: 5, filesFree: 0 },
    });
  });

  it("wants a name behind the name space of an extended attribute", async () => {
    const { fs } = make();
    await Promise.all(
      ["user.", "trusted.", "security."].map(async (space) => {
        expect(await rejection(fs.getxattr(ROOT_INO, name(space), caller))).to.include({ code: "EINVAL" });
      }),
    );
  });

  it("keeps extended attributes, but no access control lists", async () => {
    const { fs, client } = make();
    const { inode } = await fs.create(ROOT_INO, name("a"), 0o644, O_WRONLY, caller);
    const value = Buffer.from([0, 255, 1]);
    await fs.setxattr(inode.ino, name("user.x"), value, undefined, caller);
    value.fill(9);
    expect(await fs.getxattr(inode.ino, name("user.x"), caller)).to.deep.equal(Buffer.from([0, 255, 1]));
    expect((await fs.listxattr(inode.ino, caller)).map(String)).to.deep.equal(["user.x"]);
    expect((await rejection(fs.setxattr(inode.ino, name("user.x"), value, "create", caller))).code).to.equal("EEXIST");
    await fs.removexattr(inode.ino, name("user.x"), caller);
    const asked = client.calls["getXattr"];
    await fs.getattr(inode.ino, caller);
    expect((await rejection(fs.getxattr(inode.ino, name("user.x"), caller))).code).to.equal("ENODATA");
    expect(await fs.listxattr(inode.ino, caller)).to.deep.equal([]);
    expect(client.calls["getXattr"], "no question when there are none").to.equal(asked);
    const acl = fs.getxattr(inode.ino, name("system.posix_acl_access"), caller);
    expect((await rejection(acl)).code).to.equal("EOPNOTSUPP");
  });
});
