import { CairnError, codeOf } from "../../../common/errors.js";
import {
  INLINE_BLOCKS,
  MAX_AHEAD,
  MAX_BLOCK_SIZE,
  MAX_COMMIT_EXTENTS,
  MAX_EXTENTS_PAGE,
  MAX_FILE_SIZE,
  MAX_INLINE,
  MAX_INLINE_PAGE,
  MAX_REPLICAS,
} from "../../../common/limits.js";
import type {
  Block,
  CommitRequest,
  Extent,
  GetExtentsReplyInit,
  GetExtentsRequest,
  InlineBlock,
  InlineBlockInit,
  Inode,
  InodeReplyInit,
  LocatedBlockInit,
} from "../../../proto/gen/types.js";
import { checkInline, isInline } from "../../../proto/inline.js";
import type { BlockManager } from "../../contract.js";
import type { KeyValue } from "../../store/kv.js";
import { checkLabel, checkOwnership, checkReplicas, checkSize, checkTime, id, inRange, valid } from "../checks.js";
import { endOf, touching, within } from "../extents.js";
import { checkGrowth } from "../quotas.js";
import { readBlock, readCluster, readInline } from "../records.js";
import { placeOf } from "../snapshots/places.js";
import { type Context, callOf, known, knownFile } from "./context.js";
import { born } from "./names.js";

/** Extents of a file that comes along with another's, at most. */
const MAX_PIECES_AHEAD = 16;
/** Blocks named in one Commit, at most. Every one is referred to by an extent of it. */
const MAX_COMMIT_BLOCKS = MAX_COMMIT_EXTENTS;

/** Knows where blocks are. */
type Locator = Pick<BlockManager, "locate">;

/** What is known of one file's content. */
interface FileExtents extends GetExtentsReplyInit {
  readonly inode: Inode;
  readonly blocks: LocatedBlockInit[];
  readonly inline: InlineBlockInit[];
  readonly covered: number;
}

/** The generation stamp that a session holds a pending block with; undefined when it does not hold it. */
export type PendingGeneration = (session: number, block: number) => number | undefined;

/**
 * Puts new extents over the old ones of a file. ESTALE names a block that is neither pending nor in the store. EBUSY: what a
 * compaction replaces is not there any more.
 */
export function commit(ctx: Context, request: CommitRequest, pending: PendingGeneration): InodeReplyInit {
  const { ino, blocks, replicas } = request;
  const time = ctx.clock.timestamp();
  const made = request.birth === null ? undefined : born(ctx, ino, request.birth, time);
  const birth = made === undefined || "existing" in made ? undefined : made;
  const inode = birth === undefined ? knownFile(ctx.kv, ino) : undefined;
  inRange(blocks.length, 0, MAX_COMMIT_BLOCKS, "blocks of a commit");
  inRange(request.extents.length, 0, MAX_COMMIT_EXTENTS, "extents of a commit");
  checkTime(request.mtime, "mtime");
  checkTime(request.atime, "atime");
  checkOwnership(request);
  if (blocks.length > 0) checkReplicas(replicas);

  const lengths = new Map<number, number>();
  for (const { block, datanodes } of blocks) {
    checkCommitted(ctx.kv, block, pending(request.call.session, block.id));
    valid(!lengths.has(block.id), () => `block ${block.id} is named twice`);
    inRange(datanodes.length, 1, MAX_REPLICAS, () => `datanodes of block ${block.id}`);
    lengths.set(block.id, block.length);
  }
  const { inline, extents } = numberInline(ctx.kv, request);
  for (const { id, data } of inline) lengths.set(id, data.length);
  let size = request.size;
  checkSize(size);
  for (const extent of extents) {
    const end = checkExtent(extent, lengths.get(extent.block) ?? readBlock(ctx.kv, extent.block)?.length);
    if (end > size) size = end;
  }

  const compaction = request.replaces.length > 0;
  if (compaction) checkCompaction(ctx.kv, request);
  else checkGrowth(ctx.kv, inode ?? { ino, parent: birth!.dir! }, extents);

  const { index, effects } = ctx.editor.apply({
    time,
    call: callOf(request.call),
    commit: {
      ino,
      blocks,
      extents,
      size,
      mtime: request.mtime ?? time,
      replicas,
      compaction,
      mode: request.mode,
      uid: request.uid,
      gid: request.gid,
      atime: request.atime,
      inline,
      birth,
    },
  });
  return { inode: effects.inode!, index, parent: effects.parent };
}

/** Checks the inline blocks of a commit, and gives them, and the extents that refer to them, their ids. EBADMSG. */
function numberInline(kv: KeyValue, { inline, extents }: CommitRequest): { inline: InlineBlock[]; extents: Extent[] } {
  if (inline.length === 0) return { inline, extents };
  inRange(inline.length, 1, MAX_COMMIT_BLOCKS, "inline blocks of a commit");
  const ids = new Map<number, number>();
  const first = INLINE_BLOCKS + readCluster(kv).inlineBlocks;
  let bytes = 0;
  const numbered = inline.map((block, i) => {
    inRange(block.id, first, Number.MAX_SAFE_INTEGER, "what a commit calls an inline block");
    inRange(block.data.length, 1, MAX_INLINE, "length of an inline block");
    valid(!ids.has(block.id), () => `inline block ${block.id} is named twice`);
    checkInline(block);
    bytes += block.data.length;
    ids.set(block.id, first + i);
    return { id: first + i, data: block.data, crc: block.crc };
  });
  inRange(bytes, 1, MAX_INLINE_PAGE, "bytes of inline blocks in a commit");
  return { inline: numbered, extents: extents.map((e) => ({ ...e, block: ids.get(e.block) ?? e.block })) };
}

