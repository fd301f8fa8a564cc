import type { CairnClient } from "../../client/contract.js";
import { CairnError, codeOf, wrap } from "../../common/errors.js";
import { endOfDay, TRASH } from "../../common/trash.js";
import type { Inode } from "../../proto/gen/types.js";
import { print } from "../output.js";
import { isDirectory } from "./format.js";
import { makeAll, remove } from "./names.js";
import { join, normalize, split } from "./paths.js";
import type { Progress } from "./progress.js";
import { ownTrash, userName } from "./to-trash.js";
import { pages, resolveIfAny } from "./walk.js";

/** `cairn fs trash ls`: what is in the trash of this user in a folder's place, day by day, newest first. */
export async function trashLs(client: CairnClient, where: string): Promise<void> {
  const path = normalize(where);
  for await (const { day, inode } of found(client, path)) {
    const line = (name: Buffer) => print(Buffer.concat([Buffer.from(`${day}  `), name, Buffer.from("\n")]));
    if (!isDirectory(inode)) await line(Buffer.from(path));
    else {
      for await (const entries of pages(client, inode.ino))
        for (const { name } of entries) await line(join(Buffer.from(path), name));
    }
  }
}

/**
 * `cairn fs trash restore`: moves what is in the trash under a path back to where it was: that of the newest day. Folders above it
 * are made when missing. ENOENT; EEXIST: something else is there.
 */
export async function trashRestore(client: CairnClient, paths: readonly string[]): Promise<void> {
  for (const path of paths.map(normalize)) {
    try {
      const { parent, name } = split(path);
      const newest = (await found(client, path).next()).value as Found | undefined;
      if (newest === undefined) throw new CairnError("ENOENT", "it is not in the trash");
      const from = await client.meta.resolve(split(newest.path).parent, true);
      const to = await makeAll(client, parent);
      await client.meta.rename(from.ino, name, to.ino, name, { noReplace: true });
      await print(`${path}: restored, removed on ${newest.day}\n`);
    } catch (err) {
      throw wrap(err, `cannot restore ${path}`);
    }
  }
}

/** `cairn fs trash empty`: removes what is in the trash of this user, for good. */
export async function trashEmpty(client: CairnClient, progress: Progress): Promise<void> {
  const trash = await resolveIfAny(client, `/${TRASH}`, false);
  const mine = await resolveIfAny(client, ownTrash(), false);
  if (trash !== undefined && mine !== undefined)
    await remove(client, trash.ino, Buffer.from(userName()), mine, progress);
}

interface Found {
  readonly day: string;
  readonly path: string;
  readonly inode: Inode;
}

/** What the trash has in the place of a path, newest day first. */
async function* found(client: CairnClient, path: string): AsyncGenerator<Found> {
  const trash = await resolveIfAny(client, ownTrash(), false);
  if (trash === undefined) return;
  const days: string[] = [];
  for await (const entries of pages(client, trash.ino)) days.push(...entries.map(({ name }) => name.toString()));
  for (const day of days.filter((name) => endOfDay(name) !== undefined).reverse()) {
    const full = normalize(`${ownTrash()}/${day}${path}`);
    const inode = await resolveIfAny(client, full, false).catch((err: unknown) => {
      if (codeOf(err) === "ENOTDIR") return undefined; // a file of that day has the name of a folder above it
      throw err;
    });
    if (inode !== undefined) yield { day, path: full, inode };
  }
}
