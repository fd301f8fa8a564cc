import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { MIB } from "../../common/limits.js";
import { requireFuse, TestCluster } from "../support/cluster.js";
import { run, sh } from "../support/run.js";
import { until } from "../support/until.js";

const DISK_MIB = 160;
const FILE_MIB = 20;

describe("datanodes with full disks", function () {
  this.timeout(900_000);
  let cluster: TestCluster;
  before(async () => {
    requireFuse();
    cluster = new TestCluster({ CAIRN_DATANODE_RESERVE: "8m", CAIRN_NAMENODE_BLOCK_SIZE: "4m" });
    for (const name of ["datanode-1", "datanode-2", "datanode-3"]) {
      const disk = join(cluster.root, name);
      mkdirSync(disk);
      await sh(`mount -t tmpfs -o size=${DISK_MIB}m tmpfs ${disk}`);
    }
    await cluster.up("--http-port", "0");
    await sh(`head -c ${FILE_MIB}M /dev/urandom > ${cluster.root}/original`);
  });
  after(() => cluster?.destroy());

  it("give the application ENOSPC, and lose nothing", async () => {
    let kept = 0;
    let failure = { code: 0, stderr: "" };
    for (; failure.code === 0 && kept < 50; ) {
      failure = await run("cp", [join(cluster.root, "original"), join(cluster.mount, `copy-${kept}`)]);
      if (failure.code === 0) kept += 1;
    }
    expect(failure.stderr).to.match(/No space left on device/);
    expect(kept * FILE_MIB, "MiB kept before the disks were full").to.be.within(DISK_MIB / 2, DISK_MIB);
    await sh("echo 3 > /proc/sys/vm/drop_caches");
    for (let i = 0; i < kept; i++) await sh(`cmp ${cluster.root}/original ${cluster.mount}/copy-${i}`);
    expect((await cluster.report()).datanodes.map((d) => d.state)).to.deep.equal(["live", "live", "live"]);
  });

  it("have room again when files were removed", async () => {
    await sh(`rm ${cluster.mount}/copy-*`);
    await until(async () => (await cluster.report()).used < FILE_MIB * MIB, {
      timeoutMs: 300_000,
      what: "the removed files' blocks to go",
    });
    let said = "";
    await until(
      async () => {
        const { code, stderr } = await run("cp", [join(cluster.root, "original"), join(cluster.mount, "again")]);
        said = stderr;
        return code === 0;
      },
      { timeoutMs: 300_000, what: "a file to fit again" },
    ).catch((err: Error) => expect.fail(`${err.message}: ${said}`));
    await sh(`cmp ${cluster.root}/original ${cluster.mount}/again`);
  });
});
