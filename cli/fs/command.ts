import { type Command, Option } from "commander";
import { MAX_BLOCK_SIZE, MAX_REPLICAS, MIN_BLOCK_SIZE } from "../../common/limits.js";
import type { Link } from "../../proto/link.js";
import { byteSize, wholeNumber } from "../options.js";
import { defineWhere, findNamenode, findSecret, type WhereOptions } from "../where.js";
import type { CpOptions } from "./cp.js";
import type { PolicyOptions } from "./facts.js";
import type { GetOptions } from "./get.js";
import type { LsOptions } from "./ls.js";
import type { RmOptions } from "./names.js";
import type { PutOptions } from "./put.js";
import type { QuotaOptions } from "./quota.js";
import type { SetrepOptions } from "./setrep.js";

/** `cairn fs`: files and folders of a cluster, without a mount. Paths are those below the mountpoint. */
export function define(command: Command): void {
  // -h is for human-readable sizes here, as in ls and df.
  const add = (usage: string, description: string) =>
    defineWhere(command.command(usage).description(description).helpOption("--help", "show this help"));
  defineReading(add);
  defineChanging(add);
  defineSetrep(add);
  defineQuota(add);
  defineTrash(command.command("trash").description("what `rm` has moved to the trash"));
}

type Add = (usage: string, description: string) => Command;

function defineReading(add: Add): void {
  add("ls [path...]", "list folders")
    .option("-l, --long", "with type, permissions, links, owner, size and time")
    .option("-R, --recursive", "with everything below")
    .option("-h, --human", "sizes as 1.5K, 64M")
    .action(async (paths: string[], options: LsOptions & WhereOptions) => {
      const { ls } = await import("./ls.js");
      await use(options, (client) => ls(client, paths.length === 0 ? ["/"] : paths, options));
    });
  add("cat <path...>", "write files to standard output").action(async (paths: string[], options: WhereOptions) => {
    const { cat } = await import("./cat.js");
    await use(options, (client) => cat(client, paths));
  });
  add("get <remote...>", "copy files out of the cluster")
    .usage("[options] <remote...> <local>")
    .option("-r, --recursive", "folders too")
    .option("-f, --force", "replace what is there")
    .option("-p, --preserve", "keep mode and times")
    .action(async (paths: string[], options: GetOptions & WhereOptions) => {
      const [{ get }, { withProgress }] = await Promise.all([import("./get.js"), import("./client.js")]);
      const local = paths.length > 1 ? (paths.pop() ?? ".") : ".";
      await withProgress(options, "get", (client, progress) => get(client, paths, local, options, progress));
    });
  add("stat <path...>", "show everything known of files or folders").action(
    async (paths: string[], options: WhereOptions) => {
      const { stat } = await import("./facts.js");
      await use(options, (client) => stat(client, paths));
    },
  );
  add("df", "show the space of the cluster")
    .option("-h, --human", "sizes as 1.5K, 64M")
    .action(async (options: WhereOptions & { human?: boolean }) => {
      const { df } = await import("./facts.js");
      await use(options, (client) => df(client, options));
    });
}

