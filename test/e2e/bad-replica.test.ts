import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { parseReplicaName } from "../../datanode/replica-name.js";
import { requireFuse, TestCluster } from "../support/cluster.js";
import { sh } from "../support/run.js";
import { until } from "../support/until.js";

const BLOCKS = 24;

describe("replicas whose bytes were changed on the disk", function () {
  this.timeout(900_000);
  let cluster: TestCluster;
  before(async () => {
    requireFuse();
    cluster = await TestCluster.start();
  });
  after(() => cluster?.destroy());

  it("are never read from, and are replaced", async () => {
    const file = `${cluster.mount}/small/file`;
    const original = `${cluster.root}/original`;
    await cluster.ok(["fs", "mkdir", "/small"]);
    await cluster.ok(["fs", "policy", "/small", "--block-size", "1m"]);
    await sh(`head -c ${BLOCKS}M /dev/urandom > ${original}; cp ${original} ${file}`);
    const blocks = (await cluster.healthy()).files[0]?.blocks ?? [];
    expect(blocks).to.have.length(BLOCKS);
    // One replica of every block, on each datanode in turn: whichever a reader prefers, it meets some.
    const spoilt = new Map(blocks.map((block, i) => spoil(cluster, 1 + (i % 3), block.id)));
    await cluster.restart("mount"); // it has nothing cached or open any more

    await sh(`echo 3 > /proc/sys/vm/drop_caches; cmp ${original} ${file}`);
    const mended = () => [...spoilt].filter(([path, bad]) => !holds(path, bad)).length;
    await until(mended, { timeoutMs: 300_000, what: "a replica that a reader met to be replaced" });
    const fsck = await cluster.healthy();
    expect(fsck.summary).to.include({ corrupt: 0, overReplicated: 0 });
    expect((await cluster.status()).events.map((e) => e.message).join("\n")).to.match(/corrupt/i);
    await sh(`echo 3 > /proc/sys/vm/drop_caches; cmp ${original} ${file}`);
  });
});

/** Changes bytes of a block's replica on a datanode; where it is, and what it holds now. */
function spoil(cluster: TestCluster, datanode: number, block: number): [path: string, bad: Buffer] {
  const entries = readdirSync(join(cluster.root, `datanode-${datanode}`), { recursive: true, withFileTypes: true });
  const entry = entries.find((e) => e.isFile() && parseReplicaName(e.name)?.id === block);
  if (entry === undefined) throw new Error(`datanode-${datanode} has no file for block ${block}`);
  const path = join(entry.parentPath, entry.name);
  const bytes = readFileSync(path);
  for (let i = 300_000; i < 300_010; i++) bytes[i] = ~(bytes[i] ?? 0);
  writeFileSync(path, bytes);
  return [path, bytes];
}

/** Whether a file is there with these bytes. */
function holds(path: string, bytes: Buffer): boolean {
  try {
    return readFileSync(path).equals(bytes);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw err;
  }
}
