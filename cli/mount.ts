import type { Command } from "commander";
import { formatAddress } from "../common/address.js";
import { codeOf, messageOf } from "../common/errors.js";
import { announce } from "../fuse/ready.js";
import { mountSettings } from "../fuse/settings.js";
import { defineSettings, readSettings } from "./daemon.js";
import { UsageError } from "./errors.js";
import { parseMountOptions } from "./mount-options.js";
import { parseSource } from "./source.js";
import { defineNamenode, findNamenode, type WhereOptions } from "./where.js";

interface MountFlags extends WhereOptions {
  readonly options?: string;
  readonly background?: boolean;
}

/** `cairn mount`: mounts a cluster, or a folder of it, and serves it until unmounted, SIGTERM or SIGINT. */
export function define(command: Command): void {
  command
    .usage("[options] [source] <mountpoint>")
    .argument("<paths...>", "what to mount, and the folder to mount it on");
  command.addHelpText(
    "after",
    "\nThe source is a folder of the cluster (/dir), its namenode (host:port), or both (host:port:/dir).",
  );
  defineNamenode(command);
  command.option("-o, --options <list>", "options as mount(8) takes them: ro,uid=1000,cache-ms=0");
  command.option("--background", "return when it is mounted, and serve it in the background");
  const { mountpoint: _, namenode: __, ...flags } = mountSettings;
  defineSettings(command, "mount", flags);
  command.action(async (paths: string[], { options = "", background = false, ...given }: MountFlags) => {
    const [text, mountpoint] = paths.length === 1 ? [undefined, paths[0]] : paths;
    if (paths.length > 2) throw new UsageError(`mount takes a source and a mountpoint, not ${paths.length} paths`);
    const from = text === undefined ? {} : parseSource(text);
    // What mount(8) will look for in the list of mounts is what it was told.
    const source = from.namenode === undefined ? {} : { source: text };
    const wanted = { ...parseMountOptions(options), ...from, ...source, ...given, mountpoint };
    const settings = readSettings("mount", mountSettings, wanted, { namenode: namenodeAddress(given) });
    if (background) return (await import("./mount-background.js")).mountInBackground(settings);
    const { runMount } = await import("../fuse/main.js");
    try {
      await runMount(settings);
    } catch (err) {
      announce({ refused: messageOf(err), code: codeOf(err) });
      throw err;
    }
  });
}

/** The address of the namenode that other commands would use; undefined when there is none to be found: then it must be said. */
function namenodeAddress(options: WhereOptions): string | undefined {
  try {
    return formatAddress(findNamenode(options));
  } catch (err) {
    if ((err as { code?: string }).code === "ENOENT") return undefined;
    throw err;
  }
}
