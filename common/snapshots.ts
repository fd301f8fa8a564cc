// How snapshots of directories are seen: DIR/.snapshot/NAME is DIR as it was. Their inodes have numbers of their own, so that they
// are never taken for those of today.

/** The name in a directory under which its snapshots are. It is not listed, and nothing else can be given this name. */
export const SNAPSHOTS = ".snapshot";

/** Numbers of inodes in snapshots begin here; those of today's are below, for 2^40 inodes ever made. */
export const SNAPSHOT_INOS = 2 ** 40;

/** Whether an inode is one of a snapshot, or a list of snapshots: it never changes, nobody can write to it. */
export const isOfSnapshot = (ino: number): boolean => ino >= SNAPSHOT_INOS;
