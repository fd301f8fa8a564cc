import { folderAside, moveAside, type Place } from "../../client/aside.js";
import type { CairnClient } from "../../client/contract.js";
import { CairnError, wrap } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";

/** Where damaged files are moved, below the root, under the path that they had. */
const LOST_AND_FOUND = "lost+found";

/** What is done with a file that cannot be read as a whole. */
export type LostAction = "move" | "delete";

/** Whether a path (from the root) is that of something that was moved here before. */
export function isLostAndFound(path: Buffer): boolean {
  return path.toString("latin1").startsWith(`/${LOST_AND_FOUND}/`);
}

/**
 * Moves a file into /lost+found or removes it, if it still has its name. What can be read of a file that was moved still can.
 * @returns where it is now; undefined when it is gone
 */
export async function putAway(
  client: CairnClient,
  action: LostAction,
  path: Buffer,
  ino: number,
): Promise<Buffer | undefined> {
  const names = split(path);
  const name = names.pop();
  if (name === undefined) throw new CairnError("EINVAL", "the root folder cannot be put away");
  try {
    let dir = ROOT_INO;
    for (const folder of names) dir = (await client.meta.lookup(dir, folder)).ino;
    if ((await client.meta.lookup(dir, name)).ino !== ino) throw new CairnError("ENOENT", "it is another file by now");
    if (action === "move") return await moveToLost(client, { dir, name }, names);
    await client.meta.unlink(dir, name);
    return undefined;
  } catch (err) {
    throw wrap(err, `cannot ${action} ${path}`);
  }
}

async function moveToLost(client: CairnClient, from: Place, names: readonly Buffer[]): Promise<Buffer> {
  // Only for who puts it there: the folders that it was in may have been closed to others.
  const node = { mode: 0o040700, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const folders = [Buffer.from(LOST_AND_FOUND), ...names].map((name) => ({ name, node }));
  return (await moveAside(client.meta, from, await folderAside(client.meta, folders))).path;
}

/** The names of an absolute path, as bytes. */
function split(path: Buffer): Buffer[] {
  const names = path.toString("latin1").split("/");
  return names.filter((name) => name !== "").map((name) => Buffer.from(name, "latin1"));
}
