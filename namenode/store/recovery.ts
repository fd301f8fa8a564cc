import { open, readFile, rm } from "node:fs/promises";
import { CairnError } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import { decodeHeader, SEGMENT_HEADER, scanRecords } from "./record.js";
import { listSegments, type SegmentFile, writeZeros } from "./segment.js";

/** What a journal's folder holds. */
export interface Recovered {
  /** Index of the last record; of the store's last edit when the journal has none after it. */
  lastIndex: number;
  /** Segments that hold records after the store's last edit, or would hold the next one. */
  segments: SegmentFile[];
  /** Where in the last of these segments the next record goes. */
  end: number;
  /** The salt of the last segment. */
  salt: number;
  /** Bytes of the last segment. */
  capacity: number;
}

/** Where reading has got to. */
interface Tail {
  segment: number;
  end: number;
  salt: number;
}

/**
 * Finds the end of the journal in `folder`, given that the store has the edits up to `after`. What a torn write or a loss
 * of power left at the end is cut off; the last segment is on the disk then, with at least `segmentBytes`. Throws EIO when records that were on the disk, and are needed, cannot be read.
 */
export async function recover(folder: string, after: number, segmentBytes: number, log: Logger): Promise<Recovered> {
  const segments = await listSegments(folder);
  while (segments.length > 1 && segments[1]!.first <= after + 1) await rm(segments.shift()!.path);
  if (segments.length > 0 && segments[0]!.first > after + 1) {
    throw new CairnError(
      "EIO",
      `open the journal in ${folder}: the store has the edits up to ${after}, the journal those from ${segments[0]!.first} on: those between are missing`,
    );
  }
  const found = await findEnd(folder, segments, after, log);
  if (found === undefined || found.lastIndex < after) {
    // All that is left is in the store already.
    for (const segment of segments) await rm(segment.path);
    return { lastIndex: after, segments: [], end: 0, salt: 0, capacity: 0 };
  }
  const { lastIndex, tail } = found;
  for (const segment of segments.splice(tail.segment + 1)) await rm(segment.path);
  const capacity = await eraseFrom(segments[tail.segment]!.path, tail.end, segmentBytes);
  return { lastIndex, segments, end: tail.end, salt: tail.salt, capacity };
}

/** The last record of the journal. Undefined when there is nothing that could be continued. */
async function findEnd(
  folder: string,
  segments: readonly SegmentFile[],
  after: number,
  log: Logger,
): Promise<{ lastIndex: number; tail: Tail } | undefined> {
  let expected = segments[0]?.first ?? 0;
  let tail: Tail | undefined;
  /** The first record that is needed and missing. */
  let missing: number | undefined;
  let intactBeyond = 0;
  for (const [i, segment] of segments.entries()) {
    const bytes = await readFile(segment.path);
    const header = readHeader(segment, bytes);
    if (header === undefined) {
      log.warn({ segment: segment.path }, "a journal segment is passed over: its beginning never reached the disk");
      continue;
    }
    if (missing === undefined && segment.first === expected)
      tail = { segment: i, end: SEGMENT_HEADER, salt: header.salt };
    for (const record of scanRecords(bytes, header.salt, Math.max(expected, segment.first))) {
      if (missing === undefined && record.index > expected && record.index > after + 1)
        missing = Math.max(expected, after + 1);
      if (missing === undefined) {
        expected = record.index + 1;
        tail = { segment: i, end: record.end, salt: header.salt };
        continue;
      }
      intactBeyond++;
      if (record.synced >= missing) {
        throw new CairnError(
          "EIO",
          `open the journal in ${folder}: record ${missing} was on the disk and cannot be read, while record ${record.index} in ` +
            `${segment.path} can: the journal is damaged`,
        );
      }
    }
  }
  if (intactBeyond > 0) {
    log.warn(
      { folder, lastIndex: expected - 1, dropped: intactBeyond },
      "records that were never synced are cut off the journal: one before them was lost with the power",
    );
  }
  return tail && { lastIndex: expected - 1, tail };
}

/** A segment's header; undefined when the segment was made, but its header never reached the disk. */
function readHeader(segment: SegmentFile, bytes: Buffer): { salt: number } | undefined {
  const header = decodeHeader(bytes);
  if (header?.first === segment.first) return header;
  if (bytes.length >= SEGMENT_HEADER && bytes.subarray(0, SEGMENT_HEADER).every((byte) => byte === 0)) return undefined;
  throw new CairnError("EIO", `open the journal: ${segment.path} does not begin as a segment of that name does`);
}

/**
 * Makes a segment zeros from `end` on, so that nothing of what is cut off is ever taken for a record again. Makes it
 * `size` bytes long if it is shorter; returns its length.
 */
async function eraseFrom(path: string, end: number, size: number): Promise<number> {
  const bytes = await readFile(path);
  let last = bytes.length;
  while (last > end && bytes[last - 1] === 0) last--;
  const file = await open(path, "r+");
  try {
    await writeZeros(file, end, last);
    await writeZeros(file, bytes.length, size);
    await file.sync();
    return Math.max(bytes.length, size);
  } finally {
    await file.close();
  }
}
