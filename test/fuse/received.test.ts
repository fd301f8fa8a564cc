// What a mount makes of an inode as it comes from the namenode, where fields that are zero are not sent.
import { constants } from "node:fs";
import { expect } from "chai";
import { ROOT_INO } from "../../common/limits.js";
import { silentLogger } from "../../common/log.js";
import { FileSystem } from "../../fuse/core.js";
import { SquashedFileSystem } from "../../fuse/squash.js";
import { subtree } from "../../fuse/subtree.js";
import type { Inode } from "../../proto/gen/types.js";
import { MemoryClient } from "../support/memory-client.js";

const { O_RDWR, S_IFREG, S_IFDIR } = constants;
const root = { uid: 0, gid: 0, pid: 7 };
const name = (text: string) => Buffer.from(text);
const parts = (client: MemoryClient) => ({ client, kernelMs: 1000, log: silentLogger });

/** Fields of root's empty file that nothing has set. */
const ZEROS = ["uid", "gid", "rdev", "parent", "inline", "xattrs"] as const;

function expectZeros(inode: Inode): void {
  for (const key of ZEROS) expect(inode[key], key).to.equal(0);
  expect(Buffer.isBuffer(inode.target)).to.equal(true);
}

describe("fuse: what is zero of an inode", () => {
  let client: MemoryClient;
  let fs: FileSystem;
  beforeEach(() => {
    client = new MemoryClient();
    fs = new FileSystem(parts(client));
  });

  it("survives unflushed writes, and attributes that wait for them", async () => {
    const { handle, inode } = await fs.create(ROOT_INO, name("f"), 0o644, O_RDWR, root);
    expectZeros(inode);
    expect(inode.size).to.equal(0);
    await fs.write(handle, 0, Buffer.from("abc"), root);
    expectZeros(await fs.getattr(inode.ino, root));
    expectZeros(await fs.setattr(inode.ino, { mode: 0 }, root));
    const seen = await fs.getattr(inode.ino, root);
    expectZeros(seen);
    expect([seen.mode, seen.size]).to.deep.equal([S_IFREG, 3]);
    expectZeros(await fs.setattr(inode.ino, { size: 0 }, root));
    await fs.release(handle);
    expectZeros(await fs.getattr(inode.ino, root));
  });

  it("spares questions about extended attributes while a file is written", async () => {
    const { handle, inode } = await fs.create(ROOT_INO, name("f"), 0o644, O_RDWR, root);
    await fs.write(handle, 0, Buffer.from("abc"), root);
    expect(await fs.listxattr(inode.ino, root)).to.deep.equal([]);
    expect(client.calls["listXattrs"] ?? 0).to.equal(0);
  });

  it("survives the loss of the last name", async () => {
    const { handle, inode } = await fs.create(ROOT_INO, name("f"), 0o644, O_RDWR, root);
    await client.meta.unlink(ROOT_INO, name("f"));
    client.watch.tell({ attributes: [inode.ino], names: [{ dir: ROOT_INO, name: name("f") }] });
    const orphan = await fs.getattr(inode.ino, root);
    expectZeros(orphan);
    expect([orphan.nlink, orphan.size]).to.deep.equal([0, 0]);
    await fs.release(handle);
  });

  it("survives being remembered with a symlink's target", async () => {
    const { ino } = await fs.symlink(ROOT_INO, name("l"), name("t"), root);
    const link = await fs.getattr(ino, root);
    expectZeros(link);
    expect(link.target).to.deep.equal(name("t"));
  });

  it("survives being shown as somebody else's", async () => {
    const squashed = new SquashedFileSystem(parts(client), { uid: 0 });
    const { inode } = await squashed.create(ROOT_INO, name("f"), 0o644, O_RDWR, { uid: 12, gid: 0, pid: 7 });
    expectZeros(inode);
    expect(inode.size).to.equal(0);
  });

  it("survives being seen from a folder", async () => {
    await client.meta.create(ROOT_INO, name("d"), { mode: S_IFDIR | 0o755, uid: 0, gid: 0 });
    const below = await subtree(client, "/d");
    const { inode } = await below.meta.create(ROOT_INO, name("f"), { mode: S_IFREG, uid: 0, gid: 0 });
    expectZeros(inode);
    expect(inode.parent).to.equal(0);
  });
});
