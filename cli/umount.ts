import type { Command } from "commander";

/** `cairn umount`: unmounts; also clears a mountpoint whose mount has died, or hangs. */
export function define(command: Command): void {
  command
    .argument("<mountpoint>", "the folder to unmount")
    .option(
      "--force",
      "cut it off from a daemon that hangs: programs that use it get errors, unfinished writes are lost",
    )
    .action(async (mountpoint: string, { force = false }: { force?: boolean }) => {
      const [{ unmount }, { RealClock }] = await Promise.all([
        import("../fuse/umount.js"),
        import("../common/clock.js"),
      ]);
      const how = await unmount(mountpoint, { clock: new RealClock(), force });
      if (how === "lazy" && !force)
        process.stdout.write(`${mountpoint}: unmounted; programs that still use it keep it until they let go\n`);
    });
}
