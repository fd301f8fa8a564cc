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
 * blocks take; available is what may be written; the size may be more than both together where disks are shared.
 */
export function statisticsOf(capacity: Capacity): FileSystemStatistics {
  const blocksOf = (bytes: number) => Math.floor(bytes / Math.max(1, capacity.replicas) / BLOCK_SIZE);
  const blocks = blocksOf(capacity.capacity);
  return {
    blockSize: BLOCK_SIZE,
    blocks,
    free: Math.max(0, blocks - blocksOf(capacity.used)),
    available: blocksOf(capacity.available),
    files: capacity.inodes + FREE_INODES,
    filesFree: FREE_INODES,
    nameMax: MAX_NAME,
  };
}
