import { CairnError, wrap } from "../../common/errors.js";
import { MIB } from "../../common/limits.js";
import type { Key } from "../store/kv.js";
import { type Entries, readBackup } from "./restore.js";
import { type BackupHeader, FORMAT } from "./sections.js";
import { lineOf, recordOf } from "./text.js";

/** Characters of a piece of a dump, at most one line more. */
const PIECE = 64 * 1024;
/** Longest line that is read, characters. */
const MAX_LINE = 4 * MIB;

/** A backup as text: pieces of whole lines. EBADMSG, EINVAL, as readBackup. */
export async function* dump(source: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const { header, entries } = await readBackup(source);
  let piece = `${JSON.stringify({ dump: header })}\n`;
  let count = 0;
  for await (const [key, value] of entries) {
    const line = lineOf(key, value);
    if (line === undefined) continue;
    piece += `${line}\n`;
    count++;
    if (piece.length < PIECE) continue;
    yield piece;
    piece = "";
  }
  yield `${piece}${JSON.stringify({ end: { entries: count } })}\n`;
}

/** The entries of a dump. EINVAL names the line that is wrong; EBADMSG: it is cut off. */
export async function readDump(source: AsyncIterable<Uint8Array>): Promise<Entries> {
  const lines = parsed(source);
  const first = await lines.next();
  if (first.done || first.value.kind !== "dump")
    throw new CairnError("EINVAL", "this is not a dump of a namenode: its first line is another");
  const header = first.value.fields as unknown as BackupHeader;
  if (header.format !== FORMAT)
    throw new CairnError("EINVAL", `a dump of format ${header.format}; this version reads format ${FORMAT}`);
  return { header, entries: recordsOf(lines) };
}

interface Line {
  number: number;
  kind: string;
  fields: Record<string, unknown>;
}

async function* recordsOf(lines: AsyncGenerator<Line>): AsyncGenerator<[Key, Uint8Array]> {
  let count = 0;
  for await (const { number, kind, fields } of lines) {
    if (kind === "end") {
      if (fields["entries"] === count) return;
      throw new CairnError("EBADMSG", `the dump has ${count} records of ${String(fields["entries"])}`);
    }
    let record: [Key, Uint8Array];
    try {
      record = recordOf(kind, fields);
    } catch (err) {
      throw new CairnError("EINVAL", `line ${number} of the dump`, err);
    }
    count++;
    yield record;
  }
  throw new CairnError("EBADMSG", "the dump is cut off: it has no last line");
}

/** The lines of a dump, each an object with one member. */
async function* parsed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  let number = 0;
  for await (const text of linesOf(source)) {
    number++;
    if (text === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (err) {
      throw wrap(new CairnError("EINVAL", String(err)), `line ${number} of the dump`);
    }
    const [member, ...more] = typeof value === "object" && value !== null ? Object.entries(value) : [];
    if (member === undefined || more.length > 0 || typeof member[1] !== "object" || member[1] === null)
      throw new CairnError("EINVAL", `line ${number} of the dump is no record`);
    yield { number, kind: member[0], fields: member[1] as Record<string, unknown> };
  }
}

async function* linesOf(source: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of source) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MAX_LINE) throw new CairnError("EINVAL", "this is not a dump: a line of it has no end");
    yield* lines;
  }
  if (rest !== "") yield rest;
}
