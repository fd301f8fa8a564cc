import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { cairn, cleanEnv, requireFuse, TestCluster } from "../support/cluster.js";
import { sh } from "../support/run.js";

describe("cairn fs", function () {
  this.timeout(900_000);
  let cluster: TestCluster;
  let scratch: string;
  before(async () => {
    requireFuse();
    scratch = mkdtempSync(join(tmpdir(), "cairn-e2e-fs-"));
    cluster = await TestCluster.start();
  });
  after(() => {
    cluster?.destroy();
    rmSync(scratch, { recursive: true, force: true });
  });

  const fs = (...args: string[]) => cluster.ok(["fs", ...args]);
  async function refused(code: string, ...args: string[]): Promise<string> {
    const outcome = await cluster.cairn(["fs", ...args]);
    expect(outcome.code, outcome.stderr).to.equal(1);
    expect(outcome.stderr).to.match(new RegExp(`^cairn: [^\\n]+ \\(${code}\\)\\n$`));
    return outcome.stderr;
  }

  it("puts, lists, shows and gets files", async () => {
    await sh(`head -c 3000000 /dev/urandom > ${scratch}/big; echo small > ${scratch}/small`);
    await fs("mkdir", "-p", "/a/b/c");
    await fs("put", `${scratch}/big`, `${scratch}/small`, "/a/b");
    expect(await fs("ls", "/a/b")).to.equal("big\nc\nsmall\n");
    expect(await fs("cat", "/a/b/small", "/a/b/small")).to.equal("small\nsmall\n");
    await fs("get", "/a/b/big", `${scratch}/big.back`);
    await sh(`cmp ${scratch}/big ${scratch}/big.back; cmp ${scratch}/big ${cluster.mount}/a/b/big`);
    expect(await fs("ls", "-l", "-h", "/a/b/big")).to.match(/^-rw-r--r-- 1 root\s+root\s+2\.9M .* \/a\/b\/big\n$/);
    expect(await fs("ls", "-R", "/a")).to.equal("/a:\nb\n\n/a/b:\nbig\nc\nsmall\n\n/a/b/c:\n");
    expect(await fs("stat", "/a/b/big"))
      .to.match(/size: 3000000 bytes/)
      .and.to.match(/replicas: 3/);
  });

  it("does not replace files unless told to", async () => {
    await refused("EEXIST", "put", `${scratch}/small`, "/a/b/big");
    expect(await fs("ls", "/a/b")).to.equal("big\nc\nsmall\n");
    await fs("put", "-f", `${scratch}/small`, "/a/b/big");
    expect(await fs("cat", "/a/b/big")).to.equal("small\n");
    await refused("EEXIST", "get", "/a/b/big", `${scratch}/big`);
    expect(statSync(`${scratch}/big`).size).to.equal(3_000_000);
  });

  it("sets how many copies are kept, of a file and of a tree, and waits until it is so", async () => {
    // Files that are too large to be kept by the namenode, and so have replicas.
    await fs("mkdir", "-p", "/r/b");
    for (const name of ["big", "other"]) await fs("put", `${scratch}/big`, `/r/b/${name}`);
    await fs("setrep", "2", "/r/b/other", "--wait");
    const copies = async () =>
      Object.fromEntries((await cluster.fsck("/r")).files.map((f) => [f.path, f.blocks[0]?.liveReplicas.length]));
    expect(await copies()).to.deep.equal({ "/r/b/big": 3, "/r/b/other": 2 });
    expect(await refused("EISDIR", "setrep", "1", "/r")).to.contain("use -R");
    await fs("setrep", "-R", "1", "/r", "--wait");
    expect(await copies()).to.deep.equal({ "/r/b/big": 1, "/r/b/other": 1 });
    await fs("setrep", "-R", "3", "/r", "--wait");
    expect(await copies()).to.deep.equal({ "/r/b/big": 3, "/r/b/other": 3 });
    await sh(`rm -r ${cluster.mount}/r`);
  });

  it("reads standard input", async () => {
    await cluster.ok(["fs", "put", "-", "/from-stdin"], { input: "typed\n" });
    expect(await fs("cat", "/from-stdin")).to.equal("typed\n");
  });

  it("copies whole trees in and out", async () => {
    const tree = "/usr/include/asm-generic";
    await refused("EISDIR", "put", tree, "/tree");
    await fs("put", "-r", "-p", tree, "/tree");
    await sh(`diff -r --no-dereference ${tree} ${cluster.mount}/tree`);
    await fs("get", "-r", "-p", "/tree", `${scratch}/tree`);
    await sh(`diff -r --no-dereference ${tree} ${scratch}/tree`);
    expect(statSync(`${scratch}/tree/errno.h`).mtimeMs).to.be.closeTo(statSync(`${tree}/errno.h`).mtimeMs, 1);
  });

  it("moves and removes", async () => {
    await fs("mv", "/a/b/small", "/a/b/big", "/a");
    await fs("mv", "/a/small", "/a/renamed");
    expect(await fs("ls", "/a")).to.equal("b\nbig\nrenamed\n");
    await refused("ENOENT", "mv", "/a/none", "/a/other");
    await refused("EISDIR", "rm", "/a");
    await refused("ENOENT", "rm", "/none");
    await fs("rm", "-f", "/none");
    await fs("rm", "-r", "/a", "/tree");
    expect(await fs("ls", "/")).to.equal("from-stdin\n");
    await refused("ENOENT", "ls", "/a");
    await refused("ENOENT", "cat", "/a");
  });

  it("shows the space and sets policies", async () => {
    expect(await fs("df", "-h")).to.match(/^Cluster\s+Size\s+Used\s+Available\s+Use%\n[0-9a-f-]{36}\s+[\d.]+[GTP]/);
    await fs("mkdir", "/lz");
    const said = await fs("policy", "/lz", "--replicas", "2", "--block-size", "2m", "--compression", "lz4");
    expect(said).to.match(/replicas: 2\n.*block size: 2097152.*\n.*compression: lz4/);
    await sh(`head -c 5000000 /dev/zero > ${cluster.mount}/lz/zeros`);
    const [file] = (await cluster.fsck("/lz")).files;
    expect(file).to.include({ path: "/lz/zeros", wantedReplicas: 2, blockSize: 2 << 20 });
    expect(file?.blocks).to.have.length(3);
    await fs("policy", "/lz", "--compression", "raw");
    expect(await fs("policy", "/lz")).to.match(/compression: raw/);
  });

  it("finds its cluster by flag, by environment and by root", async () => {
    const url = `http://127.0.0.1:${cluster.port}`;
    const list = (args: string[], env: NodeJS.ProcessEnv = {}) => cairn(["fs", "ls", ...args], { env: cleanEnv(env) });
    for (const outcome of [
      await list(["--namenode", url], { CAIRN_NAMENODE: "http://127.0.0.1:1" }),
      await list([], { CAIRN_NAMENODE: url }),
      await list(["--root", cluster.root]),
      await list([], { HOME: linkedHome(cluster.root) }),
    ]) {
      expect(outcome.stdout, outcome.stderr).to.equal("from-stdin\nlz\n");
    }
    const none = await list(["--root", scratch]);
    expect(none.code).to.equal(1);
    expect(none.stderr).to.match(/no cluster was started in .*\(ENOENT\)\n$/);
  });

  /** A home whose .cairn is the cluster's root. */
  function linkedHome(root: string): string {
    const home = mkdtempSync(join(scratch, "home-"));
    symlinkSync(root, join(home, ".cairn"));
    return home;
  }
});