/** The bytes of an inline block. ESTALE. */
export function readInlineBlock(kv: KeyValue, block: number): InlineBlockInit {
  const record = readInline(kv, block);
  if (record === undefined) throw new CairnError("ESTALE", `inline block ${block} is gone`);
  return { id: block, data: record.data, crc: record.crc };
}

/** A block of a commit is pending in the session with its newest generation stamp, or was committed before, the same. */
function checkCommitted(kv: KeyValue, block: Block, held: number | undefined): void {
  id(block.id, "block");
  inRange(block.length, 1, MAX_BLOCK_SIZE, () => `length of block ${block.id}`);
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
  inRange(length, 1, blockLength - blockOffset, () => `length of an extent at ${blockOffset} of block ${block}`);
  inRange(offset, 0, Number.MAX_SAFE_INTEGER - length, "offset of an extent");
  checkSize(offset + length);
  return offset + length;
}

/** A compaction covers what it replaces, no more and no less; and that is what the file has, as blocks never change: the same bytes. */
function checkCompaction(kv: KeyValue, { ino, extents, replaces }: CommitRequest): void {
  inRange(replaces.length, 1, MAX_COMMIT_EXTENTS, "extents that a compaction replaces");
  const [old, made] = [runsOf(replaces), runsOf(extents)];
  valid(
    old.length === made.length && old.every((run, i) => run.from === made[i]!.from && run.to === made[i]!.to),
    `a compaction of inode ${ino} covers what it replaces`,
  );
  let i = 0;
  for (const there of within(kv, ino, old[0]!.from, old.at(-1)!.to))
    if (!isSame(there, replaces[i++])) throw changed(ino);
  if (i < replaces.length) throw changed(ino);
}

function isSame(a: Extent, b: Extent | undefined): boolean {
  return a.offset === b?.offset && a.length === b.length && a.block === b.block && a.blockOffset === b.blockOffset;
}

function changed(ino: number): CairnError {
  return new CairnError("EBUSY", `inode ${ino} has changed since it was read to be compacted`);
}

/** The runs of bytes that extents cover, which come in order and do not overlap: EINVAL. */
function runsOf(extents: readonly Extent[]): { from: number; to: number }[] {
  const runs: { from: number; to: number }[] = [];
  for (const extent of extents) {
    const last = runs.at(-1);
    valid(last === undefined || extent.offset >= last.to, "extents of a compaction come in order and do not overlap");
    if (last?.to === extent.offset) last.to = endOf(extent);
    else runs.push({ from: extent.offset, to: endOf(extent) });
  }
  return runs;
}

/** The extents that touch a range of a file, and where their blocks are; and those of small files that are wanted next. */
export function getExtents(kv: KeyValue, request: GetExtentsRequest, manager: Locator): FileExtents {
  inRange(request.ahead.length, 0, MAX_AHEAD, "files wanted ahead");
  checkLabel(request.host, "host");
  const reply = extentsOf(kv, request, manager, MAX_INLINE_PAGE);
  return request.ahead.length === 0 ? reply : { ...reply, ahead: filesAhead(kv, request, manager) };
}

/** Of each of the files wanted ahead the whole, in their order. One that is not small, or is gone, is left out: who opens it asks. */
function filesAhead(kv: KeyValue, { ahead, host }: GetExtentsRequest, manager: Locator): FileExtents[] {
  const files: FileExtents[] = [];
  let room = MAX_INLINE_PAGE;
  for (const ino of ahead) {
    const whole = { ino, offset: 0, length: MAX_FILE_SIZE, limit: MAX_PIECES_AHEAD, host };
    const file = unlessStale(() => extentsOf(kv, whole, manager, room));
    if (file === undefined || file.covered < MAX_FILE_SIZE || file.inline.length < file.blocks.length) continue;
    files.push(file);
    for (const { data } of file.inline) room -= data!.length;
  }
  return files;
}

/** @param inlineRoom bytes of inline blocks that may come along, at most */
function extentsOf(
  today: KeyValue,
  { ino: asked, offset, length, limit, host }: Omit<GetExtentsRequest, "ahead">,
  manager: Locator,
  inlineRoom: number,
): FileExtents {
  const { kv, ino, shown } = placeOf(today, asked);
  const inode = shown(known(kv, ino));
  inRange(offset, 0, Number.MAX_SAFE_INTEGER, "offset");
  inRange(length, 0, Number.MAX_SAFE_INTEGER, "length");
  const most = limit === 0 ? MAX_EXTENTS_PAGE : Math.min(limit, MAX_EXTENTS_PAGE);
  const end = Math.min(offset + length, MAX_FILE_SIZE);

  const extents: Extent[] = [];
  const blocks = new Map<number, LocatedBlockInit>();
  let covered = Math.max(offset, end);
  const inline: InlineBlockInit[] = [];
  let room = inlineRoom;
  for (const extent of touching(kv, ino, offset, end)) {
    if (extents.length === most) {
      covered = extent.offset;
      break;
    }
    extents.push(extent);
    if (blocks.has(extent.block)) continue;
    const located = locate(kv, extent.block, host, manager);
    blocks.set(extent.block, located);
    if (!isInline(extent.block)) continue;
    room -= located.block!.length!;
    if (room >= 0) inline.push(readInlineBlock(kv, extent.block));
  }
  return { inode, extents, blocks: [...blocks.values()], covered, inline };
}

/** ESTALE is undefined. */
function unlessStale<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (err) {
    if (codeOf(err) === "ESTALE") return undefined;
    throw err;
  }
}

function locate(kv: KeyValue, block: number, host: string, manager: Locator): LocatedBlockInit {
  const { generation, length, live } = readBlock(kv, block)!;
  const located = { id: block, generation, length };
  return isInline(block) ? { block: located, live } : { ...manager.locate(located, host), live };
}
