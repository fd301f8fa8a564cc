import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { CairnError, codeOf, wrap } from "../common/errors.js";
import { run } from "./deadline.js";
import type { MountEntry } from "./mountinfo.js";

const CONNECTIONS = "/sys/fs/fuse/connections";
/** How long mount(8) may take, ms. */
const MOUNT_MS = 5000;

/**
 * The file that cuts a FUSE mount off from its daemon when anything is written to it, as long as it is this mount: of a later one
 * that gets its number nothing is written. EINVAL when it is no FUSE mount; EPERM, EACCES for who did not make the mount.
 */
export async function openAbort({ device, mountpoint, type }: MountEntry): Promise<FileHandle> {
  if (!type.startsWith("fuse"))
    throw new CairnError("EINVAL", `cut off ${mountpoint}: it is ${type}, not a FUSE mount`);
  // The kernel names a connection by the device number of its mount, whose major part is 0.
  const path = `${CONNECTIONS}/${device.slice(device.indexOf(":") + 1)}/abort`;
  try {
    return await open(path, constants.O_WRONLY).catch(async (err: unknown) => {
      if (codeOf(err) !== "ENOENT") throw err;
      await run("mount", ["-t", "fusectl", "fusectl", CONNECTIONS], MOUNT_MS);
      return open(path, constants.O_WRONLY);
    });
  } catch (err) {
    throw wrap(err, `find the connection of ${mountpoint} to its daemon`);
  }
}

/**
 * Cuts a FUSE mount off from its daemon, whatever that is doing: every program that waits for it gets an error, and a thread of
 * the daemon that hangs in the kernel is set free. What the daemon had not committed is lost to the programs that wrote it.
 * EINVAL when it is no FUSE mount; EPERM for who did not make the mount.
 */
export async function abortConnection(entry: MountEntry): Promise<void> {
  const file = await openAbort(entry);
  try {
    await file.write("1");
  } catch (err) {
    throw wrap(err, `cut ${entry.mountpoint} off from its daemon`);
  } finally {
    await file.close();
  }
}
