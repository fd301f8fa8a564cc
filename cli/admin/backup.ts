import { createReadStream } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { wrap } from "../../common/errors.js";
import { Admin } from "../../proto/gen/services.js";
import type { Link } from "../../proto/link.js";
import { human } from "../fs/format.js";
import { print } from "../output.js";

/** How long the namenode may take for one piece, ms: the first waits for a flush of its store. */
const PIECE_MS = 120_000;
/** Stands for standard input or output. */
const STANDARD = "-";

/** The pieces of a backup of the cluster's names, as a namenode makes them. */
export async function* fetchBackup(link: Link): AsyncGenerator<Buffer> {
  let backup = 0;
  for (;;) {
    const { message, body } = await link.callWithBody(Admin.backup, { backup }, { deadlineMs: PIECE_MS });
    yield body;
    if (message.done) return;
    backup = message.backup;
  }
}

/** The bytes of a backup's file; "-": of standard input. */
export function readBackupFile(path: string): AsyncIterable<Buffer> {
  return path === STANDARD ? process.stdin : createReadStream(path);
}

/** `cairn admin backup`: writes a backup into a file, which appears complete and on the disk, or not at all; "-": to standard output. */
export async function backup(link: Link, path: string): Promise<void> {
  if (path === STANDARD) {
    for await (const piece of fetchBackup(link)) await print(piece);
    return;
  }
  const partial = `${path}.partial`;
  let file: FileHandle | undefined;
  let bytes = 0;
  try {
    file = await open(partial, "w", 0o600);
    for await (const piece of fetchBackup(link)) {
      await file.writeFile(piece);
      bytes += piece.length;
    }
    await file.sync();
    await file.close();
    await rename(partial, path);
    const folder = await open(dirname(path), "r");
    await folder.sync().finally(() => folder.close());
  } catch (err) {
    await file?.close().catch(() => undefined);
    await rm(partial, { force: true });
    throw wrap(err, `cannot make a backup in ${path}`);
  }
  await print(`${path}: ${human(bytes)}\n`);
}

/** `cairn admin restore`: makes a namenode's data folder from a backup; with `check`, only reads it. */
export async function restore(path: string, folder: string | undefined): Promise<void> {
  const { restoreBackup, checkBackup } = await import("../../namenode/offline.js");
  const source = readBackupFile(path);
  const { cluster, index, entries } =
    folder === undefined ? await checkBackup(source) : await restoreBackup(source, folder);
  const what = `cluster ${cluster} as of edit ${index}, ${entries} entries`;
  await print(folder === undefined ? `${path} is intact: ${what}\n` : `${folder}: ${what}\n`);
}

/** `cairn admin dump`: a backup as text on standard output. */
export async function dump(source: AsyncIterable<Uint8Array>): Promise<void> {
  const { dumpBackup } = await import("../../namenode/offline.js");
  for await (const piece of dumpBackup(source)) await print(piece);
}

/** `cairn admin load`: makes a namenode's data folder from a dump. */
export async function load(path: string, folder: string): Promise<void> {
  const { loadDump } = await import("../../namenode/offline.js");
  const { cluster, index, entries } = await loadDump(readBackupFile(path), folder);
  await print(`${folder}: cluster ${cluster} as of edit ${index}, ${entries} records\n`);
}
