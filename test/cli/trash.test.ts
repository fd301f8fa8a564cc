import { expect } from "chai";
import { rm } from "../../cli/fs/names.js";
import { Progress } from "../../cli/fs/progress.js";
import { isInTrash, ownTrash } from "../../cli/fs/to-trash.js";
import { trashEmpty, trashRestore } from "../../cli/fs/trash.js";
import { codeOf } from "../../common/errors.js";
import { dayOf } from "../../common/trash.js";
import { MemoryClient } from "../support/memory-client.js";

describe("cairn fs rm and the trash", () => {
  const progress = new Progress("test");
  let client: MemoryClient;
  beforeEach(() => {
    client = new MemoryClient();
    client.trashMs = 1000;
  });

  async function make(path: string, mode = 0o100644): Promise<number> {
    const names = path.split("/").slice(1);
    let dir = 1;
    for (const [i, name] of names.entries()) {
      const node = { mode: i === names.length - 1 ? mode : 0o040755, uid: 0, gid: 0 };
      const there = await client.meta.lookup(dir, Buffer.from(name)).catch(() => undefined);
      dir = there?.ino ?? (await client.meta.create(dir, Buffer.from(name), node)).inode.ino;
    }
    return dir;
  }
  const inoOf = (path: string) =>
    client.meta.resolve(path).then(
      (inode) => inode.ino,
      (err: unknown) => codeOf(err),
    );
  /** A path as the trash has it; made anew where a day may have begun. */
  const trashed = (path: string) => `${ownTrash()}/${dayOf(Date.now())}${path}`;

  it("moves what is removed under its path, and back", async () => {
    const file = await make("/a/b/file");
    const other = await make("/a/b/other");
    await rm(client, ["/a/b/file"], {}, progress);
    expect(await inoOf("/a/b/file")).equal("ENOENT");
    expect(await inoOf(trashed("/a/b/file"))).equal(file);
    await rm(client, ["/a"], { recursive: true }, progress);
    expect(await inoOf(trashed("/a.1/b/other"))).equal(other);
    await trashRestore(client, ["/a/b/file"]);
    expect(await inoOf("/a/b/file")).equal(file);
    const again = await trashRestore(client, ["/a/b/file"]).catch(codeOf);
    expect(again).equal("ENOENT");
  });

  it("keeps several of the same path, and puts none over what is there", async () => {
    const first = await make("/f");
    await rm(client, ["/f"], {}, progress);
    const second = await make("/f");
    await rm(client, ["/f"], {}, progress);
    const third = await make("/f");
    expect(await trashRestore(client, ["/f"]).catch(codeOf)).equal("EEXIST");
    expect([await inoOf("/f"), await inoOf(trashed("/f")), await inoOf(trashed("/f.1"))]).eql([third, first, second]);
  });

  it("removes for good with --skip-trash, in the trash, and where there is none", async () => {
    await make("/f");
    await rm(client, ["/f"], { skipTrash: true }, progress);
    expect(await inoOf("/.trash")).equal("ENOENT");
    await make("/g");
    await make("/h/i");
    await rm(client, ["/g", "/h"], { recursive: true }, progress);
    await rm(client, [trashed("/g")], {}, progress);
    expect(await inoOf(trashed("/g"))).equal("ENOENT");
    await trashEmpty(client, progress);
    expect(await inoOf(ownTrash())).equal("ENOENT");
    client.trashMs = 0;
    await make("/k");
    await rm(client, ["/k"], {}, progress);
    expect(await inoOf(ownTrash())).equal("ENOENT");
    expect([isInTrash("/.trash"), isInTrash("/.trash/x"), isInTrash("/.trashy")]).eql([true, true, false]);
  });
});
