import { constants } from "node:fs";
import { expect } from "chai";
import type { CairnClient } from "../../client/contract.js";
import { codeOf } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import { SimCluster } from "./cluster.js";
import { Random } from "./random.js";

const node = { mode: constants.S_IFREG | 0o644, uid: 0, gid: 0 };
const name = (text: string) => Buffer.from(text);
/** What a test may take, ms of virtual time. */
const LIMIT_MS = 300_000;
/** Edits are on the disk when somebody asks for it, or after this long, ms. */
const JOURNAL_SYNC_MS = 60_000;

/** Has the namenode's machine lose its power, and start again. What was not synced is lost. */
async function losePower(cluster: SimCluster): Promise<void> {
  const { namenode, random } = cluster;
  namenode.process.kill(true);
  namenode.disk.losePower(random, "worst");
  await cluster.startNamenode();
}

/** Runs a test on a cluster with two clients. */
async function simulate(act: (cluster: SimCluster, a: CairnClient, b: CairnClient) => Promise<void>): Promise<void> {
  const cluster = new SimCluster({
    random: new Random(1),
    datanodes: 2,
    inlineBytes: 1 << 16,
    journalSyncMs: JOURNAL_SYNC_MS,
    tell: () => {},
  });
  let failure: unknown;
  let isDone = false;
  const course = async () => {
    await cluster.startNamenode();
    await Promise.all(cluster.datanodes.map((daemon) => cluster.startDatanode(daemon)));
    await cluster.time.sleep(1_500);
    const clients = ["a", "b"].map((text) => cluster.connect(cluster.newClientMachine(text)));
    const [a, b] = await Promise.all(clients);
    await act(cluster, a!, b!);
  };
  course()
    .catch((err) => {
      failure = err;
    })
    .finally(() => {
      isDone = true;
    });
  expect(await cluster.time.until(() => isDone, LIMIT_MS), "the test ends").to.equal(true);
  for (const { process } of cluster.daemons) process.kill();
  if (failure !== undefined) throw failure;
}

const make = async (client: CairnClient, text: string) =>
  client.open((await client.meta.create(ROOT_INO, name(text), node)).inode);

async function contentOf(client: CairnClient, text: string): Promise<string> {
  const content = client.open(await client.meta.lookup(ROOT_INO, name(text)));
  const target = Buffer.alloc(100);
  const bytes = await content.read(0, target);
  await content.close();
  return target.toString("utf8", 0, bytes);
}

describe("a namenode whose machine loses its power, while mounts live on", function () {
  this.timeout(120_000);

  it("gives the number of a lost file to no other: who still writes to that one does not write to this", () =>
    simulate(async (cluster, a, b) => {
      await a.meta.sync();
      const lost = await make(a, "lost");
      await lost.write(0, name("of a"));
      await losePower(cluster);
      const other = await make(b, "other");
      expect(other.ino).not.to.equal(lost.ino);
      await other.write(0, name("of b"));
      await other.fsync();
      expect(await lost.flush().catch(codeOf)).to.equal("EIO");
      expect(await contentOf(a, "other")).to.equal("of b");
    }));

  it("has fsync say that writes are lost, of the files whose are, and once", () =>
    simulate(async (cluster, a, b) => {
      const [kept, lost] = [await make(a, "kept"), await make(a, "lost")];
      await kept.write(0, name("kept"));
      await lost.write(0, name("before"));
      await kept.fsync();
      await lost.fsync();
      await lost.write(0, name("beyond"));
      await lost.flush();
      await losePower(cluster);
      for (let i = 0; i < 20; i++) await make(b, `more than were lost ${i}`);
      expect(await lost.fsync().catch(codeOf)).to.equal("EIO");
      await kept.fsync();
      await lost.fsync();
      expect(await contentOf(b, "lost")).to.equal("before");
      expect(await a.meta.sync().catch(codeOf)).to.equal("EIO");
      await a.meta.sync();
    }));

  it("loses nothing that was synced, and says nothing then", () =>
    simulate(async (cluster, a) => {
      const file = await make(a, "file");
      await file.write(0, name("synced"));
      await file.fsync();
      await losePower(cluster);
      await file.fsync();
      await a.meta.sync();
      expect(await contentOf(a, "file")).to.equal("synced");
    }));
});