describe("cairn admin", function () {
  this.timeout(900_000);
  let cluster: TestCluster;
  before(async () => {
    cluster = await TestCluster.start({ env: { CAIRN_DATANODE_RACK: "/rack-7" } });
    await cluster.ok(["fs", "put", process.execPath, "/node"]);
  });
  after(() => cluster?.destroy());

  it("report tells of every datanode", async () => {
    const report = await cluster.report();
    expect(report).to.include({ files: 1, missing: 0, underReplicated: 0 });
    expect(report.datanodes.map((d) => d.id)).to.deep.equal([1, 2, 3]);
    const size = readFileSync(process.execPath).length;
    for (const [i, datanode] of report.datanodes.entries()) {
      expect(datanode).to.include({ address: `127.0.0.1:${cluster.datanodePorts[i]}`, rack: "/rack-7", state: "live" });
      expect(Date.now() - Date.parse(datanode.lastHeartbeat ?? "")).to.be.below(10_000);
    }
    expect(report.capacity).to.be.above(3 * size);
    expect(await cluster.ok(["admin", "report"])).to.match(/3 of 3 datanodes live/);
  });

  it("fsck says what is healthy, and what is not by its exit status", async () => {
    const { files } = await cluster.healthy();
    expect(files.map((f) => f.path)).to.deep.equal(["/node"]);
    expect(await cluster.ok(["admin", "fsck"])).to.match(/is HEALTHY\n$/);
    expect(await cluster.ok(["admin", "fsck", "--files", "/node"])).to.match(/^\/node: .*\n {2}block \d+: .*: ok\n/);
    await cluster.kill("datanode-1");
    await cluster.datanodeIs(1, "dead");
    const sick = await cluster.cairn(["admin", "fsck", "/"]);
    expect(sick.code).to.equal(1);
    expect(sick.stdout)
      .to.match(/UNDER-REPLICATED/)
      .and.to.match(/is NOT HEALTHY\n$/);
    const missing = await cluster.cairn(["admin", "fsck", "/none"]);
    expect(missing.code).to.equal(1);
    expect(missing.stderr).to.match(/\(ENOENT\)\n$/);
  });
});
