import type { Command } from "commander";

/** `cairn umount`: unmounts; also clears a mountpoint whose mount has died. */
export function define(command: Command): void {
  command.argument("<mountpoint>", "the folder to unmount").action(async (mountpoint: string) => {
    const [{ unmount }, { RealClock }] = await Promise.all([import("../fuse/umount.js"), import("../common/clock.js")]);
    const how = await unmount(mountpoint, { clock: new RealClock() });
    if (how === "lazy")
      process.stdout.write(`${mountpoint}: unmounted; programs that still use it keep it until they let go\n`);
  });
}
