// The bytes of a backup: sections, one after the other. Each is
//
//   u32 length of the payload | u32 crc32 of kind and payload, begun with the crc of the section before | u8 kind | the payload
//
// Numbers are little-endian. The first section is the header (JSON), then come entries of the store in the order of their keys (as
// in store/batch.ts), last the end (JSON). So what is missing, out of order or damaged is noticed, wherever it is.
import { crc32 } from "@node-rs/crc32";
import { CairnError } from "../../common/errors.js";
import { MIB } from "../../common/limits.js";

/** What a section holds. */
export const Kind = { HEADER: 1, ENTRIES: 2, END: 3 } as const;
const SECTION_HEADER = 9;
/** Longest payload that is read, bytes: a section of entries is far shorter. */
const MAX_PAYLOAD = 4 * MIB;

/** What the header says. */
export interface BackupHeader {
  /** Layout of the backup: FORMAT. */
  format: number;
  /** The cluster's id. */
  cluster: string;
  /** The backup has all edits up to this one. */
  index: number;
  /** When it was begun, ISO 8601. */
  time: string;
  /** Of the software that made it. */
  version: string;
}
/** Layout of backups. Another one is refused. */
export const FORMAT = 1;

/** What the end says. */
export interface BackupEnd {
  entries: number;
}

/** A section as it was read. */
export interface Section {
  kind: number;
  payload: Buffer;
}

/** Makes the sections of one backup. */
export class SectionWriter {
  #crc = 0;

  /** The next section's bytes. */
  section(kind: number, payload: Uint8Array): Buffer {
    const out = Buffer.allocUnsafe(SECTION_HEADER + payload.length);
    out.writeUInt32LE(payload.length, 0);
    out.writeUInt8(kind, 8);
    out.set(payload, SECTION_HEADER);
    this.#crc = crc32(out.subarray(8), this.#crc);
    out.writeUInt32LE(this.#crc, 4);
    return out;
  }

  /** The same, of a payload that is JSON. */
  json(kind: number, value: BackupHeader | BackupEnd): Buffer {
    return this.section(kind, Buffer.from(JSON.stringify(value)));
  }
}

/** The sections in a stream of bytes. Throws EBADMSG when one is damaged or cut off. */
export async function* readSections(source: AsyncIterable<Uint8Array>): AsyncGenerator<Section> {
  let crc = 0;
  let at = 0;
  let rest: Buffer = Buffer.alloc(0);
  for await (const piece of source) {
    rest = rest.length === 0 ? Buffer.from(piece) : Buffer.concat([rest, piece]);
    while (rest.length >= SECTION_HEADER) {
      const length = rest.readUInt32LE(0);
      if (length > MAX_PAYLOAD) throw damaged(at);
      const end = SECTION_HEADER + length;
      if (rest.length < end) break;
      crc = crc32(rest.subarray(8, end), crc);
      if (crc !== rest.readUInt32LE(4)) throw damaged(at);
      yield { kind: rest[8]!, payload: rest.subarray(SECTION_HEADER, end) };
      rest = rest.subarray(end);
      at += end;
    }
  }
  if (rest.length > 0) throw damaged(at);
}

function damaged(at: number): CairnError {
  return new CairnError("EBADMSG", `the backup is damaged or cut off ${at} bytes from its beginning`);
}
