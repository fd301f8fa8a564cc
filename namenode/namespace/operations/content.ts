import { CairnError } from "../../../common/errors.js";
import {
  MAX_BLOCK_SIZE,
  MAX_COMMIT_EXTENTS,
  MAX_EXTENTS_PAGE,
  MAX_FILE_SIZE,
  MAX_REPLICAS,
} from "../../../common/limits.js";
import type {
  Block,
  CommitRequest,
  Extent,
  GetExtentsReplyInit,
  GetExtentsRequest,
  InodeReplyInit,
  LocatedBlockInit,
} from "../../../proto/gen/types.js";
import type { BlockManager } from "../../contract.js";
import type { KeyValue } from "../../store/kv.js";
import { checkLabel, checkReplicas, checkSize, checkTime, id, inRange, valid } from "../checks.js";
import { extentsWithin } from "../keys.js";
import { extentOf, readBlock } from "../records.js";
import { isDirectory, isRegular } from "../types.js";
import { type Context, callOf, known } from "./context.js";

/** Blocks named in one Commit, at most. Every one is referred to by an extent of it. */
const MAX_COMMIT_BLOCKS = MAX_COMMIT_EXTENTS;

/** The generation stamp that a session holds a pending block with; undefined when it does not hold it. */
export type PendingGeneration = (session: number, block: number) => number | undefined;

/** Puts new extents over the old ones of a file. ESTALE names a block that is neither pending nor in the store. */
export function commit(ctx: Context, request: CommitRequest, pending: PendingGeneration): InodeReplyInit {
  const { ino, blocks, extents, replicas } = request;
  const inode = known(ctx.kv, ino);
  if (isDirectory(inode)) throw new CairnError("EISDIR", `cannot commit content to directory ${ino}`);
  valid(isRegular(inode), `inode ${ino} is no regular file and has no content`);
  inRange(blocks.length, 0, MAX_COMMIT_BLOCKS, "blocks of a commit");
  inRange(extents.length, 0, MAX_COMMIT_EXTENTS, "extents of a commit");
  checkTime(request.mtime, "mtime");
  if (blocks.length > 0) checkReplicas(replicas);

  const lengths = new Map<number, number>();
  for (const { block, datanodes } of blocks) {
    checkCommitted(ctx.kv, block, pending(request.call.session, block.id));
    valid(!lengths.has(block.id), `block ${block.id} is named twice`);
    inRange(datanodes.length, 1, MAX_REPLICAS, `datanodes of block ${block.id}`);
    lengths.set(block.id, block.length);
  }
  let size = request.size;
  checkSize(size);
  for (const extent of extents) {
    const end = checkExtent(extent, lengths.get(extent.block) ?? readBlock(ctx.kv, extent.block)?.length);
    if (end > size) size = end;
  }

  const time = ctx.clock.timestamp();
  const { index, effects } = ctx.editor.apply({
    time,
    call: callOf(request.call),
    commit: { ino, blocks, extents, size, mtime: request.mtime ?? time, replicas },
  });
  return { inode: effects.inode!, index };
}

/** A block of a commit is pending in the session with its newest generation stamp, or was committed before, the same. */
function checkCommitted(kv: KeyValue, block: Block, held: number | undefined): void {
  id(block.id, "block");
  inRange(block.length, 1, MAX_BLOCK_SIZE, `length of block ${block.id}`);
  if (held !== undefined) {
    if (held === block.generation) return;
    throw new CairnError("ESTALE", `block ${block.id} has generation ${held} by now, not ${block.generation}`);
  }
  const record = readBlock(kv, block.id);
  if (record === undefined) throw new CairnError("ESTALE", `block ${block.id} is not held by the session`);
  valid(
    record.generation === block.generation && record.length === block.length,
    `block ${block.id} was committed with another generation or length`,
  );
}

/** Checks an extent against the length of its block. @returns where it ends in the file */
function checkExtent(extent: Extent, blockLength: number | undefined): number {
  const { offset, length, block, blockOffset } = extent;
  if (blockLength === undefined) throw new CairnError("ESTALE", `block ${block} of an extent does not exist`);
  inRange(length, 1, blockLength - blockOffset, `length of an extent at ${blockOffset} of block ${block}`);
  inRange(offset, 0, Number.MAX_SAFE_INTEGER - length, "offset of an extent");
  checkSize(offset + length);
  return offset + length;
}

/** The extents that touch a range of a file, and where their blocks are. */
export function getExtents(
  kv: KeyValue,
  request: GetExtentsRequest,
  manager: Pick<BlockManager, "locate">,
): GetExtentsReplyInit {
  const { ino, offset, length, host } = request;
  const inode = known(kv, ino);
  inRange(offset, 0, Number.MAX_SAFE_INTEGER, "offset");
  inRange(length, 0, Number.MAX_SAFE_INTEGER, "length");
  checkLabel(host, "host");
  const most = request.limit === 0 ? MAX_EXTENTS_PAGE : Math.min(request.limit, MAX_EXTENTS_PAGE);
  const end = Math.min(offset + length, MAX_FILE_SIZE);

  const extents: Extent[] = [];
  const blocks = new Map<number, LocatedBlockInit>();
  let covered = Math.max(offset, end);
  for (const extent of touching(kv, ino, offset, end)) {
    if (extents.length === most) {
      covered = extent.offset;
      break;
    }
    extents.push(extent);
    if (!blocks.has(extent.block)) blocks.set(extent.block, locate(kv, extent.block, host, manager));
  }
  return { inode, extents, blocks: [...blocks.values()], covered };
}

function* touching(kv: KeyValue, ino: number, from: number, to: number): IterableIterator<Extent> {
  if (from >= to) return;
  for (const [key, value] of kv.range({ ...extentsWithin(ino, 0, from), reverse: true })) {
    const before = extentOf(key, value);
    if (before.offset + before.length > from) yield before;
    break;
  }
  for (const [key, value] of kv.range(extentsWithin(ino, from, to))) yield extentOf(key, value);
}

function locate(kv: KeyValue, block: number, host: string, manager: Pick<BlockManager, "locate">): LocatedBlockInit {
  const { generation, length } = readBlock(kv, block)!;
  return manager.locate({ id: block, generation, length }, host);
}
