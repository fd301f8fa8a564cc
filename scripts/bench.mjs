// Measures what a person does in a shell (cp, cat, tar, …) on the mount, in turns on two variants A B A B, so that what
// else the machine does meets both alike. The ratios are the result; the figures belong to the machine.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { cpus, release } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { clearAway, startCluster } from "./bench-cluster.mjs";
import { JOBS, makeSources } from "./bench-jobs.mjs";
import { run, stopAll } from "./bench-run.mjs";

const HELP = `scripts/bench [options]: measures the mount, as ratios of two variants in one run

Variants (default: A alone, a cluster of three datanodes):
  --a FLAGS          flags of \`cairn cluster start\` for A; words NAME=value before them go into its environment
  --b FLAGS          the same for B, a second cluster beside it
  --b-checkout DIR   B runs the build in another checkout
  --mounted DIR      A is this folder; no cluster is started for it
  --against DIR      B is this folder, for example another file system's mount or a local disk
Where and how much:
  --on DIR           clusters keep their data below DIR (default /dev/shm; /var/tmp: on the disk)
  --mb N             size of the large file, MiB (default 256)
  --files N          number of small files (default 1000)
  --pairs N          times that each job is run on each variant; the median counts (default 3)
  --only JOBS        comma-separated, of: ${Object.keys(JOBS).join(",")}
  --deadline S       seconds after which a command is given up (default 600)

Prints a table, then one line of JSON. Examples:
  scripts/bench --a "--datanodes 3" --b "--datanodes 1" --only cp_in,cat_cold
  scripts/bench --a CAIRN_MOUNT_BINDING=kernel --b CAIRN_MOUNT_BINDING=fuse-native
  scripts/bench --on /var/tmp --against /mnt/other
`;

const { values: options } = parseArgs({
  options: {
    a: { type: "string", default: "" },
    b: { type: "string" },
    "b-checkout": { type: "string" },
    mounted: { type: "string" },
    against: { type: "string" },
    on: { type: "string", default: "/dev/shm" },
    mb: { type: "string", default: "256" },
    files: { type: "string", default: "1000" },
    pairs: { type: "string", default: "3" },
    only: { type: "string" },
    deadline: { type: "string", default: "600" },
    help: { type: "boolean" },
  },
});

/** A positive whole number of an option; ends the program where it is none. */
function whole(name) {
  const n = Number(options[name]);
  if (!Number.isSafeInteger(n) || n < 1) refuse(`--${name} ${options[name]}: not a positive whole number`);
  return n;
}

function refuse(message) {
  console.error(`scripts/bench: ${message}`);
  process.exit(2);
}

function chosenJobs() {
  const names = options.only?.split(",") ?? Object.keys(JOBS);
  for (const name of names) if (!(name in JOBS)) refuse(`--only ${name}: no such job`);
  const cold = names.filter((name) => JOBS[name].cold);
  if (cold.length === 0 || process.getuid() === 0) return names;
  console.error(`Left out, because only root can drop the kernel's caches: ${cold.join(", ")}`);
  return names.filter((name) => !JOBS[name].cold);
}

const median = (xs) => xs.toSorted((x, y) => x - y)[Math.floor(xs.length / 2)];
const rounded = (x) => Number(x.toPrecision(4));
const figure = (x) => (x >= 100 ? x.toFixed(0) : x.toPrecision(3));

