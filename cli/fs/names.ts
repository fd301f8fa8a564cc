import type { CairnClient } from "../../client/contract.js";
import { CairnError, codeOf, wrap } from "../../common/errors.js";
import { isOfSnapshot, SNAPSHOTS } from "../../common/snapshots.js";
import type { Inode } from "../../proto/gen/types.js";
import { print } from "../output.js";
import { isDirectory } from "./format.js";
import { join, normalize, split } from "./paths.js";
import type { Progress } from "./progress.js";
import { isInTrash, toTrash } from "./to-trash.js";
import { pages, parallel, resolveIfAny } from "./walk.js";

/** Mode of a new folder, before the umask. */
const FOLDER_MODE = 0o040777;
/** Names removed from one folder at the same time. */
const PARALLEL_REMOVALS = 16;

/** `cairn fs mkdir`: makes folders; with `parents` also those above, and an existing one is no error. */
export async function mkdir(client: CairnClient, paths: readonly string[], parents: boolean): Promise<void> {
  for (const path of paths.map(normalize)) {
    try {
      if (parents) await makeAll(client, path);
      else {
        const { parent, name } = split(path);
        await make(client, (await client.meta.resolve(parent, true)).ino, name);
      }
    } catch (err) {
      throw wrap(err, `cannot make the folder ${path}`);
    }
  }
}

/** Makes a folder and those above it; one that is there is none too many. EEXIST: something else is. */
export async function makeAll(client: CairnClient, path: string): Promise<Inode> {
  const there = await resolveIfAny(client, path, true);
  if (there !== undefined) {
    if (isDirectory(there)) return there;
    throw new CairnError("EEXIST", `${path} exists and is no folder`);
  }
  const { parent, name } = split(path);
  const folder = await makeAll(client, parent);
  try {
    return await make(client, folder.ino, name);
  } catch (err) {
    if ((err as CairnError).code === "EEXIST") return makeAll(client, path); // somebody was faster
    throw err;
  }
}

async function make(client: CairnClient, dir: number, name: Buffer): Promise<Inode> {
  const node = {
    mode: FOLDER_MODE & ~process.umask(),
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
  };
  return (await client.meta.create(dir, name, node)).inode;
}

/** What `cairn fs rm` may be told. */
export interface RmOptions {
  readonly recursive?: boolean;
  readonly force?: boolean;
  /** Remove for good, though there is a trash. */
  readonly skipTrash?: boolean;
}

/**
 * `cairn fs rm`: removes files, with `recursive` also folders and all in them; with `force` what is missing is no error. Where there is a
 * trash, it is moved there, unless it is in it already.
 */
export async function rm(
  client: CairnClient,
  paths: readonly string[],
  options: RmOptions,
  progress: Progress,
): Promise<void> {
  for (const path of paths.map(normalize)) {
    const { parent, name } = split(path);
    try {
      const folder = await client.meta.resolve(parent, true);
      const inode = await client.meta.lookup(folder.ino, name);
      if (isDirectory(inode) && options.recursive !== true) {
        throw new CairnError("EISDIR", "it is a folder (use -r)");
      }
      if (isDirectory(inode)) await refuseSnapshots(client, inode.ino);
      if (client.trashMs > 0 && options.skipTrash !== true && !isInTrash(path))
        await print(`${path}: moved to ${await toTrash(client, path, folder.ino, name)}\n`);
      else await remove(client, folder.ino, name, inode, progress);
    } catch (err) {
      if (options.force === true && (err as CairnError).code === "ENOENT") continue;
      throw wrap(err, `cannot remove ${path}`);
    }
  }
}

/** ENOTEMPTY for a folder that has snapshots: it could not be removed, nor would it ever leave the trash. */
async function refuseSnapshots(client: CairnClient, folder: number): Promise<void> {
  const list = await client.meta.lookup(folder, Buffer.from(SNAPSHOTS)).catch((err: unknown) => {
    if (codeOf(err) !== "ENOENT") throw err;
  });
  if (list && isOfSnapshot(list.ino)) throw new CairnError("ENOTEMPTY", "it has snapshots (see `cairn snapshot list`)");
}

/** Removes a name, and all that is below it, for good. */
export async function remove(
  client: CairnClient,
  dir: number,
  name: Uint8Array,
  inode: Inode,
  progress: Progress,
): Promise<void> {
  if (!isDirectory(inode)) await client.meta.unlink(dir, name);
  else {
    for await (const entries of pages(client, inode.ino)) {
      await parallel(entries, PARALLEL_REMOVALS, (entry) =>
        remove(client, inode.ino, entry.name, entry.inode, progress),
      );
    }
    await client.meta.rmdir(dir, name);
  }
  progress.addFile();
}

/** `cairn fs mv`: renames, or moves into `target` when that is a folder. A file in the way is replaced. */
export async function mv(client: CairnClient, sources: readonly string[], target: string): Promise<void> {
  const to = normalize(target);
  const existing = await resolveIfAny(client, to, true);
  const into = existing !== undefined && isDirectory(existing) ? existing : undefined;
  if (into === undefined && sources.length > 1) {
    throw new CairnError("ENOTDIR", `cannot move several things to ${to}: it is no folder`);
  }
  for (const source of sources.map(normalize)) {
    const from = split(source);
    try {
      const fromDir = await client.meta.resolve(from.parent, true);
      if (into !== undefined) await client.meta.rename(fromDir.ino, from.name, into.ino, from.name);
      else {
        const { parent, name } = split(to);
        const toDir = await client.meta.resolve(parent, true);
        await client.meta.rename(fromDir.ino, from.name, toDir.ino, name);
      }
    } catch (err) {
      const where = into === undefined ? to : join(Buffer.from(to), from.name).toString();
      throw wrap(err, `cannot move ${source} to ${where}`);
    }
  }
}
