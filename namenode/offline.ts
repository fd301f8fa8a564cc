// What the command line does with a namenode's data while no namenode runs.
import { RealClock } from "../common/clock.js";
import { silentLogger } from "../common/log.js";
import { dump, readDump } from "./care/dump.js";
import { type Entries, type Restored, readBackup, restoreFolder, verify } from "./care/restore.js";

export type { Restored };

/** Makes a namenode's data folder from a backup. EEXIST, EBUSY, EBADMSG, EINVAL. */
export async function restoreBackup(source: AsyncIterable<Uint8Array>, folder: string): Promise<Restored> {
  return into(folder, await readBackup(source));
}

/** Reads a backup from beginning to end. EBADMSG: it is damaged; EINVAL: it is none. */
export async function checkBackup(source: AsyncIterable<Uint8Array>): Promise<Restored> {
  return verify(await readBackup(source));
}

/** A backup as text: docs/dump-format.md. EBADMSG, EINVAL. */
export function dumpBackup(source: AsyncIterable<Uint8Array>): AsyncIterable<string> {
  return dump(source);
}

/** Makes a namenode's data folder from such text. EEXIST, EBUSY, EBADMSG, EINVAL. */
export async function loadDump(source: AsyncIterable<Uint8Array>, folder: string): Promise<Restored> {
  return into(folder, await readDump(source));
}

function into(folder: string, entries: Entries): Promise<Restored> {
  return restoreFolder(folder, entries, new RealClock(), silentLogger);
}
