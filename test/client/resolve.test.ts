import { expect } from "chai";
import type { CairnClient } from "../../client/contract.js";
import { codeOf } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import { FakeCluster } from "../support/fake-cluster.js";
import { S_IFDIR, S_IFLNK, S_IFREG } from "../support/fake-namenode.js";

describe("resolving a path", () => {
  let cluster: FakeCluster;
  let client: CairnClient;
  const inos = new Map<string, number>();

  before(async () => {
    cluster = await FakeCluster.start(0);
    client = await cluster.client();
    inos.set("/", ROOT_INO);
    const make = async (path: string, mode: number, target?: string) => {
      const slash = path.lastIndexOf("/");
      const dir = inos.get(path.slice(0, slash) || "/")!;
      const node = { mode, uid: 0, gid: 0, ...(target !== undefined && { target: Buffer.from(target) }) };
      const { inode } = await client.meta.create(dir, Buffer.from(path.slice(slash + 1)), node);
      inos.set(path, inode.ino);
    };
    await make("/a", S_IFDIR | 0o755);
    await make("/a/b", S_IFDIR | 0o755);
    await make("/a/b/file", S_IFREG | 0o644);
    await make("/a/up", S_IFLNK | 0o777, "../a/b");
    await make("/a/abs", S_IFLNK | 0o777, "/a/b/");
    await make("/tofile", S_IFLNK | 0o777, "a/up/file");
    await make("/dangling", S_IFLNK | 0o777, "nowhere");
    await make("/loop", S_IFLNK | 0o777, "loop");
    for (let i = 0; i < 41; i++) await make(`/l${i}`, S_IFLNK | 0o777, i === 0 ? "a" : `l${i - 1}`);
  });
  after(() => cluster.stop());

  const cases: [path: string, expected: string, followLast?: boolean][] = [
    ["/", "/"],
    ["//", "/"],
    ["/.", "/"],
    ["/..", "/"],
    ["/a/b/file", "/a/b/file"],
    ["//a///b/./file", "/a/b/file"],
    ["/a/b/..", "/a"],
    ["/a/b/../b/../../a/b/file", "/a/b/file"],
    ["/a/up", "/a/b"],
    ["/a/up", "/a/up", false],
    ["/a/up/", "/a/b", false],
    ["/a/up/file", "/a/b/file", false],
    ["/a/up/..", "/a"],
    ["/a/abs/file", "/a/b/file"],
    ["/tofile", "/a/b/file"],
    ["/tofile", "/tofile", false],
    ["/dangling", "/dangling", false],
    ["/l39", "/a"],
    ["/nothing", "ENOENT"],
    ["/a/nothing/more", "ENOENT"],
    ["/dangling", "ENOENT"],
    ["/a/b/file/more", "ENOTDIR"],
    ["/a/b/file/", "ENOTDIR"],
    ["/tofile/", "ENOTDIR"],
    ["/loop", "ELOOP"],
    ["/l40", "ELOOP"],
    ["a/b", "EINVAL"],
    ["", "EINVAL"],
    ["/a\0b", "EINVAL"],
    [`/${"x".repeat(256)}`, "ENAMETOOLONG"],
    ["/a".repeat(3000), "ENAMETOOLONG"],
  ];
  for (const [path, expected, followLast] of cases) {
    const shown = path.length > 40 ? `${path.slice(0, 40)}…` : JSON.stringify(path);
    it(`${shown}${followLast === false ? " (not following the last)" : ""} is ${expected}`, async () => {
      const found = await client.meta.resolve(path, followLast).then(
        ({ ino }) => ino,
        (err) => codeOf(err),
      );
      expect(found).to.equal(inos.get(expected) ?? expected);
      const bytes = await client.meta.resolve(Buffer.from(path), followLast).then(
        ({ ino }) => ino,
        (err) => codeOf(err),
      );
      expect(bytes).to.equal(found);
    });
  }

  it("takes one round trip for several names", async () => {
    const before = cluster.namenode.count("Walk");
    await client.meta.resolve("/a/b/file");
    expect(cluster.namenode.count("Walk") - before).to.equal(1);
  });
});
