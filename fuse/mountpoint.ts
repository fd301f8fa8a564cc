import { constants } from "node:fs";
import { access, opendir, stat } from "node:fs/promises";
import type { Clock } from "../common/clock.js";
import { CairnError, codeOf, wrap } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import { mountAt } from "./mountinfo.js";
import { probe } from "./probe.js";
import { mountpointPath, unmount } from "./umount.js";

const DEVICE = "/dev/fuse";

/**
 * Sees to it that a path can be mounted on: an empty directory with nothing mounted, and a usable /dev/fuse. What a daemon that
 * died has left mounted there is cleared, and said. Resolves to the path as the kernel will list it.
 * ENOENT, ENOTDIR, ENOTEMPTY, EBUSY (mounted already), EACCES.
 */
export async function prepareMountpoint(
  path: string,
  options: { clock: Clock; log: Logger; nonempty: boolean },
): Promise<string> {
  const { clock, log, nonempty } = options;
  await checkDevice();
  const mountpoint = await mountpointPath(path).catch((err) => {
    throw wrap(err, `mount on ${path}`);
  });
  for (let entry = await mountAt(mountpoint); entry; entry = await mountAt(mountpoint)) {
    const health = entry.type.startsWith("fuse") ? await probe(mountpoint) : "answers";
    if (health !== "dead") {
      const silent = health === "silent" ? ", and does not answer (cairn umount --force takes it away)" : "";
      throw new CairnError(
        "EBUSY",
        `mount on ${mountpoint}: ${entry.source} (${entry.type}) is mounted there already${silent}`,
      );
    }
    log.warn({ mountpoint }, "clearing a mount whose daemon has died");
    await unmount(mountpoint, { clock, timeoutMs: 0 });
  }
  await checkDirectory(mountpoint, nonempty);
  return mountpoint;
}

async function checkDirectory(mountpoint: string, nonempty: boolean): Promise<void> {
  const stats = await stat(mountpoint).catch((err) => {
    throw wrap(err, `mount on ${mountpoint}`);
  });
  if (!stats.isDirectory()) throw new CairnError("ENOTDIR", `mount on ${mountpoint}: it is not a directory`);
  if (nonempty) return;
  const directory = await opendir(mountpoint);
  try {
    if (await directory.read()) {
      throw new CairnError("ENOTEMPTY", `mount on ${mountpoint}: it is not empty, and its files would be hidden`);
    }
  } finally {
    await directory.close();
  }
}

async function checkDevice(): Promise<void> {
  try {
    await access(DEVICE, constants.R_OK | constants.W_OK);
  } catch (err) {
    const missing = codeOf(err) === "ENOENT";
    throw new CairnError(
      codeOf(err),
      missing
        ? `use FUSE: ${DEVICE} is missing; load the kernel module (modprobe fuse), or hand the device to the container`
        : `use FUSE: ${DEVICE} may not be opened by this user (mount as root, or have root say: chmod 666 ${DEVICE})`,
      err,
    );
  }
}
