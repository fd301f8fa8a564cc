import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { GIB } from "../../common/limits.js";
import { cairn, requireFuse, TestCluster } from "../support/cluster.js";
import { quote, sh } from "../support/run.js";
import { until } from "../support/until.js";

/** Real files, of all kinds and sizes: what is on every machine that can build this project. */
const TREES = ["/usr/include", "/usr/share/doc"];
const COPY_MS = 900_000;

describe("real files on the mount", function () {
  this.timeout(2 * COPY_MS);
  let cluster: TestCluster;
  let scratch: string;

  before(async () => {
    requireFuse();
    scratch = mkdtempSync(join(tmpdir(), "cairn-e2e-files-"));
    cluster = await TestCluster.start();
  });
  after(() => {
    cluster?.destroy();
    rmSync(scratch, { recursive: true, force: true });
  });

  const node = quote(process.execPath);
  const copy = (source: string) => `${quote(cluster.mount)}/${quote(source.slice(source.lastIndexOf("/") + 1))}`;
  /** Everything is as it was: names, links, modes, owners and times, and the contents if asked for (that takes longest). */
  async function compare(contents: boolean): Promise<void> {
    const attributes = (folder: string) =>
      sh(`cd ${folder} && find . -printf '%P %y %m %U %G %T@ %l\\n' | LC_ALL=C sort`, { timeoutMs: COPY_MS });
    for (const tree of TREES) {
      if (contents) await sh(`diff -r --no-dereference ${tree} ${copy(tree)}`, { timeoutMs: COPY_MS });
      expect(await attributes(copy(tree)), tree).to.equal(await attributes(tree));
    }
    await sh(`cmp ${node} ${copy(process.execPath)}`);
    expect(await sh(`sha256sum < ${cluster.mount}/random`, { timeoutMs: COPY_MS })).to.equal(sum);
  }
  let sum = "";

  it("takes trees with cp -a, and gives them back", async () => {
    for (const tree of TREES) {
      await sh(`cp -a ${tree} ${cluster.mount}/`, { timeoutMs: COPY_MS });
      await sh(`diff -r --no-dereference ${tree} ${copy(tree)}`, { timeoutMs: COPY_MS });
    }
    await sh(`cp -a ${node} ${cluster.mount}/ && cmp ${node} ${copy(process.execPath)}`);
    expect(await sh(`${copy(process.execPath)} --version`)).to.equal(`${process.version}\n`);
  });

  it("takes a file of 1 GiB: 16 blocks with three replicas each", async () => {
    await sh(`head -c 1G /dev/urandom > ${scratch}/random`, { timeoutMs: COPY_MS });
    sum = await sh(`sha256sum < ${scratch}/random`, { timeoutMs: COPY_MS });
    await sh(`cp ${scratch}/random ${cluster.mount}/random`, { timeoutMs: COPY_MS });
    await sh("echo 3 > /proc/sys/vm/drop_caches");
    expect(await sh(`sha256sum < ${cluster.mount}/random`, { timeoutMs: COPY_MS })).to.equal(sum);
    await cluster.healthy(); // a datanode that was too slow for the pipeline is made up for
    const { files, summary } = await cluster.fsck("/random");
    expect(files).to.have.length(1);
    expect(files[0]).to.include({ path: "/random", size: GIB, blockSize: GIB / 16, wantedReplicas: 3 });
    expect(files[0]?.blocks.map((b) => [b.length, new Set(b.liveReplicas).size])).to.deep.equal(
      Array.from({ length: 16 }, () => [GIB / 16, 3]),
    );
    expect(summary).to.include({
      files: 1,
      blocks: 16,
      missing: 0,
      corrupt: 0,
      underReplicated: 0,
      overReplicated: 0,
      healthy: true,
    });
    rmSync(`${scratch}/random`);
  });

  it("keeps datanodes below 256 MiB of memory", async () => {
    for (const name of ["datanode-1", "datanode-2", "datanode-3"]) {
      const peak = Number((await sh(`grep VmHWM /proc/${cluster.pid(name)}/status`)).replaceAll(/\D/g, ""));
      expect(peak / 1024, `MiB of ${name} at its peak`).to.be.below(256);
    }
  });

  it("has df tell the space", async () => {
    const [size, used, available] = (await sh(`df --output=size,used,avail -B1 ${cluster.mount} | tail -1`))
      .trim()
      .split(/\s+/)
      .map(Number);
    expect(used).to.be.above(GIB);
    expect(size)
      .to.be.above(used ?? 0)
      .and.to.be.above(available ?? 0);
  });

  it("has everything after unmount and remount", async () => {
    const mount = cluster.pid("mount");
    const { code, stderr } = await cairn(["umount", cluster.mount]);
    expect(code, stderr).to.equal(0);
    await until(() => !existsSync(`/proc/${mount}`), { what: "the mount's daemon to end" });
    expect(readdirSync(cluster.mount)).to.deep.equal([]);
    await cluster.up();
    await compare(false);
  });

  it("has everything after every daemon was killed and restarted", async () => {
    await sh(`echo last words > ${cluster.mount}/just-before`);
    for (const name of ["mount", "namenode", "datanode-1", "datanode-2", "datanode-3"]) await cluster.kill(name);
    await cluster.up();
    expect(await sh(`cat ${cluster.mount}/just-before`)).to.equal("last words\n");
    await compare(true);
    expect((await cluster.healthy()).summary.files).to.be.above(1000);
  });
});
