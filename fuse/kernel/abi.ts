// Names and numbers of the FUSE kernel protocol that this binding uses: /usr/include/linux/fuse.h, version 7.

/** Version of the protocol that is spoken. A kernel with an older minor version than OLDEST_MINOR is refused. */
export const MAJOR = 7;
export const MINOR = 38;
export const OLDEST_MINOR = 31;

/** What a request asks for. */
export const Opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  COPY_FILE_RANGE_64: 53,
} as const;

/** The name of an opcode, for people. */
export function opcodeName(opcode: number): string {
  return Object.entries(Opcode).find(([, value]) => value === opcode)?.[0] ?? `operation ${opcode}`;
}

/** Abilities that kernel and file system agree on at INIT (FUSE_…). */
export const Ability = {
  ASYNC_READ: 1 << 0,
  POSIX_LOCKS: 1 << 1,
  ATOMIC_O_TRUNC: 1 << 3,
  BIG_WRITES: 1 << 5,
  FLOCK_LOCKS: 1 << 10,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  PARALLEL_DIROPS: 1 << 18,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  HANDLE_KILLPRIV_V2: 1 << 28,
} as const;

/** Which fields of SETATTR count (FATTR_…). */
export const SetattrValid = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  KILL_SUIDGID: 1 << 11,
} as const;

/** What the kernel may do with an open file (FOPEN_…). */
export const OpenFlag = {
  KEEP_CACHE: 1 << 1,
  NOFLUSH: 1 << 5,
} as const;

/** FUSE_OPEN_KILL_SUIDGID, of OPEN and CREATE. */
export const OPEN_KILL_SUIDGID = 1 << 0;
/** FUSE_WRITE_CACHE, of WRITE: pages that a program wrote through a mapping, through whichever handle the kernel found. */
export const WRITE_CACHE = 1 << 0;
/** FUSE_WRITE_KILL_SUIDGID, of WRITE. */
export const WRITE_KILL_SUIDGID = 1 << 2;

/** FUSE_LK_FLOCK: a lock is flock's, not fcntl's. */
export const LK_FLOCK = 1 << 0;
/** Kinds of locks, as fcntl(2) numbers them. */
export const F_RDLCK = 0;
export const F_WRLCK = 1;
export const F_UNLCK = 2;

/** What lseek(2) looks for. */
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** Modes of fallocate(2) (FALLOC_FL_…). */
export const FallocateMode = {
  KEEP_SIZE: 1 << 0,
  PUNCH_HOLE: 1 << 1,
  ZERO_RANGE: 1 << 4,
} as const;

/** Flags of renameat2(2). */
export const RENAME_NOREPLACE = 1 << 0;
export const RENAME_EXCHANGE = 1 << 1;

/** Flags of setxattr(2). */
export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;

/** What the kernel is told without having asked (FUSE_NOTIFY_…). */
export const Notify = {
  /** What it believes of an inode, and its pages, are to be asked for again. */
  INVAL_INODE: 2,
  /** What it believes of a name is to be asked again. */
  INVAL_ENTRY: 3,
  /** What it believes of all names is to be asked again. Since version 7.44 of the protocol. */
  INC_EPOCH: 8,
} as const;

/** Bytes of struct fuse_in_header and fuse_out_header. */
export const IN_HEADER = 40;
export const OUT_HEADER = 16;

/** The kernel's page, bytes. What it calls pages in INIT. */
export const PAGE = 4096;
/** Data in one READ or WRITE at most, bytes. */
export const MAX_IO = 1 << 20;
/** Bytes that one COPY_FILE_RANGE may say it has copied, at most: its reply has 32 bits for it. */
export const MAX_COPY = 0xffff_f000;
/** Longest request, bytes: a WRITE with its header, with what the kernel demands to be spare. */
export const MAX_REQUEST = MAX_IO + PAGE;
