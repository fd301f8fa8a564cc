import type { CairnClient } from "../../client/contract.js";
import { CairnError, codeOf, wrap } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import type { Inode } from "../../proto/gen/types.js";
import { isDirectory } from "../fs/format.js";

/** Where damaged files are moved, below the root, under the path that they had. */
const LOST_AND_FOUND = "lost+found";
/** Mode of the folders in it: only for whoever the cluster belongs to. */
const FOLDER_MODE = 0o040700;
/** Files of one path in it, at most. */
const MAX_TWINS = 1_000;

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
    if (action === "move") return await move(client, dir, name, names);
    await client.meta.unlink(dir, name);
    return undefined;
  } catch (err) {
    throw wrap(err, `cannot ${action} ${path}`);
  }
}

async function move(client: CairnClient, dir: number, name: Buffer, folders: readonly Buffer[]): Promise<Buffer> {
  let into = ROOT_INO;
  const path = [Buffer.from(LOST_AND_FOUND), ...folders];
  for (const folder of path) into = (await folderOf(client, into, folder)).ino;
  for (let twin = 0; ; twin++) {
    const target = twin === 0 ? name : Buffer.concat([name, Buffer.from(`.${twin}`)]);
    try {
      await client.meta.rename(dir, name, into, target, { noReplace: true });
      return Buffer.concat([...path, target].flatMap((part) => [Buffer.from("/"), part]));
    } catch (err) {
      if (codeOf(err) !== "EEXIST" || twin >= MAX_TWINS) throw err;
    }
  }
}

/** A folder, made when missing. */
async function folderOf(client: CairnClient, dir: number, name: Buffer): Promise<Inode> {
  const node = { mode: FOLDER_MODE, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  try {
    return (await client.meta.create(dir, name, node)).inode;
  } catch (err) {
    if (codeOf(err) !== "EEXIST") throw err;
  }
  const there = await client.meta.lookup(dir, name);
  if (isDirectory(there)) return there;
  throw new CairnError("ENOTDIR", `${name} in ${LOST_AND_FOUND} is no folder`);
}

/** The names of an absolute path, as bytes. */
function split(path: Buffer): Buffer[] {
  const names = path.toString("latin1").split("/");
  return names.filter((name) => name !== "").map((name) => Buffer.from(name, "latin1"));
}
