import type { Command } from "commander";
import { mountSettings } from "../fuse/settings.js";
import { defineSettings, readSettings } from "./daemon.js";
import { findNamenode } from "./where.js";

/** `cairn mount`: mounts a cluster on a folder and serves it in the foreground, until unmounted, SIGTERM or SIGINT. */
export function define(command: Command): void {
  command.argument("<mountpoint>", "the folder to mount on");
  command.option("--root <dir>", "the folder of a cluster started on this machine, when no --namenode is given");
  const { mountpoint: _, ...flags } = mountSettings;
  defineSettings(command, "mount", flags);
  command.action(async (mountpoint: string, { root, ...options }: { root?: string }) => {
    const settings = readSettings("mount", mountSettings, { ...options, mountpoint });
    const { runMount } = await import("../fuse/main.js");
    await runMount(settings);
  });
}
