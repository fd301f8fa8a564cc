import type { Command } from "commander";
import { formatAddress } from "../common/address.js";
import { mountSettings } from "../fuse/settings.js";
import { defineSettings, readSettings } from "./daemon.js";
import { defineNamenode, findNamenode, type WhereOptions } from "./where.js";

/** `cairn mount`: mounts a cluster on a folder and serves it in the foreground, until unmounted, SIGTERM or SIGINT. */
export function define(command: Command): void {
  command.argument("<mountpoint>", "the folder to mount on");
  defineNamenode(command);
  const { mountpoint: _, namenode: __, ...flags } = mountSettings;
  defineSettings(command, "mount", flags);
  command.action(async (mountpoint: string, options: WhereOptions & Record<string, unknown>) => {
    const settings = readSettings(
      "mount",
      mountSettings,
      { ...options, mountpoint },
      { namenode: namenodeAddress(options) },
    );
    const { runMount } = await import("../fuse/main.js");
    await runMount(settings);
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
