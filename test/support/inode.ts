import type { Inode } from "../../proto/gen/types.js";

/** An inode: an empty file unless `change` says otherwise. */
export function inode(ino: number, change: Partial<Inode> = {}): Inode {
  const time = { sec: 0, nsec: 0 };
  return {
    ino,
    mode: 0o100644,
    uid: 0,
    gid: 0,
    nlink: 1,
    size: 0,
    rdev: 0,
    atime: time,
    mtime: time,
    ctime: time,
    allocated: 0,
    version: 1,
    parent: 0,
    inline: 0,
    xattrs: 0,
    target: Buffer.alloc(0),
    coverage: null,
    policy: { replicas: 3, blockSize: 1 << 26, compression: 0 },
    ...change,
  };
}
