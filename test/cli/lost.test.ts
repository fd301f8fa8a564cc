import { expect } from "chai";
import { isLostAndFound, putAway } from "../../cli/admin/lost.js";
import { codeOf } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import { MemoryClient } from "../support/memory-client.js";

describe("files that cannot be read as a whole", () => {
  const file = { mode: 0o100600, uid: 0, gid: 0 };
  let client: MemoryClient;
  let dir: number;
  let ino: number;
  beforeEach(async () => {
    client = new MemoryClient();
    dir = (await client.meta.create(ROOT_INO, Buffer.from("a"), { ...file, mode: 0o040755 })).inode.ino;
    ino = (await client.meta.create(dir, Buffer.from([0xff]), file)).inode.ino;
  });
  const path = Buffer.from([0x2f, 0x61, 0x2f, 0xff]);

  it("are moved to /lost+found under their paths, several of the same one after the other", async () => {
    const moved = await putAway(client, "move", path, ino);
    expect(moved).eql(Buffer.from([...Buffer.from("/lost+found/a/"), 0xff]));
    expect(isLostAndFound(moved!)).equal(true);
    expect(isLostAndFound(path)).equal(false);
    const second = (await client.meta.create(dir, Buffer.from([0xff]), file)).inode.ino;
    expect(await putAway(client, "move", path, second)).eql(Buffer.concat([moved!, Buffer.from(".1")]));
    const { ino: inside } = await client.meta.resolve("/lost+found/a");
    expect((await client.meta.readDirectory(inside, Buffer.alloc(0), 10)).entries.map((e) => e.inode.ino)).eql([
      ino,
      second,
    ]);
  });

  it("are removed", async () => {
    expect(await putAway(client, "delete", path, ino)).equal(undefined);
    expect((await client.meta.readDirectory(dir, Buffer.alloc(0), 10)).entries).eql([]);
  });

  it("stay when the name is another file's by now", async () => {
    const code = await putAway(client, "delete", path, ino + 1).then(() => "none", codeOf);
    expect(code).equal("ENOENT");
    expect((await client.meta.lookup(dir, Buffer.from([0xff]))).ino).equal(ino);
  });
});
