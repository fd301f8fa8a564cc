// Inline blocks: small ones, whose bytes the namenode keeps with the names instead of having datanodes replicate them.
import { crc32 } from "@node-rs/crc32";
import { CairnError } from "../common/errors.js";
import { INLINE_BLOCKS } from "../common/limits.js";
import type { InlineBlock } from "./gen/types.js";

/** Whether a block's id is one of an inline block. */
export function isInline(block: number): boolean {
  return block >= INLINE_BLOCKS;
}

/** An inline block of these bytes, which are not copied. */
export function encodeInline(id: number, data: Buffer): InlineBlock {
  return { id, data, crc: crc32(data) };
}

/** Whether the bytes of a received inline block are those its writer sent. */
export function isIntact({ data, crc }: InlineBlock): boolean {
  return crc32(data) === crc;
}

/** EBADMSG unless isIntact(). */
export function checkInline(block: InlineBlock): void {
  if (!isIntact(block)) {
    throw new CairnError("EBADMSG", `inline block ${block.id} of ${block.data.length} bytes is damaged`);
  }
}
