import { constants } from "node:fs";
import { type FileHandle, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { MIB } from "../../common/limits.js";

/** Bytes of a segment. */
export const SEGMENT_BYTES = 16 * MIB;
/** Bytes written at once when a segment is prepared. */
const ZEROS = Buffer.alloc(1 * MIB);
/** The segment that is prepared for later has this name until it is taken into use. */
const SPARE = "next.tmp";

/** A segment in the journal's folder: records from `first` on. */
export interface SegmentFile {
  readonly first: number;
  readonly path: string;
}

/** The path of the segment whose first record has the index `first`. Names sort as indexes do. */
export function segmentPath(folder: string, first: number): string {
  return join(folder, `${String(first).padStart(16, "0")}.log`);
}

/** The path of the spare segment. */
export function sparePath(folder: string): string {
  return join(folder, SPARE);
}

/** The segments in a folder, in order. A spare left over from an earlier process is removed. */
export async function listSegments(folder: string): Promise<SegmentFile[]> {
  await rm(sparePath(folder), { force: true });
  const names = (await readdir(folder)).filter((name) => /^\d{16}\.log$/.test(name)).sort();
  return names.map((name) => ({ first: Number.parseInt(name, 10), path: join(folder, name) }));
}

/**
 * Makes the spare segment: `size` bytes of zeros, on the disk, so that no record ever waits for space or for the file's length.
 * What was made of it is removed when that fails (ENOSPC).
 */
export async function createSpare(folder: string, size: number): Promise<FileHandle> {
  const path = sparePath(folder);
  const { O_RDWR, O_CREAT, O_TRUNC } = constants;
  const file = await open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600);
  try {
    await writeZeros(file, 0, size);
    await file.sync();
    return file;
  } catch (err) {
    await file.close();
    await rm(path, { force: true });
    throw err;
  }
}

/** Writes zeros from `start` to `end`. */
export async function writeZeros(file: FileHandle, start: number, end: number): Promise<void> {
  for (let at = start; at < end; ) {
    const { bytesWritten } = await file.write(ZEROS, 0, Math.min(ZEROS.length, end - at), at);
    at += bytesWritten;
  }
}

/** Puts a folder's entries (files made, renamed, removed) on the disk. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
