import type { Command } from "commander";
import { defineWhere, findNamenode, findSecret, type WhereOptions } from "../where.js";

/** `cairn admin`: what an operator asks of a cluster. */
export function define(command: Command): void {
  defineWhere(command.command("report").description("show capacity and datanodes"))
    .option("--json", "for programs")
    .action(async (options: WhereOptions & { json?: boolean }) => {
      const [{ report }, { withNamenode }] = await Promise.all([import("./report.js"), import("./connect.js")]);
      await withNamenode(findNamenode(options), findSecret(options), (link) => report(link, options.json === true));
    });
  defineWhere(
    command.command("fsck [path]").description("check every block below a path; exit status 1 unless all is well"),
  )
    .option("--json", "for programs: every file with its blocks, and a summary")
    .option("--files", "list healthy files too, with their blocks")
    .action(async (path: string | undefined, options: WhereOptions & { json?: boolean; files?: boolean }) => {
      const [{ fsck }, { withNamenode }] = await Promise.all([import("./fsck.js"), import("./connect.js")]);
      await withNamenode(findNamenode(options), findSecret(options), (link) => fsck(link, path ?? "/", options));
    });
}
