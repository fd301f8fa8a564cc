// The jobs of scripts/bench. Each gives a rate, more being better, of work done in a folder of the mount.
import { randomBytes } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const MIB = 1 << 20;
const SMALL_FILE = 4096;
/** Files per folder of the tar. */
const FOLDER = 50;
/** Largest file of the tar, bytes; on average they have half of it. */
const MAX_TAR_FILE = 32 * 1024;

/** Makes the large random file and the tar below `dir` (in memory), and puts their paths into the context. */
export async function makeSources(dir, context) {
  context.large = join(dir, "large");
  context.tar = join(dir, "tree.tar");
  const fd = openSync(context.large, "w");
  for (let i = 0; i < context.mb; i++) writeSync(fd, randomBytes(MIB));
  closeSync(fd);
  const tree = join(dir, "tree");
  for (let i = 0; i < context.files; i++) {
    const folder = join(tree, `folder-${Math.floor(i / FOLDER)}`);
    if (i % FOLDER === 0) mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `file-${i}`), randomBytes((i * 7919) % MAX_TAR_FILE));
  }
  await context.run("tar", ["-cf", context.tar, "-C", dir, "tree"]);
  rmSync(tree, { recursive: true });
}

const megabytes = ({ mb }, { seconds }) => (mb * MIB) / 1e6 / seconds;
const settle = ({ run }) => run("sync", []);
const dropCaches = ({ run }) => run("sh", ["-c", "sync && echo 3 > /proc/sys/vm/drop_caches"]);
const cat = ({ run }, path) => run("sh", ["-c", 'cat "$0" > /dev/null', path]);

/** The large file in the folder, the same bytes as the source: checked once. */
async function haveLarge(dir, context) {
  const path = join(dir, "large");
  if (existsSync(path)) return;
  await context.run("cp", [context.large, path]);
  await context.run("cmp", [context.large, path]);
}

/** The small files in the folder. */
async function haveSmall(dir, context) {
  if (!existsSync(join(dir, "small"))) await inChild("create", join(dir, "small"), context);
}

/** Runs one of CHILD in another process, so that a hanging mount cannot hang this one; resolves to its seconds. */
async function inChild(action, dir, { run, files }) {
  const { output } = await run(process.execPath, [fileURLToPath(import.meta.url), action, dir, String(files)]);
  return Number(output);
}

/**
 * unit; cold: drops the kernel's caches (needs root); setUp and tearDown: once, not timed; rate: once per pair.
 * @type {Record<string, { unit: string, cold?: boolean, setUp?: Function, rate: Function, tearDown?: Function }>}
 */
export const JOBS = {
  cp_in: {
    unit: "MB/s",
    async rate(dir, context, pair) {
      const path = join(dir, `cp-${pair}`);
      await settle(context);
      const took = await context.run("cp", [context.large, path]);
      await context.run("cmp", [context.large, path]);
      await context.run("rm", [path]);
      return megabytes(context, took);
    },
  },
  cat_cold: {
    unit: "MB/s",
    cold: true,
    setUp: haveLarge,
    async rate(dir, context) {
      await dropCaches(context);
      return megabytes(context, await cat(context, join(dir, "large")));
    },
  },
  cat_warm: {
    unit: "MB/s",
    setUp: haveLarge,
    async rate(dir, context) {
      await cat(context, join(dir, "large"));
      return megabytes(context, await cat(context, join(dir, "large")));
    },
  },
  write_fsync: {
    unit: "MB/s",
    async rate(dir, context, pair) {
      const path = join(dir, `fsync-${pair}`);
      await settle(context);
      const dd = [`if=${context.large}`, `of=${path}`, "bs=1M", "conv=fsync", "status=none"];
      const took = await context.run("dd", dd);
      await context.run("rm", [path]);
      return megabytes(context, took);
    },
  },
  create_4k: {
    unit: "files/s",
    async rate(dir, context, pair) {
      const path = join(dir, `create-${pair}`);
      await settle(context);
      const seconds = await inChild("create", path, context);
      await context.run("rm", ["-r", path]);
      return context.files / seconds;
    },
  },
  stat_cold: {
    unit: "files/s",
    cold: true,
    setUp: haveSmall,
    async rate(dir, context) {
      await dropCaches(context);
      return context.files / (await inChild("stat", join(dir, "small"), context));
    },
  },
  untar: {
    unit: "files/s",
    async rate(dir, context, pair) {
      const path = join(dir, `untar-${pair}`);
      await settle(context);
      await context.run("mkdir", [path]);
      const { seconds } = await context.run("tar", ["-xf", context.tar, "-C", path]);
      await context.run("tar", ["-df", context.tar, "-C", path]);
      await context.run("rm", ["-r", path]);
      return context.files / seconds;
    },
  },
};

/** What is timed inside of a child process: thousands of system calls, one after the other. */
const CHILD = {
  create(dir, files) {
    const bytes = randomBytes(SMALL_FILE);
    for (let i = 0; i < files; i++) {
      const fd = openSync(join(dir, String(i)), "wx");
      writeSync(fd, bytes);
      closeSync(fd);
    }
  },
  stat(dir, files) {
    for (let i = 0; i < files; i++) statSync(join(dir, String(i)));
  },
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [action, dir, files] = process.argv.slice(2);
  if (action === "create") mkdirSync(dir);
  const start = performance.now();
  CHILD[action](dir, Number(files));
  process.stdout.write(String((performance.now() - start) / 1000));
}
