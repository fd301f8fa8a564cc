import { constants } from "node:fs";
import type { Capacity } from "../client/contract.js";
import { MAX_NAME } from "../common/limits.js";
import type { FileSystemStatistics } from "./types.js";

const { S_IFMT, S_IFREG, S_IFDIR } = constants;

/** What statfs counts in, bytes. */
const BLOCK_SIZE = 4096;
/** Inodes that statfs says are free: the namenode has no fixed number of them. */
const FREE_INODES = 2 ** 32;

/** Whether a mode is a directory's. */
export function isDirectory({ mode }: { mode: number }): boolean {
  return (mode & S_IFMT) === S_IFDIR;
}

/** Whether a mode is a regular file's. */
export function isRegular({ mode }: { mode: number }): boolean {
  return (mode & S_IFMT) === S_IFREG;
}

/**
 * What `df` is to show: the bytes that files can take, so the disks' bytes divided by the copies that are kept. Used is what
 * blocks take; available is what may be written; the size may be more than both together where disks are shared. Where quotas hold,
 * the one with the least left is shown instead, of bytes and of names each: its size, and what is used of it.
 */
export function statisticsOf(capacity: Capacity): FileSystemStatistics {
  const blocksOf = (bytes: number) => Math.floor(bytes / BLOCK_SIZE);
  const perCopy = (bytes: number) => blocksOf(bytes / Math.max(1, capacity.replicas));
  const cluster = { size: perCopy(capacity.capacity), used: perCopy(capacity.used) };
  const quotas = capacity.quotas;
  const bytes = tightest(
    quotas.map((quota) => ({ size: blocksOf(quota.bytes), used: Math.ceil(quota.usedBytes / BLOCK_SIZE) })),
  );
  const names = tightest(quotas.map(({ names: size, usedNames: used }) => ({ size, used })));
  const blocks = bytes ?? cluster;
  const free = left(blocks);
  return {
    blockSize: BLOCK_SIZE,
    blocks: blocks.size,
    free,
    available: bytes === undefined ? perCopy(capacity.available) : Math.min(free, perCopy(capacity.available)),
    files: names?.size ?? capacity.inodes + FREE_INODES,
    filesFree: names === undefined ? FREE_INODES : left(names),
    nameMax: MAX_NAME,
  };
}

interface Room {
  readonly size: number;
  readonly used: number;
}

function left({ size, used }: Room): number {
  return Math.max(0, size - used);
}

/** Of rooms that have a size, the one with the least left. */
function tightest(rooms: readonly Room[]): Room | undefined {
  return rooms.filter(({ size }) => size > 0).sort((a, b) => left(a) - left(b))[0];
}
