// The jobs of scripts/bench. Each gives a rate, more being better, of work done in a folder of the mount.
import { randomBytes } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const MIB = 1 << 20;
/** Reads, and writes, of rand_4k_read_cold and rand_4k_write. */
const RANDOM_OPERATIONS = 1000;
/** Threads of the child process, so that what is done eight at a time is. */
const THREADS = 8;
const CHILD = fileURLToPath(new URL("bench-child.mjs", import.meta.url));
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
  if (!existsSync(join(dir, "small"))) await timed("create", join(dir, "small"), context);
}

/** The tar's files in the folder. */
async function haveTree(dir, context) {
  if (existsSync(join(dir, "tree"))) return;
  await context.run("tar", ["-xf", context.tar, "-C", dir]);
}

/** Runs an action of bench-child.mjs in another process, so that a hanging mount cannot hang this one; resolves to its seconds. */
async function timed(action, path, { run, files }, count = files) {
  const { output } = await run("env", [
    `UV_THREADPOOL_SIZE=${THREADS}`,
    process.execPath,
    CHILD,
    action,
    path,
    String(count),
  ]);
  return Number(output);
}

/** A job of thousands of small operations, cold, on files that are there already. */
function coldOnSmall(action) {
  return {
    unit: "files/s",
    cold: true,
    setUp: haveSmall,
    async rate(dir, context) {
      await dropCaches(context);
      return context.files / (await timed(action, join(dir, "small"), context));
    },
  };
}

/** A job that makes small files in a new folder. */
function creating(action) {
  return {
    unit: "files/s",
    async rate(dir, context, pair) {
      const path = join(dir, `${action}-${pair}`);
      await settle(context);
      const seconds = await timed(action, path, context);
      await context.run("rm", ["-r", path]);
      return context.files / seconds;
    },
  };
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
  rand_4k_read_cold: {
    unit: "reads/s",
    cold: true,
    setUp: haveLarge,
    async rate(dir, context) {
      await dropCaches(context);
      return RANDOM_OPERATIONS / (await timed("readAnywhere", join(dir, "large"), context, RANDOM_OPERATIONS));
    },
  },
  rand_4k_write: {
    unit: "writes/s",
    async rate(dir, context, pair) {
      const path = join(dir, `random-${pair}`);
      await context.run("cp", [context.large, path]);
      await settle(context);
      const seconds = await timed("writeAnywhere", path, context, RANDOM_OPERATIONS);
      await context.run("rm", [path]);
      return RANDOM_OPERATIONS / seconds;
    },
  },
  create_4k: creating("create"),
  create_4k_8: creating("createEightAtATime"),
  stat_cold: coldOnSmall("stat"),
  read_4k_cold: coldOnSmall("read"),
  rename: {
    unit: "files/s",
    setUp: haveSmall,
    async rate(dir, context) {
      return (2 * context.files) / (await timed("renameThereAndBack", join(dir, "small"), context));
    },
  },
  unlink: {
    unit: "files/s",
    async rate(dir, context, pair) {
      const path = join(dir, `unlink-${pair}`);
      await timed("create", path, context);
      const seconds = await timed("unlink", path, context);
      await context.run("rmdir", [path]);
      return context.files / seconds;
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
  grep_cold: {
    unit: "files/s",
    cold: true,
    setUp: haveTree,
    async rate(dir, context) {
      await dropCaches(context);
      // 1: found nothing, which is right.
      const search = 'grep -rq "no file of random bytes has this" "$0"; test $? = 1';
      const { seconds } = await context.run("sh", ["-c", search, join(dir, "tree")]);
      return context.files / seconds;
    },
  },
  rm_tree: {
    unit: "files/s",
    async rate(dir, context, pair) {
      const path = join(dir, `rm-${pair}`);
      await context.run("mkdir", [path]);
      await context.run("tar", ["-xf", context.tar, "-C", path]);
      const { seconds } = await context.run("rm", ["-r", path]);
      return context.files / seconds;
    },
  },
};
