import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { MIB } from "../../common/limits.js";
import { type Fsck, requireFuse, TestCluster } from "../support/cluster.js";
import { sh } from "../support/run.js";
import { until } from "../support/until.js";

const FILE_MIB = 400;

describe("the loss of a datanode, with four of them", function () {
  this.timeout(900_000);
  let cluster: TestCluster;
  let scratch: string;
  let lost = 0;

  before(async () => {
    requireFuse();
    scratch = mkdtempSync(join(tmpdir(), "cairn-e2e-loss-"));
    await sh(`head -c ${FILE_MIB}M /dev/urandom > ${scratch}/data`);
    cluster = await TestCluster.start({ datanodes: 4 });
  });
  after(() => {
    cluster?.destroy();
    rmSync(scratch, { recursive: true, force: true });
  });

  /** Replicas of all blocks on a datanode. */
  const replicasOn = (fsck: Fsck, id: number) =>
    fsck.files.flatMap((f) => f.blocks).filter((b) => b.liveReplicas.includes(id)).length;

  it("in the middle of a cp is not noticed by it", async () => {
    const target = `${cluster.mount}/data`;
    const copying = sh(`cp ${scratch}/data ${target}`, { timeoutMs: 300_000 });
    copying.catch(() => undefined); // awaited below
    // Killed while it takes part in a pipeline: the datanode that has most of what is written by then.
    await until(() => size(target) > (FILE_MIB / 4) * MIB, {
      timeoutMs: 300_000,
      what: "a quarter of the file to be written",
    });
    const report = await cluster.report();
    const busiest = report.datanodes.reduce((a, b) => (b.used > a.used ? b : a));
    lost = cluster.datanodePorts.findIndex((port) => busiest.address.endsWith(`:${port}`)) + 1;
    await cluster.kill(`datanode-${lost}`);
    const atKill = size(target);
    await copying;
    expect(atKill, "bytes written when the datanode was killed").to.be.below(FILE_MIB * MIB);
    await sh(`echo 3 > /proc/sys/vm/drop_caches; cmp ${scratch}/data ${target}`, { timeoutMs: 300_000 });
  });

  it("is seen while it lasts, and mended by the others without anyone asking", async () => {
    await cluster.datanodeIs(lost, "dead");
    const dead = (await cluster.report()).datanodes.find((d) => d.state === "dead")?.id ?? 0;
    const fsck = await cluster.healthy(120_000);
    expect(replicasOn(fsck, dead)).to.equal(0);
    for (const block of fsck.files.flatMap((f) => f.blocks)) expect(new Set(block.liveReplicas).size).to.equal(3);
    const status = await cluster.status();
    expect(status).to.include({ underReplicated: 0, missing: 0, pendingReplications: 0 });
    expect(status.events.map((e) => e.message).join("\n"))
      .to.match(/datanode .*dead/i)
      .and.to.match(/replicat/i);
    await sh(`echo 3 > /proc/sys/vm/drop_caches; cmp ${scratch}/data ${cluster.mount}/data`);
  });

  it("shows under-replicated blocks in fsck and on the page until they are mended", async () => {
    await cluster.up(); // all four again
    await cluster.healthy();
    // With two of four there is no place for a third copy: it stays so until they are back, however slow the looks are.
    const victims = [lost, lost + 1].map((n) => 1 + (n % 4));
    for (const victim of victims) await cluster.kill(`datanode-${victim}`);
    await until(
      async () => (await cluster.fsck()).summary.underReplicated > 0 && (await cluster.status()).underReplicated > 0,
      { timeoutMs: 300_000, what: "under-replicated blocks to be shown" },
    );
    await cluster.up();
    await cluster.healthy();
    await until(async () => (await cluster.status()).underReplicated === 0, {
      timeoutMs: 300_000,
      what: "the page to show no under-replicated blocks",
    });
  });
  it("leaves no extra replicas when it returns", async () => {
    await cluster.up();
    await until(
      async () => {
        const { summary } = await cluster.fsck();
        return summary.healthy && summary.overReplicated === 0;
      },
      { timeoutMs: 300_000, what: "the extra replicas to be trimmed" },
    );
  });
});

/** The size of a file; 0 when there is none. */
function size(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
