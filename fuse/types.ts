// The words of the file system object (core.ts), which every binding to the kernel speaks.
import type { Timestamp } from "../common/clock.js";
import type { Inode } from "../proto/gen/types.js";

/** Who asks, as the kernel says. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
}

/** Attributes to change; absent ones stay. */
export interface AttributeUpdate {
  /** Permission bits. */
  mode?: number;
  uid?: number;
  gid?: number;
  /** Bytes: truncates, or extends with a hole. */
  size?: number;
  /** "now" is the namenode's clock. */
  atime?: Timestamp | "now";
  mtime?: Timestamp | "now";
}

/** What open and create answer. */
export interface Opened {
  /** For read, write, flush, fsync, release. */
  readonly handle: number;
  readonly inode: Inode;
  /**
   * The file is longer than this mount last said it was: another client has added to it. A kernel that caches attributes
   * would stop reading at the old end, and must be told otherwise.
   */
  readonly grown: boolean;
  /** The file has another size than this mount last said, or it has said none. */
  readonly resized: boolean;
  /** The file is what it was when the kernel read the pages it may have: they may stay. */
  readonly kept: boolean;
  /** The open counts as a read, and changed the access time. */
  readonly accessed: boolean;
}

/** What the kernel can be made to forget. None of these waits, and none fails. */
export interface KernelCache {
  /** An inode's attributes. */
  forgetAttributes(ino: number): void;
  /** A file's attributes and pages. */
  forgetContent(ino: number): void;
  /** What a name means. */
  forgetName(dir: number, name: Buffer): void;
  /** What all names mean. */
  forgetNames(): void;
}

/** One entry of a directory as readdir hands it out. */
export interface DirectoryEntry {
  readonly name: Buffer;
  readonly ino: number;
  /** Type bits (S_IFMT) at least. */
  readonly mode: number;
  /** Where a later readdir goes on after this entry. > 0. */
  readonly next: number;
  /** The attributes, which the kernel is then told; undefined for "." and "..". */
  attributes(): Inode | undefined;
}

/** What statfs answers. Blocks are of `blockSize` bytes; one block is what a file's bytes take, replicas not counted. */
export interface FileSystemStatistics {
  readonly blockSize: number;
  readonly blocks: number;
  readonly free: number;
  readonly available: number;
  readonly files: number;
  readonly filesFree: number;
  readonly nameMax: number;
}
