import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { cairn, TestCluster } from "../support/cluster.js";
import { run, sh } from "../support/run.js";

describe("the care of the names", function () {
  this.timeout(300_000);
  let cluster: TestCluster;
  let scratch: string;
  before(async () => {
    scratch = mkdtempSync(join(tmpdir(), "cairn-care-"));
    const env = { CAIRN_NAMENODE_TRASH_MS: "86400000", CAIRN_MOUNT_TRASH: "true" };
    cluster = await TestCluster.start({ env });
  });
  after(() => {
    cluster?.destroy();
    rmSync(scratch, { recursive: true, force: true });
  });

  const local = (name: string) => join(scratch, name);
  const fs = (...args: string[]) => cluster.ok(["fs", ...args]);

  /** Runs a command that needs no cluster. */
  async function offline(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await cairn(args, { timeoutMs: 60_000 });
    expect(code, stderr).to.equal(0);
    return stdout;
  }

  it("goes on from a backup, made while it ran, with what the backup has", async () => {
    const big = randomBytes(3 << 20);
    writeFileSync(local("big"), big);
    writeFileSync(local("small"), "a few bytes");
    await fs("put", local("big"), local("small"), "/");
    await cluster.ok(["admin", "backup", local("names.bak")]);
    await fs("put", local("small"), "/later");
    expect(await offline("admin", "check-backup", local("names.bak"))).to.match(/is intact: cluster .* as of edit \d+/);
    const dump = await offline("admin", "dump", "--from", local("names.bak"));
    expect(dump).to.include('"name":"big"').and.not.to.include('"name":"later"');
    expect(await cluster.ok(["admin", "dump"])).to.include('"name":"later"');

    await cluster.down();
    const folder = join(cluster.root, "namenode");
    renameSync(folder, local("lost"));
    await offline("admin", "restore", local("names.bak"), folder);
    await cluster.up();
    expect(await fs("ls", "/")).to.equal("big\nsmall\n");
    await cluster.healthy();
    await fs("get", "/big", local("again"));
    expect(readFileSync(local("again")).equals(big)).to.equal(true);
    expect(await fs("cat", "/small")).to.equal("a few bytes");
    await fs("put", local("big"), "/new");
    expect((await cluster.healthy()).summary.files).to.equal(3);
    expect(await cluster.ok(["admin", "fsck", "--repair"])).to.match(
      /the counters of files, folders and blocks are right\n$/,
    );
  });

  it("takes back from the trash what was removed", async () => {
    expect(await fs("rm", "/new")).to.match(/^\/new: moved to \/\.trash\//);
    expect(await fs("trash", "ls")).to.match(/^\d{4}-\d\d-\d\d {2}\/new\n$/);
    await fs("trash", "restore", "/new");
    await fs("get", "/new", local("restored"));
    expect(readFileSync(local("restored")).equals(readFileSync(local("big")))).to.equal(true);
    await fs("rm", "--skip-trash", "/new");
    await fs("trash", "empty");
    expect(await fs("trash", "ls")).to.equal("");
  });

  it("has in the trash what programs remove on a mount that is to do so", async () => {
    const script = `
set -e
mkdir -p dir/below
echo removed > dir/below/file; echo others > dir/below/other
exec 3< dir/below/file
rm dir/below/file
test ! -e dir/below/file
cat <&3
exec 3<&-
cat .trash/*/*/dir/below/file
echo new > new; mv new dir/below/other
rm -r dir
test ! -e dir
find .trash -type f | sed 's,^.trash/[^/]*/[^/]*/,,' | sort`;
    const { stdout, stderr, code } = await run("sh", ["-c", script], { cwd: cluster.mount });
    expect(code, stderr).to.equal(0);
    expect(stdout).to.equal("removed\nremoved\ndir/below/file\ndir/below/other\n");
    await fs("trash", "restore", "/dir/below/other");
    expect(readFileSync(join(cluster.mount, "dir/below/other"), "utf8")).to.equal("new\n");
    await sh(`rm -r ${cluster.mount}/dir ${cluster.mount}/.trash/*/*/dir/below/file`);
    expect(await sh(`cd ${cluster.mount}/.trash && find . -type f`)).to.match(/^[^\n]*\/dir\/below\/other\n$/);
    await fs("trash", "empty");
  });
});
