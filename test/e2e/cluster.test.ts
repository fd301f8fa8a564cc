import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { NODE_FLAGS } from "../../common/engine.js";
import { CAIRN, cairn, TestCluster } from "../support/cluster.js";
import { sh } from "../support/run.js";

describe("a cluster on one machine", function () {
  this.timeout(900_000);
  let cluster: TestCluster;
  before(async () => {
    cluster = await TestCluster.start();
  });
  after(() => cluster.destroy());

  const daemons = ["namenode", "datanode-1", "datanode-2", "datanode-3", "mount"];

  it("keeps a pid file and a log for every daemon, and is mounted", async () => {
    for (const name of daemons) {
      const argv = readFileSync(`/proc/${cluster.pid(name)}/cmdline`, "utf8").split("\0");
      expect(argv.slice(1, 1 + NODE_FLAGS.length), name).to.deep.equal(NODE_FLAGS);
      expect(argv.join(" "), name).to.include(cluster.root);
      expect(existsSync(join(cluster.root, "log", `${name}.log`)), name).to.equal(true);
    }
    expect(await sh(`stat -f -c %T ${cluster.mount}`)).to.match(/fuse/);
    expect(await sh(`grep '"binding"' ${join(cluster.root, "log", "mount.log")}`)).to.include('"binding":"kernel"');
    expect((await cluster.report()).datanodes.map((d) => d.state)).to.deep.equal(["live", "live", "live"]);
  });

  it("has its command give Node.js the flags of daemons", () => {
    expect(readFileSync(CAIRN, "utf8").split("\n")[0]).to.equal(`#!/usr/bin/env -S node ${NODE_FLAGS.join(" ")}`);
  });

  it("reports the running cluster when started again, and starts nothing", async () => {
    const before = daemons.map((name) => cluster.pid(name));
    const said = await cluster.up();
    expect(said).to.match(/running already/);
    expect(said).to.include(cluster.mount).and.to.include(`http://127.0.0.1:${cluster.port}/`);
    expect(daemons.map((name) => cluster.pid(name))).to.deep.equal(before);
  });

  it("starts only what is missing", async () => {
    const before = daemons.map((name) => cluster.pid(name));
    await cluster.kill("datanode-2");
    const status = await cluster.cairn(["cluster", "status"]);
    expect(status.code).to.equal(1);
    expect(status.stdout).to.match(/datanode-2\s+-\s+not running/);
    await cluster.up();
    const now = daemons.map((name) => cluster.pid(name));
    expect(now[2]).not.to.equal(before[2]);
    expect([...now.slice(0, 2), ...now.slice(3)]).to.deep.equal([...before.slice(0, 2), ...before.slice(3)]);
    expect((await cluster.cairn(["cluster", "status"])).code).to.equal(0);
  });

  it("clears the mountpoint that a killed mount leaves behind, and says so", async () => {
    await cluster.kill("mount");
    const said = await cluster.up();
    expect(said)
      .to.include(`${cluster.mount} (kernel binding)`)
      .and.to.match(/has been cleared/);
    await sh(`touch ${cluster.mount}/after-the-kill`);
  });

  it("does not believe a pid file whose process is another program", async () => {
    await cluster.kill("datanode-3");
    const pidFile = join(cluster.root, "run", "datanode-3.pid");
    writeFileSync(pidFile, `${process.pid}\n`);
    await cluster.up();
    expect(Number(readFileSync(pidFile, "utf8"))).not.to.equal(process.pid);
  });

  it("lives beside another one", async () => {
    const other = await TestCluster.start({ datanodes: 1 });
    try {
      await sh(`echo there > ${other.mount}/file; echo here > ${cluster.mount}/file`);
      expect(await sh(`cat ${other.mount}/file ${cluster.mount}/file`)).to.equal("there\nhere\n");
      expect((await other.report()).cluster).not.to.equal((await cluster.report()).cluster);
      await sh(`head -c 100000 /dev/zero > ${other.mount}/file`); // enough for a datanode
      expect((await other.healthy()).files[0]?.blocks[0]?.liveReplicas).to.have.length(1);
    } finally {
      other.destroy();
    }
  });

  it("keeps its data over a stop, and loses it by a wipe", async () => {
    await sh(`echo kept > ${cluster.mount}/kept`);
    await cluster.down();
    expect(readdirSync(cluster.mount)).to.deep.equal([]);
    expect(readdirSync(join(cluster.root, "run"))).to.deep.equal([]);
    await cluster.up();
    expect(await sh(`cat ${cluster.mount}/kept`)).to.equal("kept\n");
    await cluster.ok(["cluster", "stop", "--wipe"]);
    expect(existsSync(cluster.root)).to.equal(false);
  });
});

describe("starting and stopping a cluster in bad circumstances", function () {
  this.timeout(900_000);
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "cairn-e2e-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("names the port that is taken, and leaves nothing running", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    try {
      const { code, stderr } = await cairn(["cluster", "start", "--root", folder, "--http-port", String(port)]);
      expect(code).to.equal(1);
      expect(stderr).to.match(new RegExp(`^cairn: .*port ${port}.*\\(EADDRINUSE\\)\n$`));
      expect(existsSync(join(folder, "run", "namenode.pid"))).to.equal(false);
    } finally {
      server.close();
    }
  });

  it("does not wipe a folder that is no cluster's root", async () => {
    mkdirSync(join(folder, "log"));
    writeFileSync(join(folder, "log", "precious"), "");
    const { code, stderr } = await cairn(["cluster", "stop", "--wipe", "--root", folder]);
    expect(code).to.equal(1);
    expect(stderr).to.match(/not a cluster's root/);
    expect(existsSync(join(folder, "log", "precious"))).to.equal(true);
  });

  it("shows the end of the log of a daemon that fails", async () => {
    const cluster = new TestCluster();
    try {
      mkdirSync(join(cluster.root, "conf"));
      writeFileSync(join(cluster.root, "conf", "datanode.json"), '{"noSuchSetting": 1}');
      const { code, stderr } = await cluster.cairn(["cluster", "start", "--http-port", "0"]);
      expect(code).to.equal(1);
      expect(stderr)
        .to.match(/datanode-1 failed: it ended with status 2/)
        .and.to.match(/noSuchSetting/);
    } finally {
      cluster.destroy();
    }
  });
});
