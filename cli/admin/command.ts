import { type Command, Option } from "commander";
import type { CairnClient } from "../../client/contract.js";
import { Duty } from "../../proto/gen/types.js";
import { percentage, timeSpan } from "../options.js";
import { defineWhere, findNamenode, findSecret, type WhereOptions } from "../where.js";
import { defineCare } from "./care.js";

/** `cairn admin`: what an operator asks of a cluster. */
export function define(command: Command): void {
  defineWhere(command.command("report").description("show capacity and datanodes"))
    .option("--json", "for programs")
    .action(async (options: WhereOptions & { json?: boolean }) => {
      const [{ report }, { withNamenode }] = await Promise.all([import("./report.js"), import("./connect.js")]);
      await withNamenode(findNamenode(options), findSecret(options), (link) => report(link, options.json === true));
    });
  defineFsck(command);
  defineService(command);
  defineBalance(command);
  defineCare(command);
}

function defineFsck(command: Command): void {
  defineWhere(
    command.command("fsck [path]").description("check every block below a path; exit status 1 unless all was well"),
  )
    .option("--json", "for programs: every file with its blocks, and a summary")
    .option("--files", "list healthy files too, with their blocks")
    .option("--repair", "have bad replicas verified and missing ones made at once; correct the counters")
    .addOption(new Option("--move", "move files with lost blocks to /lost+found").conflicts("delete"))
    .addOption(new Option("--delete", "remove files with lost blocks").conflicts("move"))
    .action(async (path: string | undefined, options: WhereOptions & FsckFlags) => {
      const [{ fsck }, { withNamenode }] = await Promise.all([import("./fsck.js"), import("./connect.js")]);
      const lost = options.move ? "move" : options.delete ? "delete" : undefined;
      const check = (client?: CairnClient) =>
        withNamenode(findNamenode(options), findSecret(options), (link) =>
          fsck(link, path ?? "/", { ...options, ...(lost !== undefined && { lost }) }, client),
        );
      if (lost === undefined) await check();
      else await (await import("../fs/client.js")).withClient(options, check);
    });
}

type FsckFlags = { json?: boolean; files?: boolean; repair?: boolean; move?: boolean; delete?: boolean };

/** What moves replicas between datanodes. */
function defineBalance(command: Command): void {
  defineWhere(
    command
      .command("balance")
      .description("move replicas from full datanodes to empty ones; may be stopped at any time"),
  )
    .option("--threshold <percent>", "how far from the average a datanode may be: 10%, 0.5%", percentage, 0.1)
    .action(async (options: WhereOptions & { threshold: number }) => {
      const [{ balance }, { withNamenode }] = await Promise.all([import("./balance.js"), import("./connect.js")]);
      await withNamenode(findNamenode(options), findSecret(options), (link) => balance(link, options.threshold * 1e6));
    });
}

/** What takes a datanode, named by its number or address, out of service and back. */
function defineService(command: Command): void {
  const add = (name: string, description: string) =>
    defineWhere(command.command(`${name} <datanode>`).description(description));
  const wait = "return only when it may be switched off (Ctrl-C stops the waiting, not the copying)";
  add("decommission", "have a datanode's blocks copied elsewhere, so that it may leave for good")
    .option("--wait", wait)
    .action((who: string, options: ServiceOptions) => service(who, options, Duty.DECOMMISSION));
  add("maintenance", "let a datanode be away for a while without its blocks being copied")
    .option("--for <time>", "it is in service again after so long: 30m, 2h, 1d", timeSpan)
    .option("--wait", wait)
    .action((who: string, options: ServiceOptions) => service(who, options, Duty.MAINTENANCE));
  add("recommission", "put a datanode back in service").action((who: string, options: ServiceOptions) =>
    service(who, options, Duty.IN_SERVICE),
  );
}

type ServiceOptions = WhereOptions & { wait?: boolean; for?: number };

async function service(who: string, options: ServiceOptions, duty: Duty): Promise<void> {
  const [{ setService }, { withNamenode }] = await Promise.all([import("./service.js"), import("./connect.js")]);
  const request = { duty, forMs: options.for ?? 0, wait: options.wait === true };
  await withNamenode(findNamenode(options), findSecret(options), (link) => setService(link, who, request));
}
