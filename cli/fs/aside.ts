import type { CairnClient } from "../../client/contract.js";
import { codeOf } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import { isDirectory } from "./format.js";

/** Mode of the folders that are made: only for their owner. */
const FOLDER_MODE = 0o040700;
/** Names tried one after the other where one is taken, at most. */
const MAX_TWINS = 1_000;

/**
 * Moves a name into a folder given by its names from the root, which is made when missing. Where a name is taken, by a file where a
 * folder is needed or by anything where it is to be moved, the next of name.1, name.2, … is used.
 * @returns its path
 */
export async function moveAside(
  client: CairnClient,
  from: { readonly dir: number; readonly name: Buffer },
  folders: readonly Buffer[],
): Promise<Buffer> {
  let into = ROOT_INO;
  const path: Buffer[] = [];
  for (const folder of folders) {
    const made = await firstFree(folder, (name) => folderOf(client, into, name));
    into = made.result;
    path.push(made.name);
  }
  const { name } = await firstFree(from.name, async (target) => {
    await client.meta.rename(from.dir, from.name, into, target, { noReplace: true });
    return into;
  });
  return Buffer.concat([...path, name].flatMap((part) => [Buffer.from("/"), part]));
}

/** Tries a name, name.1, name.2, … for as long as one is taken (EEXIST). */
async function firstFree(
  name: Buffer,
  attempt: (name: Buffer) => Promise<number>,
): Promise<{ name: Buffer; result: number }> {
  for (let twin = 0; ; twin++) {
    const candidate = twin === 0 ? name : Buffer.concat([name, Buffer.from(`.${twin}`)]);
    try {
      return { name: candidate, result: await attempt(candidate) };
    } catch (err) {
      if (codeOf(err) !== "EEXIST" || twin >= MAX_TWINS) throw err;
    }
  }
}

/** A folder's inode, made when missing. EEXIST when something else has the name. */
async function folderOf(client: CairnClient, dir: number, name: Buffer): Promise<number> {
  const node = { mode: FOLDER_MODE, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  try {
    return (await client.meta.create(dir, name, node)).inode.ino;
  } catch (err) {
    if (codeOf(err) !== "EEXIST") throw err;
    const there = await client.meta.lookup(dir, name);
    if (isDirectory(there)) return there.ino;
    throw err;
  }
}
