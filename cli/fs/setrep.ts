import type { CairnClient } from "../../client/contract.js";
import { CairnError, wrap } from "../../common/errors.js";
import { MAX_FSCK_PAGE } from "../../common/limits.js";
import { Admin } from "../../proto/gen/services.js";
import type { FsckBlock, Inode } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import { print } from "../output.js";
import { isDirectory, isFile } from "./format.js";
import { join, normalize } from "./paths.js";
import type { Progress } from "./progress.js";
import { pages, parallel } from "./walk.js";

/** Files changed at the same time. */
const PARALLEL = 16;
/** Pause between two looks at how far the copies are, ms. */
const POLL_MS = 1_000;
/** How long the namenode may take for one page of a look, ms. */
const PAGE_MS = 60_000;

/** What `cairn fs setrep` may be told besides the number and the paths. */
export interface SetrepOptions {
  /** Files below folders, too. */
  readonly recursive?: boolean;
  /** Return only when every block has as many replicas as wanted, no fewer and no more. */
  readonly wait?: boolean;
}

/**
 * `cairn fs setrep`: sets how many copies are kept of files, those of files that are there as well. What is made in a folder
 * later follows the folder's policy, which this leaves alone. EISDIR: a folder without `recursive`.
 * @param withLink opens a link to the namenode, for waiting
 */
export async function setrep(
  client: CairnClient,
  replicas: number,
  paths: readonly string[],
  options: SetrepOptions,
  progress: Progress,
  withLink: (job: (link: Link) => Promise<void>) => Promise<void>,
): Promise<void> {
  const roots: { path: string; ino: number }[] = [];
  for (const path of paths.map(normalize)) {
    try {
      const inode = await client.meta.resolve(path, true);
      if (isDirectory(inode) && options.recursive !== true) throw new CairnError("EISDIR", "it is a folder (use -R)");
      await set(client, replicas, Buffer.from(path), inode, progress);
      roots.push({ path, ino: inode.ino });
    } catch (err) {
      throw wrap(err, `cannot set the replicas of ${path}`);
    }
  }
  if (options.wait !== true) return;
  await withLink(async (link) => {
    for (const { path, ino } of roots) {
      while (!(await complete(link, ino))) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      await print(`${path}: every block has its replicas\n`);
    }
  });
}

/** Sets it for a file, or for every file below a folder. What has no blocks is passed over. */
async function set(
  client: CairnClient,
  replicas: number,
  path: Buffer,
  inode: Inode,
  progress: Progress,
): Promise<void> {
  if (isFile(inode)) {
    await client.meta.setAttributes(inode.ino, { policy: { replicas } }).catch((err: unknown) => {
      throw wrap(err, path.toString());
    });
    progress.addFile();
  } else if (isDirectory(inode)) {
    for await (const entries of pages(client, inode.ino))
      await parallel(entries, PARALLEL, (e) => set(client, replicas, join(path, e.name), e.inode, progress));
  }
}

/** Replicas in maintenance count, but are no surplus; those on datanodes that leave do not count. */
function isComplete({ live, resting, wanted }: FsckBlock): boolean {
  return live.length <= wanted && live.length + resting.length >= wanted;
}

/** Whether every block below an inode has just the replicas that are wanted. */
async function complete(link: Link, ino: number): Promise<boolean> {
  let cursor: Uint8Array = Buffer.alloc(0);
  do {
    const page = await link.call(Admin.fsck, { ino, cursor, limit: MAX_FSCK_PAGE }, { deadlineMs: PAGE_MS });
    for (const { blocks } of page.files) if (!blocks.every(isComplete)) return false;
    cursor = Buffer.from(page.cursor);
  } while (cursor.length > 0);
  return true;
}
