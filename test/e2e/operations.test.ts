import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { requireFuse, TestCluster } from "../support/cluster.js";
import { sh } from "../support/run.js";
import { until } from "../support/until.js";

const FILE_MIB = 32;
const WAIT_MS = 120_000;

describe("an operator's day, with four datanodes", function () {
  this.timeout(300_000);
  let cluster: TestCluster;
  let scratch: string;

  before(async () => {
    requireFuse();
    scratch = mkdtempSync(join(tmpdir(), "cairn-e2e-operations-"));
    await sh(`head -c ${FILE_MIB}M /dev/urandom > ${scratch}/data`);
    cluster = await TestCluster.start({ datanodes: 4 });
  });
  after(() => {
    cluster?.destroy();
    rmSync(scratch, { recursive: true, force: true });
  });

  const admin = (...args: string[]) => cluster.ok(["admin", ...args], { timeoutMs: WAIT_MS });
  /** The address of datanode-n, and what the report says of it. */
  const address = (n: number) => `127.0.0.1:${cluster.datanodePorts[n - 1]}`;
  const said = async (n: number) => (await cluster.report()).datanodes.find((d) => d.address === address(n))!;
  const blocks = async () => (await cluster.fsck()).files.flatMap((f) => f.blocks);
  const readable = () => sh(`cmp ${scratch}/data ${cluster.mount}/data`, { timeoutMs: WAIT_MS });
  /** Every block has its three replicas in service, and no other but those that leave. */
  const settled = () =>
    until(
      async () => {
        const { summary } = await cluster.fsck();
        return summary.healthy && summary.overReplicated === 0;
      },
      { timeoutMs: WAIT_MS, what: "every block to have just its replicas" },
    );

  it("balance moves replicas to a datanode that has none", async () => {
    expect(await admin("decommission", address(4), "--wait")).to.contain("is decommissioned");
    await cluster.ok(["fs", "policy", "/", "--block-size", "1m"]);
    await cluster.ok(["fs", "put", `${scratch}/data`, "/data"], { timeoutMs: WAIT_MS });
    expect((await said(4)).blocks, "it was given nothing").to.equal(0);
    await admin("recommission", address(4));
    await until(async () => (await said(1)).used >= FILE_MIB * 2 ** 20, {
      what: "heartbeats to show what was written",
    });
    const { used, free } = await said(1);
    const threshold = Math.max(0.0001, (25 * used) / (used + free)).toFixed(4);
    expect(await admin("balance", "--threshold", `${threshold}%`)).to.match(/^balanced: \d+ blocks .* moved/m);
    await settled();
    const moved = (await said(4)).id;
    expect((await blocks()).filter((b) => b.liveReplicas.includes(moved)).length).to.be.within(4, FILE_MIB);
    await readable();
  });

  it("maintenance lets a datanode be away without its blocks being copied", async () => {
    const { id } = await said(1);
    expect(await admin("maintenance", String(id), "--for", "1h", "--wait")).to.contain("is in maintenance");
    const before = await blocks();
    await cluster.kill("datanode-1");
    await cluster.datanodeIs(1, "dead");
    expect(await blocks()).to.deep.equal(before);
    expect((await cluster.status()).underReplicated).to.equal(0);
    await readable();
    await cluster.up();
    await cluster.datanodeIs(1, "live");
    await admin("recommission", String(id));
    await settled();
    expect((await said(1)).id).to.equal(id);
  });

  it("decommission copies everything elsewhere first; then the machine may go", async () => {
    const { id } = await said(2);
    expect(await admin("decommission", address(2), "--wait")).to.contain("it may be switched off");
    for (const b of await blocks()) {
      expect(b.liveReplicas, `block ${b.id}`).to.have.length(3);
      expect(b.liveReplicas).to.not.include(id);
    }
    await cluster.kill("datanode-2");
    await cluster.datanodeIs(2, "dead");
    expect((await cluster.fsck()).summary.healthy).to.equal(true);
    await readable();
  });
});