function defineChanging(add: Add): void {
  add("put <local...>", "copy files into the cluster (local -: standard input)")
    .usage("[options] <local...> <remote>")
    .option("-r, --recursive", "folders too")
    .option("-f, --force", "replace what is there")
    .option("-p, --preserve", "keep mode, owner and times")
    .action(async (paths: string[], options: PutOptions & WhereOptions) => {
      const [{ put }, { withProgress }] = await Promise.all([import("./put.js"), import("./client.js")]);
      const remote = paths.length > 1 ? (paths.pop() ?? "/") : "/";
      await withProgress(options, "put", (client, progress) => put(client, paths, remote, options, progress));
    });
  add("mkdir <path...>", "make folders")
    .option("-p, --parents", "with those above; existing ones are no error")
    .action(async (paths: string[], options: WhereOptions & { parents?: boolean }) => {
      const { mkdir } = await import("./names.js");
      await use(options, (client) => mkdir(client, paths, options.parents === true));
    });
  add("rm <path...>", "remove files, or move them to the trash where there is one")
    .option("-r, --recursive", "folders too, with all in them")
    .option("-f, --force", "what is missing is no error")
    .option("--skip-trash", "for good, though there is a trash")
    .action(async (paths: string[], options: RmOptions & WhereOptions) => {
      const [{ rm }, { withProgress }] = await Promise.all([import("./names.js"), import("./client.js")]);
      await withProgress(options, "rm", (client, progress) => rm(client, paths, options, progress));
    });
  add("cp <source> <target...>", "copy within the cluster: no bytes move, a copy refers to the blocks of its original")
    .usage("[options] <source...> <target>")
    .option("-r, --recursive", "folders too")
    .option("-f, --force", "replace what is there")
    .action(async (source: string, rest: string[], options: CpOptions & WhereOptions) => {
      const [{ cp }, { withProgress }] = await Promise.all([import("./cp.js"), import("./client.js")]);
      const target = rest.pop() ?? source;
      await withProgress(options, "cp", (client, progress) => cp(client, [source, ...rest], target, options, progress));
    });
  add("mv <source> <target...>", "rename, or move into a folder")
    .usage("[options] <source...> <target>")
    .action(async (source: string, rest: string[], options: WhereOptions) => {
      const { mv } = await import("./names.js");
      const target = rest.pop() ?? source;
      await use(options, (client) => mv(client, [source, ...rest], target));
    });
  add("policy <path>", "show or set how bytes are kept: of a file, or of what will be made in a folder")
    .option("--replicas <n>", "wanted copies of every block", wholeNumber(1, MAX_REPLICAS))
    .option("--block-size <size>", "of new blocks: 64m", byteSize(MIN_BLOCK_SIZE, MAX_BLOCK_SIZE))
    .addOption(new Option("--compression <kind>", "of new blocks").choices(["raw", "lz4"]))
    .action(async (path: string, options: PolicyOptions & WhereOptions) => {
      const { policy } = await import("./facts.js");
      const { replicas, blockSize, compression } = options;
      const wanted = {
        ...(replicas !== undefined && { replicas }),
        ...(blockSize !== undefined && { blockSize }),
        ...(compression !== undefined && { compression }),
      };
      await use(options, (client) => policy(client, path, wanted));
    });
}

/** `cairn fs quota`. */
function defineQuota(add: Add): void {
  add("quota <path>", "show or set how much may be below a folder")
    .option("--names <n>", "names of files and folders (0: any number)", wholeNumber(0, Number.MAX_SAFE_INTEGER))
    .option(
      "--bytes <size>",
      "bytes of files, each counted once (0: any number): 10g",
      byteSize(0, Number.MAX_SAFE_INTEGER),
    )
    .option("--clear", "no quota any more")
    .action(async (path: string, options: QuotaOptions & WhereOptions) => {
      const [{ quota }, { withNamenode }] = await Promise.all([import("./quota.js"), import("../admin/connect.js")]);
      await withNamenode(findNamenode(options), findSecret(options), (link) => quota(link, path, options));
    });
}

/** `cairn fs setrep`, as `hdfs dfs -setrep`. */
function defineSetrep(add: Add): void {
  add("setrep <n> <path...>", "set how many copies are kept of files, those that are there too")
    .option("-R, --recursive", "of all files below folders")
    .option("--wait", "return when every block has as many")
    .action(async (n: string, paths: string[], options: SetrepOptions & WhereOptions) => {
      const replicas = wholeNumber(1, MAX_REPLICAS)(n);
      const [{ setrep }, { withProgress }, { withNamenode }] = await Promise.all([
        import("./setrep.js"),
        import("./client.js"),
        import("../admin/connect.js"),
      ]);
      const withLink = (job: (link: Link) => Promise<void>) =>
        withNamenode(findNamenode(options), findSecret(options), job);
      await withProgress(options, "setrep", (client, progress) =>
        setrep(client, replicas, paths, options, progress, withLink),
      );
    });
}

function defineTrash(command: Command): void {
  const add = (usage: string, description: string) => defineWhere(command.command(usage).description(description));
  add("ls [path]", "list what was removed below a path, newest day first").action(
    async (path: string | undefined, options: WhereOptions) => {
      const { trashLs } = await import("./trash.js");
      await use(options, (client) => trashLs(client, path ?? "/"));
    },
  );
  add("restore <path...>", "move what was removed last back to where it was").action(
    async (paths: string[], options: WhereOptions) => {
      const { trashRestore } = await import("./trash.js");
      await use(options, (client) => trashRestore(client, paths));
    },
  );
  add("empty", "remove everything in your trash for good").action(async (options: WhereOptions) => {
    const [{ trashEmpty }, { withProgress }] = await Promise.all([import("./trash.js"), import("./client.js")]);
    await withProgress(options, "empty", (client, progress) => trashEmpty(client, progress));
  });
}

type Job = Parameters<typeof import("./client.js").withClient>[1];

async function use(options: WhereOptions, job: Job): Promise<void> {
  const { withClient } = await import("./client.js");
  await withClient(options, job);
}
