import { constants } from "node:os";
import type { Timestamp } from "../../common/clock.js";
import { codeOf, errnoNumber } from "../../common/errors.js";
import type { Inode } from "../../proto/gen/types.js";
import type { Caller, FileSystemStatistics } from "../types.js";
import type { Request } from "./addon.js";

/** What stat says is good to read and write at once: one FUSE request. */
const IO_SIZE = 131_072;
/** The unit of st_blocks. */
const SECTOR = 512;
const UTIME_NOW = (1 << 30) - 1;
const UTIME_OMIT = (1 << 30) - 2;

/** The attributes as the addon takes them. */
export function encodeStat(inode: Inode): Float64Array {
  const stat = new Float64Array(15);
  stat[0] = inode.mode;
  stat[1] = inode.uid;
  stat[2] = inode.gid;
  stat[3] = inode.size;
  stat[4] = inode.nlink;
  stat[5] = inode.ino;
  stat[6] = inode.rdev;
  stat[7] = IO_SIZE;
  stat[8] = Math.ceil(inode.allocated / SECTOR);
  stat[9] = inode.atime.sec;
  stat[10] = inode.atime.nsec;
  stat[11] = inode.mtime.sec;
  stat[12] = inode.mtime.nsec;
  stat[13] = inode.ctime.sec;
  stat[14] = inode.ctime.nsec;
  return stat;
}

/** The statistics as the addon takes them. */
export function encodeStatistics(s: FileSystemStatistics): Float64Array {
  return Float64Array.of(s.blockSize, s.blocks, s.free, s.available, s.files, s.filesFree, s.nameMax);
}

/** Who made a request. */
export function callerOf(request: Request): Caller {
  return { uid: request.readUInt32LE(0), gid: request.readUInt32LE(4), pid: request.readUInt32LE(8) };
}

/** A time of utimensat(2); undefined: leave it as it is. */
export function timeOf(sec: number, nsec: number): Timestamp | "now" | undefined {
  if (nsec === UTIME_OMIT) return undefined;
  return nsec === UTIME_NOW ? "now" : { sec, nsec };
}

/** An integer that the addon hands over in two halves. */
export function wide(low: number, high: number): number {
  return low + high * 2 ** 32;
}

/** The negative errno of anything thrown. */
export function resultOf(err: unknown): number {
  return -(errnoNumber(codeOf(err)) ?? constants.errno.EIO);
}