/** Rows of text with their columns aligned: the first to the left, the others to the right. */
function table(rows) {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const line = (row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  ");
  return rows.map(line).join("\n");
}

/** What a job gave on each variant: medians, and the ratio with the least and greatest of the pairs. */
function judge(name, rates) {
  const result = {
    job: name,
    unit: JOBS[name].unit,
    a: rounded(median(rates[0])),
    rates: rates.map((of) => of.map(rounded)),
  };
  if (rates[1] === undefined) return result;
  const ratios = rates[0].map((rate, i) => rate / rates[1][i]);
  const [ratioMin, ratioMax] = [Math.min(...ratios), Math.max(...ratios)].map(rounded);
  const b = rounded(median(rates[1]));
  return { ...result, b, ratio: rounded(result.a / b), ratioMin, ratioMax };
}

function report(results, variants) {
  const rows = results.map((r) => {
    const row = [r.job, r.unit, figure(r.a)];
    return r.b === undefined
      ? row
      : [...row, figure(r.b), r.ratio.toFixed(2), `${r.ratioMin.toFixed(2)}–${r.ratioMax.toFixed(2)}`];
  });
  variants.forEach((v, i) => {
    console.log(`${"AB"[i]}: ${v.label}`);
  });
  const head = variants.length === 1 ? ["job", "unit", "A"] : ["job", "unit", "A", "B", "A/B", "pairs"];
  console.log(`\n${table([head, ...rows])}\n`);
}

/**
 * The variants that the options ask for. What has to be cleared away goes into `clusters`, as each is about to be
 * started, and into `work`, the folders made in folders of others.
 */
async function makeVariants(work, checkout, clusters) {
  const cluster = async (name, flags, from) => {
    const root = mkdtempSync(join(resolve(options.on), `cairn-bench-${name}-`));
    clusters.push({ root, checkout: from });
    console.error(`Starting cluster ${name.toUpperCase()} in ${root}`);
    const dir = await startCluster({ root, checkout: from, flags });
    return { label: `cluster ${flags || "--datanodes 3"}${from === checkout ? "" : ` of ${from}`}`, dir, ours: true };
  };
  const folder = (dir) => ({ label: resolve(dir), dir: resolve(dir) });
  const variants = [options.mounted ? folder(options.mounted) : await cluster("a", options.a, checkout)];
  const other = options["b-checkout"];
  if (options.against !== undefined) variants.push(folder(options.against));
  else if (options.b !== undefined || other !== undefined) {
    variants.push(await cluster("b", options.b ?? options.a, other ? resolve(other) : checkout));
  }
  for (const variant of variants) {
    variant.dir = join(variant.dir, `bench-${process.pid}`);
    mkdirSync(variant.dir);
    if (!variant.ours) work.push(variant.dir);
  }
  return variants;
}

async function measure(name, variants, context) {
  const job = JOBS[name];
  for (const { dir } of variants) await job.setUp?.(dir, context);
  const rates = variants.map(() => []);
  for (let pair = 0; pair < context.pairs; pair++) {
    for (const [i, { dir }] of variants.entries()) {
      rates[i].push(await job.rate(dir, context, pair));
      process.stderr.write(`${name} ${"AB"[i]} ${figure(rates[i].at(-1))} ${job.unit}\n`);
    }
  }
  for (const { dir } of variants) await job.tearDown?.(dir, context);
  return judge(name, rates);
}

async function main() {
  if (options.help) return void process.stdout.write(HELP);
  if (options.against !== undefined && (options.b ?? options["b-checkout"]) !== undefined) {
    refuse("--against already says what B is");
  }
  const jobs = chosenJobs();
  const context = { mb: whole("mb"), files: whole("files"), pairs: whole("pairs") };
  const deadlineMs = whole("deadline") * 1000;
  const checkout = dirname(dirname(fileURLToPath(import.meta.url)));
  const clusters = [];
  const work = [];
  const sources = mkdtempSync("/dev/shm/cairn-bench-src-");
  let stopped = 0;
  for (const [signal, status] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
    process.on(signal, () => {
      stopped = status;
      stopAll(signal);
    });
  }
  try {
    context.run = (command, args) => run(command, args, { deadlineMs });
    await makeSources(sources, context);
    const variants = await makeVariants(work, checkout, clusters);
    const results = [];
    for (const name of jobs) results.push(await measure(name, variants, context));
    report(results, variants);
    const machine = { cpus: cpus().length, cpu: cpus()[0]?.model, kernel: release(), node: process.version };
    const { mb, files, pairs } = context;
    const labels = variants.map((v) => v.label);
    console.log(
      JSON.stringify({ date: new Date().toISOString(), machine, on: options.on, mb, files, pairs, labels, results }),
    );
  } catch (err) {
    console.error(stopped ? "scripts/bench: stopped" : `scripts/bench: ${err.message}`);
    process.exitCode = stopped || 1;
  } finally {
    for (const dir of work) rmSync(dir, { recursive: true, force: true });
    for (const cluster of clusters) await clearAway(cluster);
    rmSync(sources, { recursive: true, force: true });
  }
}

await main();
