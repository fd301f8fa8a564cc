import { resolve } from "node:path";
import type { Command } from "commander";

/** `cairn umount`: unmounts; also clears a mountpoint whose mount has died. */
export function define(command: Command): void {
  command.argument("<mountpoint>", "the folder to unmount").action(async (mountpoint: string) => {
    const { unmount } = await import("../fuse/umount.js");
    await unmount(resolve(mountpoint));
  });
}
