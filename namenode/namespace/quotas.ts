// Quotas: how many names and bytes may be below a directory. A name counts where it is; a file's bytes (those that extents cover) are
// charged to one directory, Inode.parent: that of its first name, or where that was moved to.
import { CairnError } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import { DentryRecord, type Extent, type Inode, type QuotaInit, QuotaRecord } from "../../proto/gen/types.js";
import type { KeyValue } from "../store/kv.js";
import { endOf, within } from "./extents.js";
import { dentriesOf, QUOTA_COUNT, quotaKey } from "./keys.js";
import { readInode } from "./records.js";
import { isDirectory } from "./types.js";

/** Names that a directory may have below it to be moved in or out of a quota: they are counted in one turn of the event loop. */
export const MAX_MOVED = 10_000;

/** What is below a directory. */
export interface Usage {
  readonly names: number;
  readonly bytes: number;
}

/** The part of a store that is read. */
type Reader = Pick<KeyValue, "get" | "range">;

/** Whether there is any quota: where there is none, nothing is looked for. */
export function hasQuotas(kv: Pick<KeyValue, "get">): boolean {
  return kv.get(QUOTA_COUNT) !== undefined;
}

/** The quota of a directory. */
export function readQuota(kv: Pick<KeyValue, "get">, dir: number): QuotaRecord | undefined {
  const bytes = kv.get(quotaKey(dir));
  return bytes && QuotaRecord.decode(bytes);
}

/** A directory and those above it, up to the root. */
export function* upwards(kv: KeyValue, dir: number): IterableIterator<number> {
  for (let at = dir; at !== 0; ) {
    yield at;
    if (at === ROOT_INO) return;
    at = readInode(kv, at)?.parent ?? 0;
  }
}

/** The quotas of a directory and of those above it, from below. */
export function quotasAbove(kv: KeyValue, dir: number): { dir: number; quota: QuotaRecord }[] {
  if (dir === 0 || !hasQuotas(kv)) return [];
  const found = [];
  for (const at of upwards(kv, dir)) {
    const quota = readQuota(kv, at);
    if (quota !== undefined) found.push({ dir: at, quota });
  }
  return found;
}

/** A quota as clients are told of it. */
export function shownQuota(dir: number, quota: QuotaRecord): QuotaInit {
  const { names, bytes, usedNames, usedBytes, counted } = quota;
  return { ino: dir, names, bytes, usedNames: Math.max(0, usedNames), usedBytes: Math.max(0, usedBytes), counted };
}

/** The quotas that hold for what is in a directory, or for a file's bytes. None when there is no such inode. */
export function quotasOn(kv: KeyValue, ino: number): QuotaInit[] {
  if (ino === 0 || !hasQuotas(kv)) return [];
  const inode = readInode(kv, ino);
  if (inode === undefined) return [];
  return quotasAbove(kv, isDirectory(inode) ? ino : inode.parent)
    .filter(({ quota }) => quota.counted)
    .map(({ dir, quota }) => shownQuota(dir, quota));
}

/** EDQUOT when there may not be so much more in a directory. `inside`: quotas that it is in already. */
export function checkQuotas(kv: KeyValue, dir: number, more: Usage, inside: ReadonlySet<number> = new Set()): void {
  for (const { dir: at, quota } of quotasAbove(kv, dir)) {
    if (inside.has(at) || !quota.counted) continue;
    const names = more.names > 0 && quota.names > 0 && quota.usedNames + more.names > quota.names;
    const bytes = more.bytes > 0 && quota.bytes > 0 && quota.usedBytes + more.bytes > quota.bytes;
    if (!names && !bytes) continue;
    const what = names ? `${quota.names} names` : `${quota.bytes} bytes`;
    throw new CairnError("EDQUOT", `the quota of directory ${at} is ${what}, and has no room for more`);
  }
}

/** EDQUOT when a file may not be given more bytes by new extents. */
export function checkGrowth(kv: KeyValue, inode: Pick<Inode, "ino" | "parent">, extents: readonly Extent[]): void {
  if (quotasAbove(kv, inode.parent).length === 0) return;
  let bytes = 0;
  let end = 0;
  for (const extent of [...extents].sort((a, b) => a.offset - b.offset)) {
    const from = Math.max(extent.offset, end);
    end = Math.max(end, endOf(extent));
    if (from >= endOf(extent)) continue;
    bytes += endOf(extent) - from;
    for (const { length } of within(kv, inode.ino, from, endOf(extent))) bytes -= length;
  }
  checkQuotas(kv, inode.parent, { names: 0, bytes });
}

/** What a rename moves between directories. */
export interface Move {
  readonly from: number;
  readonly to: number;
  readonly moved: Inode;
  /** Of an exchange: what goes the other way. */
  readonly replaced?: Inode;
}

/**
 * What the edit of a rename says of directories that come in or out of a quota by it. EDQUOT; EXDEV: there is too much below one to
 * be counted (as between file systems, mv copies then).
 */
export function moveBetweenQuotas(
  kv: KeyValue,
  { from, to, moved, replaced }: Move,
): { movedNames?: number; movedBytes?: number; replacedNames?: number; replacedBytes?: number } {
  if (from === to || !hasQuotas(kv)) return {};
  const left = new Set(quotasAbove(kv, from).map(({ dir }) => dir));
  const entered = new Set(quotasAbove(kv, to).map(({ dir }) => dir));
  if (left.size === entered.size && [...left].every((dir) => entered.has(dir))) return {};
  const one = usageOf(kv, moved, from);
  checkQuotas(kv, to, { names: one.names + 1, bytes: one.bytes }, left);
  const movedBelow = isDirectory(moved) ? { movedNames: one.names, movedBytes: one.bytes } : {};
  if (replaced === undefined) return movedBelow;
  const other = usageOf(kv, replaced, to);
  checkQuotas(kv, from, { names: other.names + 1, bytes: other.bytes }, entered);
  return { ...movedBelow, ...(isDirectory(replaced) && { replacedNames: other.names, replacedBytes: other.bytes }) };
}

/** What moves with an inode out of a directory. A file that is charged to another directory stays so. */
function usageOf(kv: KeyValue, inode: Inode, from: number): Usage {
  if (!isDirectory(inode)) return { names: 0, bytes: [0, from].includes(inode.parent) ? inode.allocated : 0 };
  const counting = countBelow(kv, inode.ino);
  for (let names = 0; names <= MAX_MOVED; names++) {
    const step = counting.next();
    if (step.done) return step.value;
  }
  throw new CairnError("EXDEV", `directory ${inode.ino} has too much below it to be moved in or out of a quota`);
}

/** Counts what is below a directory; yields at every name. */
export function* countBelow(kv: Reader, dir: number): Generator<void, Usage> {
  let names = 0;
  let bytes = 0;
  /** Files with several names, which may be in one directory. */
  const linked = new Set<number>();
  const dirs = [dir];
  for (let at = dirs.pop(); at !== undefined; at = dirs.pop()) {
    for (const [, value] of kv.range(dentriesOf(at))) {
      yield;
      names++;
      const { ino, type } = DentryRecord.decode(value);
      if (isDirectory({ mode: type })) {
        dirs.push(ino);
        continue;
      }
      const inode = readInode(kv, ino);
      if (inode?.parent !== at || linked.has(ino)) continue;
      if (inode.nlink > 1) linked.add(ino);
      bytes += inode.allocated;
    }
  }
  return { names, bytes };
}
