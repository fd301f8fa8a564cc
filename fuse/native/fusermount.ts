import { readFile, stat } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { CairnError } from "../../common/errors.js";

/** The bit of a mode that makes a program run as its owner. */
const S_ISUID = 0o4000;
const FUSE_CONF = "/etc/fuse.conf";

/**
 * Whether somebody who is not root can mount: libfuse has fusermount do it, which must be there and setuid, and root must have
 * allowed that other users use such a mount where that is asked for. ENOENT, EPERM, with what to do.
 * @param system this machine, but in tests
 */
export async function checkFusermount(
  allowOther: boolean,
  system: { root?: boolean; path?: string; conf?: string } = {},
): Promise<void> {
  const { root = process.getuid?.() === 0, path: folders = process.env["PATH"] ?? "", conf = FUSE_CONF } = system;
  if (root) return;
  const path = await findInPath("fusermount", folders);
  if (path === undefined) {
    throw new CairnError("ENOENT", "mount without being root: fusermount is not installed (apt-get install fuse3)");
  }
  const { mode, uid } = await stat(path);
  if ((mode & S_ISUID) === 0 || uid !== 0) {
    throw new CairnError("EPERM", `mount without being root: ${path} is not setuid root (as root: chmod u+s ${path})`);
  }
  if (allowOther && !/^\s*user_allow_other\s*$/m.test(await readFile(conf, "utf8").catch(() => ""))) {
    throw new CairnError(
      "EPERM",
      `let other users use a mount that is not root's: ${conf} has no line "user_allow_other" (root may add it)`,
    );
  }
}

/** The first program of a name in some folders; undefined when there is none. */
async function findInPath(name: string, folders: string): Promise<string | undefined> {
  for (const folder of folders.split(delimiter).filter(Boolean)) {
    const found = await stat(join(folder, name)).catch(() => undefined);
    if (found?.isFile()) return join(folder, name);
  }
  return undefined;
}
