import type { CairnClient } from "../../client/contract.js";
import type { Dentry, Inode } from "../../proto/gen/types.js";
import { print } from "../output.js";
import { human, isDirectory, isSymlink, modeText, ownerText, timeText } from "./format.js";
import { join, normalize } from "./paths.js";
import { pages } from "./walk.js";

export interface LsOptions {
  readonly long?: boolean;
  readonly recursive?: boolean;
  readonly human?: boolean;
}

/** `cairn fs ls`: names, or with `long` what `ls -l` shows, page by page (columns are as wide as the page needs). */
export async function ls(client: CairnClient, paths: readonly string[], options: LsOptions): Promise<void> {
  const found: { path: string; inode: Inode }[] = [];
  for (const path of paths.map(normalize))
    found.push({ path, inode: await client.meta.resolve(path, options.long !== true) });
  const files = found.filter(({ inode }) => !isDirectory(inode));
  if (files.length > 0)
    await list(
      files.map(({ path, inode }) => ({ name: Buffer.from(path), inode })),
      options,
    );
  const folders = found.filter(({ inode }) => isDirectory(inode));
  const titled = options.recursive === true || found.length > 1;
  let first = files.length === 0;
  let queue = folders.map(({ path, inode }) => ({ path: Buffer.from(path) as Buffer, ino: inode.ino }));
  for (let folder = queue.shift(); folder !== undefined; folder = queue.shift()) {
    if (titled) await print(Buffer.concat([Buffer.from(first ? "" : "\n"), folder.path, Buffer.from(":\n")]));
    first = false;
    const below: typeof queue = [];
    for await (const entries of pages(client, folder.ino)) {
      await list(entries, options);
      if (options.recursive !== true) continue;
      for (const { name, inode } of entries) {
        if (isDirectory(inode)) below.push({ path: join(folder.path, name), ino: inode.ino });
      }
    }
    queue = below.concat(queue);
  }
}

async function list(entries: readonly Dentry[], options: LsOptions): Promise<void> {
  const end = Buffer.from("\n");
  if (options.long !== true) {
    await print(Buffer.concat(entries.flatMap(({ name }) => [name, end])));
    return;
  }
  const cells = entries.map(({ inode }) => [
    modeText(inode.mode),
    String(inode.nlink),
    ownerText("passwd", inode.uid),
    ownerText("group", inode.gid),
    options.human ? human(inode.size) : String(inode.size),
    timeText(inode.mtime),
  ]);
  const widths = [0, 1, 2, 3, 4, 5].map((column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const lines = entries.flatMap(({ name, inode }, i) => {
    const row = (cells[i] ?? []).map((text, column) =>
      column === 1 || column === 4 ? text.padStart(widths[column] ?? 0) : text.padEnd(widths[column] ?? 0),
    );
    const target = isSymlink(inode) ? [Buffer.from(" -> "), inode.target] : [];
    return [Buffer.from(`${row.join(" ")} `), name, ...target, end];
  });
  await print(Buffer.concat(lines));
}
