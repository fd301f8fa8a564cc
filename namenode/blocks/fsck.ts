import { CairnError } from "../../common/errors.js";
import { MAX_FSCK_PAGE } from "../../common/limits.js";
import type { Block, FileRange, FsckFileInit, FsckReplyInit, FsckRequest, Inode } from "../../proto/gen/types.js";
import type { BlockReplicas, BlockUse } from "../contract.js";
import { dentriesAfter, extentKey, extentsOf, nameOfDentry } from "../namespace/keys.js";
import { extentOf, readDentry, readInode } from "../namespace/records.js";
import { type Place, placeOf } from "../namespace/snapshots/places.js";
import { isDirectory, isRegular } from "../namespace/types.js";
import type { KeyValue } from "../store/kv.js";

/** Names looked at for one page. */
const MAX_VISITED = 10_000;
/** Extents looked at for one page; a file with more is continued on the next page, under the same path. */
const MAX_EXTENTS = 20_000;
/** Longest cursor accepted, bytes: deeper trees than any path can name. */
const MAX_CURSOR = 1024 * 1024;

/** What fsck looks at. */
export interface FsckParts {
  kv: KeyValue;
  use: BlockUse;
  /** A block's replicas, as datanode ids. */
  replicas(block: Block): BlockReplicas;
}

/** A directory on the way down: what has been seen of it. */
interface Level {
  dir: number;
  /** The last name seen; of all levels but the deepest, the name of the next level. */
  after: Buffer;
}

/**
 * One page of the files below an inode (of a snapshot, too), in the order of their paths' bytes, each with the health of its blocks. Bounded
 * work, whatever the tree. The tree may change between pages: what is there all the time is seen once.
 * The cursor is the path last seen (a trailing "/": a directory not yet begun), and, for a file that is to be continued,
 * NUL and the offset of its next extent.
 */
export function fsck(today: FsckParts, request: FsckRequest): FsckReplyInit {
  const { kv, ino, shown } = placeOf(today.kv, request.ino);
  const parts = { ...today, kv, shown };
  const root = readInode(kv, ino);
  if (root === undefined) throw new CairnError("ESTALE", `check of inode ${request.ino}: there is none`);
  if (request.cursor.length > MAX_CURSOR) throw new CairnError("E2BIG", "check with a cursor that is no cursor");
  const nul = request.cursor.indexOf(0);
  const path = nul < 0 ? request.cursor : request.cursor.subarray(0, nul);
  const offset = nul < 0 ? 0 : Number(request.cursor.subarray(nul + 1).toString());
  if (!Number.isSafeInteger(offset) || offset < 0)
    throw new CairnError("EINVAL", "check with a cursor that is no cursor");

  const page = new Page(parts, Math.min(request.limit || MAX_FSCK_PAGE, MAX_FSCK_PAGE));
  if (!isDirectory(root)) {
    const next = isRegular(root) ? page.file(Buffer.alloc(0), root, offset) : undefined;
    return page.reply(next === undefined ? undefined : continuation(Buffer.alloc(0), next));
  }
  const stack = resume(kv, root.ino, path);
  if (nul >= 0) {
    const ino = readDentry(kv, stack.at(-1)!.dir, stack.at(-1)!.after)?.ino;
    const inode = ino === undefined ? undefined : readInode(kv, ino);
    const next = inode !== undefined && isRegular(inode) ? page.file(path, inode, offset) : undefined;
    if (next !== undefined) return page.reply(continuation(path, next));
  }
  return walk(kv, stack, page);
}

function walk(kv: KeyValue, stack: Level[], page: Page): FsckReplyInit {
  let visited = 0;
  while (stack.length > 0) {
    const level = stack.at(-1)!;
    let below: number | undefined;
    for (const [key] of kv.range(dentriesAfter(level.dir, level.after))) {
      if (page.full || ++visited > MAX_VISITED) return page.reply(pathOf(stack));
      level.after = nameOfDentry(key);
      const dentry = readDentry(kv, level.dir, level.after)!;
      const inode = readInode(kv, dentry.ino);
      if (inode === undefined)
        throw new CairnError("EIO", `name ${level.after} refers to inode ${dentry.ino}: there is none`);
      if (isDirectory(inode)) {
        below = inode.ino;
        break;
      }
      const next = isRegular(inode) ? page.file(pathOf(stack), inode, 0) : undefined;
      if (next !== undefined) return page.reply(continuation(pathOf(stack), next));
    }
    if (below === undefined) stack.pop();
    else stack.push({ dir: below, after: Buffer.alloc(0) });
  }
  return page.reply(undefined);
}

/** The way down to where a page ended; as far as it still exists. */
function resume(kv: KeyValue, root: number, path: Buffer): Level[] {
  const names = path.toString("latin1").split("/");
  const stack: Level[] = [{ dir: root, after: Buffer.from(names[0]!, "latin1") }];
  for (const name of names.slice(1)) {
    const { dir, after } = stack.at(-1)!;
    const inode = after.length === 0 ? undefined : readDentry(kv, dir, after);
    if (inode === undefined || !isDirectory({ mode: inode.type })) break;
    stack.push({ dir: inode.ino, after: Buffer.from(name, "latin1") });
  }
  return stack;
}

function pathOf(stack: readonly Level[]): Buffer {
  return Buffer.from(stack.map((l) => l.after.toString("latin1")).join("/"), "latin1");
}

/** Whether any replica can be read now. */
function isReadable({ live, leaving, resting, absent }: BlockReplicas): boolean {
  return live.length + leaving.length + resting.length > absent.length;
}

function continuation(path: Buffer, offset: number): Buffer {
  return Buffer.concat([path, Buffer.from(`\0${offset}`)]);
}

/** The files of one reply. */
class Page {
  readonly #parts: FsckParts & Pick<Place, "shown">;
  readonly #limit: number;
  readonly #files: FsckFileInit[] = [];
  #extents = 0;

  constructor(parts: FsckParts & Pick<Place, "shown">, limit: number) {
    this.#parts = parts;
    this.#limit = limit;
  }

  get full(): boolean {
    return this.#files.length >= this.#limit || this.#extents >= MAX_EXTENTS;
  }

  /** Adds a file's blocks from an offset on. @returns the offset to go on from, when they were too many. */
  file(path: Buffer, inode: Inode, from: number): number | undefined {
    const { kv, use, replicas, shown } = this.#parts;
    const pieces = new Map<number, FileRange[]>();
    let next: number | undefined;
    for (const [key, value] of kv.range({ gte: extentKey(inode.ino, from), lt: extentsOf(inode.ino).lt })) {
      const extent = extentOf(key, value);
      if (this.#extents >= MAX_EXTENTS) {
        next = extent.offset;
        break;
      }
      this.#extents++;
      const { offset, length } = extent;
      const found = pieces.get(extent.block);
      if (found === undefined) pieces.set(extent.block, [{ offset, length }]);
      else found.push({ offset, length });
    }
    const blocks = [...pieces].map(([id, ranges]) => {
      const record = use.committed(id);
      if (record === undefined)
        throw new CairnError("EIO", `inode ${inode.ino} refers to block ${id}, which is not known`);
      const block = { id, generation: record.generation, length: record.length };
      const found = replicas(block);
      const lost = record.wanted > 0 && !isReadable(found) ? ranges : [];
      return { block, ...found, wanted: record.wanted, lost };
    });
    this.#files.push({ path, ino: shown(inode).ino, size: inode.size, policy: inode.policy, blocks });
    return next;
  }

  reply(cursor: Buffer | undefined): FsckReplyInit {
    return { files: this.#files, ...(cursor !== undefined && { cursor }) };
  }
}
