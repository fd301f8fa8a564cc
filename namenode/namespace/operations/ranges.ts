import { CairnError } from "../../../common/errors.js";
import type {
  CloneReplyInit,
  CloneRequest,
  FallocateRequest,
  Inode,
  InodeReplyInit,
} from "../../../proto/gen/types.js";
import type { BlockManager } from "../../contract.js";
import type { KeyValue } from "../../store/kv.js";
import { checkSize, inRange, valid } from "../checks.js";
import { reach, within } from "../extents.js";
import { checkGrowth } from "../quotas.js";
import { placeOf } from "../snapshots/places.js";
import { type Context, callOf, knownFile } from "./context.js";

/** Extents that one Clone reads or replaces, at most, so that an edit stays short; the client asks again for the rest. */
export const MAX_CLONE_EXTENTS = 4096;

/**
 * Makes a range a hole, or lets the file reach to its end, or both. No space is set aside, as a block is placed when it is written; but
 * where there is no room for the range now, that is said now: ENOSPC.
 */
export function fallocate(
  ctx: Context,
  request: FallocateRequest,
  manager: Pick<BlockManager, "capacity">,
): InodeReplyInit {
  const { ino, offset, length, zero, keepSize } = request;
  const inode = knownFile(ctx.kv, ino);
  const end = checkRange(offset, length);
  checkSize(end);
  const punch = zero && keepSize;
  if (!punch) checkRoom(ctx.kv, inode, offset, end, manager);
  const size = keepSize ? inode.size : Math.max(inode.size, end);
  const { index, effects } = ctx.editor.apply({
    call: callOf(request.call),
    fallocate: { ino, offset, length: zero ? length : 0, size },
  });
  return { inode: effects.inode!, index };
}

/** Has a range of a file refer to the blocks of another. EINVAL for ranges of one file that overlap. */
export function clone(ctx: Context, request: CloneRequest): CloneReplyInit {
  const { kv } = ctx;
  const { source, sourceOffset, ino, offset } = request;
  const there = placeOf(kv, source);
  const from = knownFile(there.kv, there.ino);
  const inode = knownFile(kv, ino);
  checkRange(sourceOffset, request.length);
  checkRange(offset, request.length);
  const wanted = Math.min(request.length, Math.max(0, from.size - sourceOffset));
  valid(
    source !== ino || Math.abs(sourceOffset - offset) >= request.length,
    `a range of inode ${ino} cannot be copied over itself`,
  );
  if (wanted === 0) return { inode, index: 0, copied: 0 };
  checkSize(offset + wanted);
  const length = Math.min(
    reach(there.kv, there.ino, sourceOffset, sourceOffset + wanted, MAX_CLONE_EXTENTS) - sourceOffset,
    reach(kv, ino, offset, offset + wanted, MAX_CLONE_EXTENTS) - offset,
  );
  const pieces = [...within(there.kv, there.ino, sourceOffset, sourceOffset + length)];
  checkGrowth(
    kv,
    inode,
    pieces.map((piece) => ({ ...piece, offset: offset + piece.offset - sourceOffset })),
  );
  const { index, effects } = ctx.editor.apply({
    call: callOf(request.call),
    clone: { source, sourceOffset, ino, offset, length },
  });
  return { inode: effects.inode!, index, copied: length };
}

/** Checks a range of a file. @returns where it ends */
function checkRange(offset: number, length: number): number {
  inRange(offset, 0, Number.MAX_SAFE_INTEGER, "offset of a range");
  inRange(length, 1, Number.MAX_SAFE_INTEGER - offset, "length of a range");
  return offset + length;
}

/** ENOSPC when the datanodes have no room for what the range lacks. */
function checkRoom(
  kv: KeyValue,
  { ino, policy }: Inode,
  from: number,
  to: number,
  manager: Pick<BlockManager, "capacity">,
): void {
  const { available } = manager.capacity();
  let lacking = to - from;
  if (lacking * policy.replicas <= available) return;
  for (const { length } of within(kv, ino, from, to)) lacking -= length;
  if (lacking * policy.replicas > available) {
    throw new CairnError(
      "ENOSPC",
      `no room for ${lacking} bytes of inode ${ino}: the datanodes have ${available} bytes for its ${policy.replicas} replicas`,
    );
  }
}
