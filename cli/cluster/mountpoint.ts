import { resolve } from "node:path";
import { RealClock } from "../../common/clock.js";
import { listMounts, type MountEntry } from "../../fuse/mountinfo.js";
import { probe } from "../../fuse/probe.js";
import { mountpointPath, unmount } from "../../fuse/umount.js";

/** What is mounted exactly on a path (the topmost); undefined when nothing is. Never touches the mounted file system. */
export async function mountedAt(path: string): Promise<MountEntry | undefined> {
  const mountpoint = await canonical(path);
  return (await listMounts()).findLast((mount) => mount.mountpoint === mountpoint);
}

/** The mountpoints below a folder. */
export async function mountsBelow(folder: string): Promise<string[]> {
  const top = await canonical(folder);
  return (await listMounts()).map((mount) => mount.mountpoint).filter((at) => at.startsWith(`${top}/`));
}

/** Whether the file system on a mountpoint answers. */
export async function answers(mountpoint: string): Promise<boolean> {
  return (await probe(mountpoint)) === "answers";
}

/** Takes away what a mount that died, or that would not end, has left: whoever waits for it gets an error. */
export async function clear(mountpoint: string): Promise<void> {
  await unmount(mountpoint, { clock: new RealClock(), force: true });
}

/** The path without symbolic links; as it is when its parent does not exist (nothing is mounted there then). */
function canonical(path: string): Promise<string> {
  return mountpointPath(path).catch(() => resolve(path));
}
