import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { type Address, parseAddress } from "../common/address.js";
import { readConfig } from "./cluster/config.js";
import { DEFAULT_ROOT } from "./cluster/layout.js";
import { UsageError } from "./errors.js";

/** The flags by which a client command finds its cluster, as commander hands them over. */
export interface WhereOptions {
  readonly namenode?: string;
  readonly root?: string;
  readonly secretFile?: string;
}

/** Gives a command the flags by which it finds a namenode. */
export function defineNamenode(command: Command): Command {
  return command
    .addOption(new Option("--namenode <url>", "the cluster's namenode, http://host:port (environment: CAIRN_NAMENODE)"))
    .addOption(
      new Option("--root <dir>", `the folder of a cluster started on this machine (default: ${DEFAULT_ROOT})`),
    );
}

/** Gives a command the flags by which it finds its cluster and proves that it belongs to it. */
export function defineWhere(command: Command): Command {
  return defineNamenode(command).addOption(
    new Option("--secret-file <file>", "file with the cluster's secret (environment: CAIRN_SECRET_FILE)"),
  );
}

/**
 * The address of the namenode: --namenode, else CAIRN_NAMENODE, else the cluster started in --root, else the one in the
 * default root. UsageError when that URL is none; ENOENT when no cluster was started in the root.
 */
export function findNamenode(options: WhereOptions, env: NodeJS.ProcessEnv = process.env): Address {
  if (options.namenode !== undefined) return parse(options.namenode, "--namenode");
  const variable = env["CAIRN_NAMENODE"];
  if (variable !== undefined && variable !== "") return parse(variable, "CAIRN_NAMENODE");
  const config = readConfig(options.root ?? DEFAULT_ROOT);
  return { host: "127.0.0.1", port: config.httpPort };
}

function parse(text: string, source: string): Address {
  const address = parseAddress(text);
  if (address !== undefined) return address;
  throw new UsageError(`${source}: "${text}" is not the URL of a namenode (http://host:port)`);
}

/** The cluster's secret, from --secret-file or CAIRN_SECRET_FILE; undefined when neither is given. */
export function findSecret(options: WhereOptions, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const path = options.secretFile ?? env["CAIRN_SECRET_FILE"];
  if (path === undefined) return undefined;
  let secret: string;
  try {
    secret = readFileSync(path, "utf8").trim();
  } catch (err) {
    throw new UsageError(`cannot read the cluster's secret in ${path}`, err);
  }
  if (secret === "") throw new UsageError(`the file of the cluster's secret, ${path}, is empty`);
  return secret;
}
