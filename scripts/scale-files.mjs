// How a namenode does with many files: scripts/scale files --help.
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { RealClock } from "../dist/common/clock.js";
import { silentLogger } from "../dist/common/log.js";
import { lookup } from "../dist/namenode/namespace/operations/reads.js";
import { openLmdbStore } from "../dist/namenode/store/lmdb.js";
import { anyFile, at, busy, create, inPairs, KINDS, median, timed } from "./scale-files-calls.mjs";
import { evict, newFolder, Process, running, warm } from "./scale-files-namenode.mjs";
import { DATANODES, generate, Tree } from "./scale-files-tree.mjs";

const USAGE = `usage: scripts/scale files [options]   how a namenode does with many files, against one with few

  --files N    files in the large tree (1000000); 10000000 take an hour or more, and 9 GB
  --few N      files in the small one (10000)
  --dir DIR    where the trees are, or are made and stay; on a disk, for cold reads to be cold
               (default: a new folder in the folder for temporary files, which is removed)
  --rounds N   pairs of measurements (40)
  --starts N   starts of each kind (5)

Generates both trees through the editor, journal and store of a namenode, then runs namenodes over them. What is printed:
bytes on the disk, memory, the time to the first read after a start, and calls in pairs, one tree after the other.
`;
const { values } = parseArgs({
  options: {
    files: { type: "string", default: "1000000" },
    few: { type: "string", default: "10000" },
    dir: { type: "string" },
    rounds: { type: "string", default: "40" },
    starts: { type: "string", default: "5" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(USAGE);
  process.exit();
}
const ROUNDS = Number(values.rounds);
const STARTS = Number(values.starts);
/** Lookups for the processor time of one; those after which memory is looked at. */
const BUSY_CALLS = 20_000;
const MANY_CALLS = 200_000;
/** Lookups in a row within the namespace, without a network. */
const INNER_CALLS = 2_000;
/** How long files are created before the namenode is killed, ms. */
const LOAD_MS = 5_000;
/** What a start may do in the background before memory is looked at, ms. */
const SETTLE_MS = 3_000;

const parent = values.dir ?? mkdtempSync(join(tmpdir(), "cairn-scale-"));
const say = (text) => console.log(text);
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
const memoryOf = ({ memory: { rss, anon, file } }) => `${rss} MiB resident (${anon} its own, ${file} files mapped)`;
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  if (values.dir === undefined) rmSync(parent, { recursive: true, force: true });
});

/** The folder and the tree of so many files; made unless it is there. */
async function treeOf(files) {
  const folder = newFolder(parent, String(files));
  let tree = Tree.read(folder);
  if (tree === undefined) {
    say(`generating ${files} files in ${folder}`);
    tree = await generate(folder, files, say);
  }
  const bytes = statSync(join(folder, "lmdb", "data.mdb")).blocks * 512;
  const { seconds, edits, peak } = tree.figures;
  say(
    `${tree.files} files: ${mib(bytes)} of LMDB, ${(bytes / tree.files).toFixed(0)} bytes a file; ` +
      `made by ${edits} edits in ${seconds.toFixed(0)} s, at most ${mib(peak)} resident`,
  );
  return { folder, tree };
}

/** Starts a namenode so many times, after `before`, and ends it with `end`. */
async function starts(kind, { folder, tree }, before, end = (namenode) => namenode.end("SIGTERM")) {
  const all = [];
  for (let n = 0; n < STARTS; n++) {
    await before();
    const namenode = await Process.start(folder, tree);
    all.push({ ...namenode.first, ...namenode.serving });
    await end(namenode);
  }
  const list = (of) => all.map(of).join(", ");
  say(
    `${tree.files} files, ${kind}:\n  first read after ${list((a) => a.wallMs.toFixed(0))} ms, median ${median(all.map((a) => a.wallMs)).toFixed(0)}; ` +
      `processor time until then ${median(all.map((a) => a.cpuMs))} ms; edits replayed: ${list((a) => a.replayed)}`,
  );
}

/** Kills a namenode in the midst of creates. */
async function killBusy(namenode) {
  const creating = create(namenode);
  await sleep(LOAD_MS);
  await namenode.end("SIGKILL");
  await creating;
}

function row(kind, { few, many, ratio }, unit, more = "") {
  const shown = (n) => n.toFixed(unit === "ms" ? 3 : 1).padStart(9);
  say(`${kind.padEnd(30)} ${shown(few)} ${shown(many)} ${unit}   ratio ${ratio.toFixed(2)}${more}`);
}

const few = await treeOf(Number(values.few));
const many = await treeOf(Number(values.files));
const sides = [few, many];

for (const side of sides) {
  await warm(side.folder);
  await starts("stopped in order, page cache warm", side, () => {});
  await starts("stopped in order, nothing of the store in the page cache", side, () => evict(side.folder));
}
await killBusy(await Process.start(many.folder, many.tree));
await starts(`killed while 32 creates were under way at a time`, many, () => {}, killBusy);
await (await Process.start(many.folder, many.tree)).end("SIGTERM");

evict(many.folder);
many.namenode = await Process.start(many.folder, many.tree);
const cold = await timed(KINDS.lookup, many);
say(
  `${many.tree.files} files, nothing of the store in the page cache: the first ${cold.length} lookups took ` +
    `${median(cold).toFixed(2)} ms (median), ${at(cold, 0.99).toFixed(2)} ms (99 %); then ${memoryOf(many.namenode)}`,
);
await busy(many, BUSY_CALLS);
say(`  after ${BUSY_CALLS} more: ${memoryOf(many.namenode)}`);
await many.namenode.end("SIGTERM");

for (const side of sides) {
  await warm(side.folder);
  // Before there are connections: it takes a while, in which this process would not answer.
  const digests = side.tree.digests();
  side.namenode = await Process.start(side.folder, side.tree);
  await sleep(SETTLE_MS);
  say(`${side.tree.files} files, started: ${memoryOf(side.namenode)}`);
  const ms = await side.namenode.joinDatanodes(digests);
  say(`  the full reports of ${DATANODES} datanodes took ${ms.toFixed(0)} ms`);
  // Not while code is cold.
  await busy(side, BUSY_CALLS);
}
say(`\n${"medians".padEnd(30)} ${String(few.tree.files).padStart(9)} ${String(many.tree.files).padStart(9)} files`);
for (const [name, kind] of Object.entries(KINDS)) {
  const all = new Map(sides.map((side) => [side, []]));
  const found = await inPairs(sides, ROUNDS, async (side) => {
    const times = await timed(kind, side);
    all.get(side).push(...times);
    return median(times);
  });
  row(name, found, "ms", `   99 %: ${sides.map((side) => at(all.get(side), 0.99).toFixed(3)).join(", ")} ms`);
}
row("processor time of a lookup", await inPairs(sides, Math.ceil(ROUNDS / 4), (side) => busy(side, BUSY_CALLS)), "µs");
for (const side of sides) {
  await busy(side, MANY_CALLS);
  say(`${side.tree.files} files, after ${MANY_CALLS} more lookups: ${memoryOf(side.namenode)}`);
  await side.namenode.end("SIGTERM");
}

for (const side of sides)
  side.store = openLmdbStore({ folder: join(side.folder, "lmdb"), clock: new RealClock(), log: silentLogger });
const inner = await inPairs(sides, ROUNDS, ({ store, tree }) => {
  const files = Array.from({ length: INNER_CALLS }, () => anyFile(tree));
  const began = process.cpuUsage();
  for (const { dir, name } of files) lookup(store, dir, name);
  const { user, system } = process.cpuUsage(began);
  return (user + system) / INNER_CALLS;
});
row("a lookup without its call", inner, "µs");
for (const side of sides) await side.store.close();
