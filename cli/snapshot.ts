import type { Command } from "commander";
import { SNAPSHOTS } from "../common/snapshots.js";
import { Admin } from "../proto/gen/services.js";
import type { SnapshotInfo } from "../proto/gen/types.js";
import type { Link } from "../proto/link.js";
import { inodeNumber } from "./admin/fsck.js";
import { fullTime } from "./fs/format.js";
import { normalize } from "./fs/paths.js";
import { print } from "./output.js";
import { defineWhere, findNamenode, findSecret, type WhereOptions } from "./where.js";

/** `cairn snapshot`: keeps folders readable as they were. */
export function define(command: Command): void {
  const add = (usage: string, description: string) => defineWhere(command.command(usage).description(description));
  add("create <folder> [name]", "keep a folder, and all below it, as it is now (name: the time unless given)").action(
    (folder: string, name: string | undefined, options: WhereOptions) =>
      use(options, (link) => create(link, folder, name ?? "")),
  );
  add("list <folder>", "show the snapshots of a folder").action((folder: string, options: WhereOptions) =>
    use(options, (link) => list(link, folder)),
  );
  add("delete <folder> <name>", "delete a snapshot; what only it needed is freed").action(
    (folder: string, name: string, options: WhereOptions) =>
      use(options, async (link) => {
        await link.call(Admin.deleteSnapshot, {
          ino: await inodeNumber(link, normalize(folder)),
          name: Buffer.from(name),
        });
      }),
  );
}

async function use(options: WhereOptions, job: (link: Link) => Promise<void>): Promise<void> {
  const { withNamenode } = await import("./admin/connect.js");
  await withNamenode(findNamenode(options), findSecret(options), job);
}

async function create(link: Link, folder: string, name: string): Promise<void> {
  const path = normalize(folder);
  const made = await link.call(Admin.createSnapshot, { ino: await inodeNumber(link, path), name: Buffer.from(name) });
  const start = path === "/" ? "" : path;
  await print(Buffer.concat([Buffer.from(`${start}/${SNAPSHOTS}/`), made.name, Buffer.from("\n")]));
}

async function list(link: Link, folder: string): Promise<void> {
  const ino = await inodeNumber(link, normalize(folder));
  for (let after: Uint8Array = Buffer.alloc(0); ; ) {
    const { snapshots, more } = await link.call(Admin.listSnapshots, { ino, after });
    await print(Buffer.concat(snapshots.flatMap(line)));
    const last = snapshots.at(-1);
    if (!more || last === undefined) return;
    after = last.name;
  }
}

function line({ name, time }: SnapshotInfo): Uint8Array[] {
  return [Buffer.from(`${fullTime(time)}  `), name, Buffer.from("\n")];
}
