import { crc32 } from "@node-rs/crc32";
import { CairnError } from "../common/errors.js";
import { MAX_BLOCK_CHUNKS } from "../common/limits.js";
import { CHUNK_ENTRY, ChunkTable } from "./chunk-table.js";
import type { Block } from "./gen/types.js";

// A replica's file: the stored chunks one after the other, then this footer:
//   chunk table | cluster id (UTF-8) | trailer
// The trailer has a fixed size, so that a reader that knows the file's size finds everything from its end.

const MAGIC = Buffer.from("CAIRNBLK", "latin1");
const FORMAT = 1;
/** u64 block, u32 generation, u32 length, u32 stored, u32 chunks, u16 cluster id bytes, u16 format, u32 crc, magic. */
const TRAILER = 40;
/** Where the crc is in the trailer: it is of everything in the footer before it. */
const CRC_AT = 28;
const MAX_CLUSTER = 255;
/** What readFooter reads first, bytes: enough for the footer of a full block of full chunks. */
const FIRST_READ = 12 * 1024;

/** What a replica's file says about itself. */
export interface BlockFooter {
  readonly block: Block;
  /** The id of the cluster that the block belongs to. */
  readonly cluster: string;
  readonly table: ChunkTable;
}

/** The bytes of a footer. */
export function encodeFooter({ block, cluster, table }: BlockFooter): Buffer {
  const name = Buffer.from(cluster, "utf8");
  if (name.length > MAX_CLUSTER) throw new CairnError("EINVAL", `a cluster id of ${name.length} bytes`);
  const tableBytes = table.count * CHUNK_ENTRY;
  const footer = Buffer.allocUnsafe(tableBytes + name.length + TRAILER);
  table.encodeInto(footer, 0);
  footer.set(name, tableBytes);
  const trailer = footer.subarray(tableBytes + name.length);
  trailer.writeBigUInt64LE(BigInt(block.id), 0);
  trailer.writeUInt32LE(block.generation, 8);
  trailer.writeUInt32LE(block.length, 12);
  trailer.writeUInt32LE(table.storedLength, 16);
  trailer.writeUInt32LE(table.count, 20);
  trailer.writeUInt16LE(name.length, 24);
  trailer.writeUInt16LE(FORMAT, 26);
  trailer.writeUInt32LE(crc32(footer.subarray(0, footer.length - TRAILER + CRC_AT)), CRC_AT);
  trailer.set(MAGIC, CRC_AT + 4);
  return footer;
}

/** The length of the footer that ends with these bytes (at least the file's last TRAILER ones). EBADMSG. */
function footerLength(tail: Buffer): number {
  const trailer = tail.subarray(Math.max(0, tail.length - TRAILER));
  if (trailer.length < TRAILER || !trailer.subarray(CRC_AT + 4).equals(MAGIC)) {
    throw new CairnError("EBADMSG", "not a block file: it does not end with a block's footer");
  }
  const format = trailer.readUInt16LE(26);
  if (format !== FORMAT) throw new CairnError("EBADMSG", `a block file of the unknown format ${format}`);
  const chunks = trailer.readUInt32LE(20);
  if (chunks > MAX_BLOCK_CHUNKS) throw new CairnError("EBADMSG", `a block file of ${chunks} chunks`);
  return chunks * CHUNK_ENTRY + trailer.readUInt16LE(24) + TRAILER;
}

/** Reads the bytes of a whole footer of a file of `size` bytes. EBADMSG when it is damaged. */
export function decodeFooter(footer: Buffer, size: number): BlockFooter {
  const trailer = footer.subarray(footer.length - TRAILER);
  if (footer.length !== footerLength(footer)) throw new CairnError("EBADMSG", "a footer of the wrong length");
  if (crc32(footer.subarray(0, footer.length - TRAILER + CRC_AT)) !== trailer.readUInt32LE(CRC_AT)) {
    throw new CairnError("EBADMSG", "the checksum of the block file's footer does not match");
  }
  const tableBytes = trailer.readUInt32LE(20) * CHUNK_ENTRY;
  const table = ChunkTable.decode(footer.subarray(0, tableBytes));
  const block = {
    id: Number(trailer.readBigUInt64LE(0)),
    generation: trailer.readUInt32LE(8),
    length: trailer.readUInt32LE(12),
  };
  if (table.length !== block.length || table.storedLength !== size - footer.length) {
    throw new CairnError(
      "EBADMSG",
      `the chunks of a block file add up to ${table.length} bytes stored in ${table.storedLength}, not to ${block.length} in ${size - footer.length}`,
    );
  }
  return { block, cluster: footer.toString("utf8", tableBytes, footer.length - TRAILER), table };
}

/** The part of an open file (node:fs/promises FileHandle) that reading a footer needs. */
export interface Readable {
  read(buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
}

/** Reads the footer of a replica's file of `size` bytes: one read for most. EBADMSG when it is damaged or not there. */
export async function readFooter(file: Readable, size: number): Promise<BlockFooter> {
  let tail = await readTail(file, size, Math.min(size, FIRST_READ));
  const length = footerLength(tail);
  if (length > size) throw new CairnError("EBADMSG", `a footer of ${length} bytes in a file of ${size}`);
  if (length > tail.length) tail = await readTail(file, size, length);
  return decodeFooter(tail.subarray(tail.length - length), size);
}

async function readTail(file: Readable, size: number, length: number): Promise<Buffer> {
  const tail = Buffer.allocUnsafe(length);
  await readFully(file, tail, size - length);
  return tail;
}

/** Fills target from `position` of the file. EBADMSG when the file ends before. */
export async function readFully(file: Readable, target: Buffer, position: number): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const { bytesRead } = await file.read(target, done, target.length - done, position + done);
    if (bytesRead === 0) throw new CairnError("EBADMSG", `the file ends at ${position + done}`);
    done += bytesRead;
  }
}
