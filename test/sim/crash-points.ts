import { constants } from "node:fs";
import type { CairnClient } from "../../client/contract.js";
import { codeOf, messageOf } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import type { Inode } from "../../proto/gen/types.js";
import { SimCluster } from "./cluster.js";
import { CrashLedger, type Found } from "./crash-ledger.js";
import { CrashProgram } from "./crash-program.js";
import type { Fate } from "./disk.js";
import { Random } from "./random.js";

const { S_IFDIR } = constants;
const DATANODES = 2;
/** What a program may take, and the cluster after a restart, ms of virtual time. */
const LIMIT_MS = 600_000;
/** Until datanodes have joined, ms. */
const JOIN_MS = 1_500;
/** How long a read looks for a replica, after the restart, ms. */
const READ_PATIENCE_MS = 1_000;
/** What is read at once where not everything can be read, bytes. */
const PIECE = 16 << 10;
/** The simulated namenode's default of journalSync, and what two syncs of its disk may take, ms. */
const JOURNAL_SYNC_MS = 100;
const SYNCS_MS = 2 * 10;
/** How long bytes on datanodes may wait for their sync, with the few replicas of a script that wait for one another, ms. */
const BYTES_MS = 15_000 + 1_000;

/** A short program, and the cluster that it runs on. */
export interface CrashScript {
  readonly name: string;
  /** The namenode's setting: small files are in its journal, or everything is on datanodes. */
  readonly inlineBytes: number;
  /** The namenode's setting; its default unless given. */
  readonly journalSyncMs?: number;
  /** What is there before the first crash point. */
  readonly before?: (program: CrashProgram) => Promise<void>;
  readonly run: (program: CrashProgram) => Promise<void>;
}

/** What came of one crash. */
export interface CrashResult {
  /** Whether the script ended before the power went. */
  readonly finished: boolean;
  /** Changes of the cluster's disks while the script ran. */
  readonly changes: number;
  /** What was promised and is not so; undefined: all is. */
  readonly fault: string | undefined;
}

/**
 * Runs a script on a new cluster, and has the power of everything go right before the n-th change of any disk (a write, a name, a
 * sync) after its beginning: then programs have been told the most that they can be told with the disks as they are. Everything is
 * started again, and what is there is compared with what was promised. The same arguments give the same run.
 * @param point 1, 2, 3, …; beyond the last change: when the script has ended
 * @param fate of what was not synced
 */
export async function crashAt(script: CrashScript, point: number, fate: Fate, seed = 1): Promise<CrashResult> {
  const random = new Random(seed);
  const cluster = new SimCluster({
    random,
    datanodes: DATANODES,
    tell: () => {},
    ...script,
  });
  const { time } = cluster;
  const ledger = new CrashLedger();
  const daemon = cluster.newClientMachine("program");
  let changes = 0;
  let isCounting = false;
  let crashed: number | undefined;
  const crash = () => {
    isCounting = false;
    crashed = time.now;
    cluster.losePower([daemon], fate);
  };
  const beforeChange = () => {
    if (isCounting && ++changes === point) crash();
  };
  cluster.namenode.disk.beforeChange = beforeChange;
  for (const { platter } of cluster.datanodes) platter.beforeChange = beforeChange;

  const bounds = { namesMs: (script.journalSyncMs ?? JOURNAL_SYNC_MS) + SYNCS_MS, bytesMs: BYTES_MS };
  const result = { finished: false, error: undefined as unknown };
  const course = async () => {
    await start(cluster);
    const client = await cluster.connect(daemon, { watch: true });
    const program = new CrashProgram(client, await makeDirectory(client), ledger, time);
    await client.meta.sync();
    await script.before?.(program);
    isCounting = true;
    await script.run(program);
    result.finished = true;
  };
  course().catch((err) => {
    result.error = err;
  });
  await time.until(() => result.finished || crashed !== undefined || result.error !== undefined, LIMIT_MS);
  if (result.error !== undefined) return { ...result, changes, fault: `the script fails: ${messageOf(result.error)}` };
  if (crashed === undefined && !result.finished) return { ...result, changes, fault: "the script does not end" };
  if (crashed === undefined) crash();
  return {
    finished: result.finished,
    changes,
    fault: await check(cluster, (found) => ledger.fault(found, crashed!, bounds)),
  };
}

/** Starts everything again, and compares. */
async function check(
  cluster: SimCluster,
  compare: (found: Map<string, Found>) => string | undefined,
): Promise<string | undefined> {
  const { time } = cluster;
  let fault: string | undefined;
  let isDone = false;
  const course = async () => {
    await start(cluster);
    const client = await cluster.connect(cluster.newClientMachine("checker"), {
      readPatienceMs: READ_PATIENCE_MS,
    });
    fault = compare(await look(client));
  };
  course()
    .catch((err) => {
      fault = `after the restart: ${codeOf(err)} ${messageOf(err)}`;
    })
    .finally(() => {
      isDone = true;
    });
  if (!(await time.until(() => isDone, LIMIT_MS))) fault = "the cluster is not there again";
  for (const { process } of cluster.daemons) process.kill();
  return fault;
}

async function start(cluster: SimCluster): Promise<void> {
  await cluster.startNamenode();
  await Promise.all(cluster.datanodes.map((daemon) => cluster.startDatanode(daemon)));
  await cluster.time.sleep(JOIN_MS);
}

const DIRECTORY = Buffer.from("d");

async function makeDirectory(client: CairnClient): Promise<Inode> {
  return (await client.meta.create(ROOT_INO, DIRECTORY, { mode: S_IFDIR | 0o755, uid: 0, gid: 0 })).inode;
}

/** Everything that is in the directory. */
async function look(client: CairnClient): Promise<Map<string, Found>> {
  const found = new Map<string, Found>();
  const { ino } = await client.meta.lookup(ROOT_INO, DIRECTORY);
  const { entries } = await client.meta.readDirectory(ino, Buffer.alloc(0), 1000);
  for (const { name, inode } of entries) {
    const isDirectory = (inode.mode & S_IFDIR) !== 0;
    found.set(Buffer.from(name).toString(), isDirectory ? "directory" : await read(client, inode));
  }
  return found;
}

async function read(client: CairnClient, inode: Inode): Promise<Found> {
  const content = client.open(inode);
  const bytes = Buffer.alloc(inode.size);
  const unreadable: [number, number][] = [];
  const readPart = async (from: number, to: number) => {
    try {
      await content.read(from, bytes.subarray(from, to));
      return true;
    } catch (err) {
      if (codeOf(err) !== "EIO") throw err;
      return false;
    }
  };
  if (!(await readPart(0, bytes.length))) {
    for (let at = 0; at < bytes.length; at += PIECE) {
      const end = Math.min(at + PIECE, bytes.length);
      if (!(await readPart(at, end))) unreadable.push([at, end]);
    }
  }
  await content.close();
  return { bytes, unreadable };
}
