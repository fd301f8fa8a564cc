import { codeOf, messageOf } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import { parseReplicaName } from "../../datanode/replica-name.js";
import { Admin } from "../../proto/gen/services.js";
import type { FsckBlock, FsckFile, StatusReply } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import type { Checker } from "./checker.js";
import type { SimCluster } from "./cluster.js";

/** How long a cluster may take to mend itself once nothing is wrong any more, ms. */
const CONVERGE_MS = 600_000;
/** How often it is asked, ms. */
const ASK_MS = 2_000;

/** How long nothing but blocks without a good replica is wrong before they are given up, ms. */
const GIVE_UP_MS = 400_000;

/**
 * Waits until the cluster says that it is whole, then checks that it is: replicas, and nothing that nobody refers to.
 * @param giveUp removes a file that refers to a block of which no replica is good, as an operator would. Everything may be readable that it
 *   needs of it.
 */
export async function checkHealth(
  cluster: SimCluster,
  checker: Checker,
  giveUp: (ino: number) => Promise<void>,
): Promise<void> {
  const deadline = cluster.time.now + CONVERGE_MS;
  let link: Link | undefined;
  let missingSince: number | undefined;
  for (let last = "no answer"; ; ) {
    try {
      link = link?.isOpen ? link : await cluster.operator();
      last = await wrong(cluster, link);
      if (last === "") break;
      missingSince = ONLY_MISSING.test(last) ? (missingSince ?? cluster.time.now) : undefined;
      if (missingSince !== undefined && cluster.time.now - missingSince > GIVE_UP_MS) {
        for (const ino of await lost(link)) await giveUp(ino);
      }
    } catch (err) {
      last = `${codeOf(err)}: ${messageOf(err)}`;
    }
    if (cluster.time.now > deadline) {
      checker.check(false, `the cluster is whole again after ${CONVERGE_MS} ms, and not: ${last}`);
      break;
    }
    await cluster.time.sleep(ASK_MS);
  }
  link?.close();
}

const ONLY_MISSING = /^missing \d+(, corrupt \d+)?$/;

/** What is wrong with the cluster; nothing: "". */
async function wrong(cluster: SimCluster, link: Link): Promise<string> {
  const status = await link.call(Admin.status, {});
  const counts: (keyof StatusReply)[] = [
    "underReplicated",
    "missing",
    "corrupt",
    "pendingReplications",
    "pendingDeletions",
  ];
  const bad = counts.filter((key) => status[key] !== 0);
  if (bad.length > 0) return bad.map((key) => `${key} ${status[key]}`).join(", ");
  const live = status.datanodes.filter(({ state }) => state === "live").length;
  if (live < cluster.datanodes.length) return `${live} datanodes are live`;
  const blocks = await used(link);
  for (const { block, live: replicas, wanted } of blocks.values()) {
    if (replicas.length !== wanted) return `block ${block.id} has ${replicas.length} replicas, not ${wanted}`;
  }
  return compareFiles(cluster, blocks);
}

/** Every block that a file refers to. */
async function used(link: Link): Promise<Map<number, FsckBlock>> {
  const blocks = new Map<number, FsckBlock>();
  for (const file of await allFiles(link)) for (const block of file.blocks) blocks.set(block.block.id, block);
  return blocks;
}

/** The files that refer to blocks without a good replica. */
async function lost(link: Link): Promise<Set<number>> {
  const files = await allFiles(link);
  return new Set(files.filter(({ blocks }) => blocks.some(({ live }) => live.length === 0)).map(({ ino }) => ino));
}

async function allFiles(link: Link): Promise<FsckFile[]> {
  const files: FsckFile[] = [];
  let cursor: Uint8Array = Buffer.alloc(0);
  do {
    const page = await link.call(Admin.fsck, { ino: ROOT_INO, cursor, limit: 100 });
    files.push(...page.files);
    cursor = page.cursor;
  } while (cursor.length > 0);
  return files;
}

/** The disks hold what the namenode says, and nothing else. */
function compareFiles(cluster: SimCluster, blocks: ReadonlyMap<number, FsckBlock>): string {
  const found = new Map<number, number>();
  for (const { platter, machine } of cluster.datanodes) {
    for (const [path] of platter.files()) {
      const replica = parseReplicaName(path.slice(path.lastIndexOf("/") + 1));
      if (replica === undefined) continue;
      const wanted = blocks.get(replica.id);
      if (wanted === undefined) return `${path} on ${machine.name} is of no file`;
      if (wanted.block.generation !== replica.generation) return `${path} on ${machine.name} is of another generation`;
      found.set(replica.id, (found.get(replica.id) ?? 0) + 1);
    }
  }
  for (const [id, { wanted }] of blocks) {
    if ((found.get(id) ?? 0) !== wanted) return `block ${id} is on ${found.get(id) ?? 0} disks, not on ${wanted}`;
  }
  return "";
}
