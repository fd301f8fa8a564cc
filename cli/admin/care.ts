import type { Command } from "commander";
import type { Link } from "../../proto/link.js";
import { defineWhere, findNamenode, findSecret, type WhereOptions } from "../where.js";

/** What keeps the names safe from the loss of the namenode's disks. */
export function defineCare(command: Command): void {
  defineWhere(
    command
      .command("backup <file>")
      .description("write a backup of all names, as of one moment, while the cluster runs (-: to standard output)"),
  ).action(async (file: string, options: WhereOptions) => {
    const { backup } = await import("./backup.js");
    await use(options, (link) => backup(link, file));
  });
  command
    .command("restore <file> <folder>")
    .description("make the data folder of a namenode, which must not run, from a backup (-: from standard input)")
    .action(async (file: string, folder: string) => (await import("./backup.js")).restore(file, folder));
  command
    .command("check-backup <file>")
    .description("read a backup from beginning to end, and say whether it is intact")
    .action(async (file: string) => (await import("./backup.js")).restore(file, undefined));
  defineWhere(
    command.command("dump").description("write all names as lines of JSON (docs/dump-format.md) to standard output"),
  )
    .option("--from <backup>", "those of a backup instead of a running namenode's (-: from standard input)")
    .action(async (options: WhereOptions & { from?: string }) => {
      const { dump, fetchBackup, readBackupFile } = await import("./backup.js");
      if (options.from !== undefined) await dump(readBackupFile(options.from));
      else await use(options, (link) => dump(fetchBackup(link)));
    });
  command
    .command("load <file> <folder>")
    .description("make the data folder of a namenode, which must not run, from a dump (-: from standard input)")
    .action(async (file: string, folder: string) => (await import("./backup.js")).load(file, folder));
}

async function use(options: WhereOptions, job: (link: Link) => Promise<void>): Promise<void> {
  const { withNamenode } = await import("./connect.js");
  await withNamenode(findNamenode(options), findSecret(options), job);
}
