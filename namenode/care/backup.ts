import { ENTRY_HEADER, type Entry, encodeBatch } from "../store/batch.js";
import type { Snapshot } from "../store/store.js";
import { FORMAT, Kind, SectionWriter } from "./sections.js";

/** Bytes of keys and values after which a piece ends, at most one entry more: a few ms of the event loop. */
const PIECE_BYTES = 256 * 1024;
/** Greater than every key: keys begin with a letter. */
const END_OF_KEYS = "\xff";

/** What a backup says of where it comes from. */
export interface Origin {
  cluster: string;
  version: string;
  /** When it is made, ms since 1970. */
  nowMs: number;
}

/** The pieces of a backup of a snapshot: bounded, made when they are asked for. */
export function* backupPieces(snapshot: Snapshot, { cluster, version, nowMs }: Origin): Generator<Buffer> {
  const writer = new SectionWriter();
  const time = new Date(nowMs).toISOString();
  yield writer.json(Kind.HEADER, { format: FORMAT, cluster, index: snapshot.index, time, version });
  let entries: Entry[] = [];
  let bytes = 0;
  let count = 0;
  for (const [key, value] of snapshot.range({ gte: "\0", lt: END_OF_KEYS })) {
    entries.push([key, value]);
    bytes += ENTRY_HEADER + key.length + value.length;
    count++;
    if (bytes < PIECE_BYTES) continue;
    yield writer.section(Kind.ENTRIES, encodeBatch(entries, bytes));
    entries = [];
    bytes = 0;
  }
  if (entries.length > 0) yield writer.section(Kind.ENTRIES, encodeBatch(entries, bytes));
  yield writer.json(Kind.END, { entries: count });
}
