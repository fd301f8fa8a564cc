import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { requireFuse, TestCluster } from "../support/cluster.js";
import { sh } from "../support/run.js";
import { until } from "../support/until.js";

describe("snapshots on a mount", function () {
  this.timeout(600_000);
  let cluster: TestCluster;
  let scratch: string;
  before(async () => {
    requireFuse();
    scratch = mkdtempSync(join(tmpdir(), "cairn-e2e-snapshots-"));
    cluster = await TestCluster.start();
  });
  after(() => {
    cluster?.destroy();
    rmSync(scratch, { recursive: true, force: true });
  });

  const at = (path: string) => `${cluster.mount}/${path}`;
  /** Names, types, modes, owners, sizes, times, link targets and attributes below a folder. */
  const attributes = (folder: string) =>
    sh(
      `cd ${folder} && find . -printf '%P %y %m %U %G %s %n %T@ %l\\n' | LC_ALL=C sort && ` +
        `find . -type f -exec getfattr -h -d -m user {} + | LC_ALL=C sort`,
    );

  it("show a folder as it was, whatever is done to it, and give back what they kept", async () => {
    const dir = at("dir");
    // That there is none yet is remembered by the kernel, and must not be believed later.
    await sh(`mkdir ${dir} && ! stat ${dir}/.snapshot 2> /dev/null && ! ls ${dir}/.snapshot 2> /dev/null`);
    await sh(
      `cd ${dir} && mkdir -p a/b && for i in 1 2 3 4 5 6; do head -c 300000 /dev/urandom > a/f$i; done && ` +
        "echo small > a/b/small && ln -s ../f1 a/b/ln && ln a/f1 a/b/hard && setfattr -n user.x -v 1 a/f2 && chmod 640 a/f3",
    );
    await sh(`cp -a ${dir}/. ${scratch}/copy`);
    const before = await attributes(dir);
    const { blocks } = await cluster.report();

    expect(await cluster.ok(["snapshot", "create", "/dir", "one"])).to.equal("/dir/.snapshot/one\n");
    const one = `${dir}/.snapshot/one`;
    await sh(
      `cd ${dir}/a && printf new | dd of=f1 bs=1 seek=1000 conv=notrunc status=none && echo more >> f2 && truncate -s 1000 f3 && ` +
        "fallocate -p -o 65536 -l 65536 f4 && mv f5 ../moved && rm f6 b/small b/ln && chmod 600 b/hard && setfattr -n user.x -v 2 f2 && " +
        "mv b ../c && mkdir new && echo new > new/file",
    );
    expect(await attributes(one)).to.equal(before);
    await sh(`diff -r --no-dereference ${scratch}/copy ${one}`);
    // The kernel's memory is not what shows it.
    await sh(`echo 3 > /proc/sys/vm/drop_caches && diff -r --no-dereference ${scratch}/copy ${one}`);
    expect(await sh(`ls -A ${dir}`)).to.equal("a\nc\nmoved\n");
    expect(await sh(`ls ${dir}/.snapshot`)).to.equal("one\n");
    expect(await cluster.ok(["fs", "cat", "/dir/.snapshot/one/a/b/small"])).to.equal("small\n");
    expect(await cluster.ok(["fs", "ls", "/dir/.snapshot/one/a"])).to.equal("b\nf1\nf2\nf3\nf4\nf5\nf6\n");
    expect((await cluster.fsck("/dir/.snapshot/one")).summary).to.include({ files: 8, healthy: true });

    await sh(`cp -a ${one}/a/f6 ${dir}/a/ && cmp ${dir}/a/f6 ${scratch}/copy/a/f6`);

    await cluster.ok(["fs", "cp", "/dir/.snapshot/one/a/f5", "/again"]);
    await sh(`cmp ${at("again")} ${scratch}/copy/a/f5 && rm ${at("again")}`);

    for (const change of [
      "touch new",
      "mkdir new",
      "rm a/f1",
      "rmdir a/b",
      "mv a/f1 a/f9",
      "ln a/f1 a/f9",
      "ln -s x a/f9",
      "chmod 600 a/f1",
      "chown 1 a/f1",
      "touch a/f1",
      "truncate -s 1 a/f1",
      "sh -c 'echo x >> a/f1'",
      "setfattr -n user.x -v 2 a/f2",
    ])
      expect(await sh(`cd ${one} && ${change} 2>&1 || true`), change).to.match(/Read-only file system/);
    expect(await sh(`rmdir ${dir}/.snapshot 2>&1 || true`)).to.match(/busy/);
    expect(await sh(`mkdir ${at("a")} && mkdir ${at("a/.snapshot")} 2>&1 || true`)).to.match(/File exists/);

    // Of empty files the namenode hears a little later, unless somebody wants to know.
    await sh(`touch ${dir}/a/new/empty`);
    await cluster.ok(["snapshot", "create", "/dir"]);
    expect(await sh(`ls ${dir}/.snapshot/s*/a/new`)).to.equal("empty\nfile\n");
    expect(await cluster.ok(["snapshot", "list", "/dir"])).to.match(/Z {2}one\n.*Z {2}s\d{8}-\d{6}\.\d{3}\n$/);
    const { code, stderr } = await cluster.cairn(["fs", "rm", "-r", "/dir"]);
    expect([code, stderr]).to.deep.equal([
      1,
      "cairn: cannot remove /dir: it has snapshots (see `cairn snapshot list`) (ENOTEMPTY)\n",
    ]);
    await sh(`rm -rf ${dir}/* && ! rmdir ${dir} 2> /dev/null`);
    await sh(`diff -r --no-dereference ${scratch}/copy ${one}`);

    const [, second] = (await cluster.ok(["snapshot", "list", "/dir"])).trim().split("\n");
    await cluster.ok(["snapshot", "delete", "/dir", second!.split("  ")[1]!]);
    expect(await sh(`ls ${dir}/.snapshot`)).to.equal("one\n");
    await until(async () => (await cluster.report()).blocks === blocks, {
      what: "only the blocks of the first to be left",
    });
    await sh(`diff -r --no-dereference ${scratch}/copy ${one}`);

    await cluster.ok(["snapshot", "delete", "/dir", "one"]);
    expect(await sh(`ls ${one} 2>&1 || true`)).to.match(/No such file/);
    await until(async () => (await cluster.report()).blocks === 0, { what: "its blocks to be gone" });
    await until(async () => (await cluster.report()).datanodes.every((d) => d.blocks === 0), {
      what: "the datanodes to have none of its blocks",
    });
    await sh(`rmdir ${dir}`);
  });
});
