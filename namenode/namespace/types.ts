// The types of inodes, as Linux numbers them in st_mode.

/** Mask of the type bits of a mode. */
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;
/** Of a directory: what is made in it gets its group. */
export const S_ISGID = 0o2000;
/** Mask of the permission bits, with setuid, setgid and sticky. */
export const PERMISSIONS = 0o7777;

/** Whether a mode is a directory's. */
export const isDirectory = (of: { mode: number }): boolean => (of.mode & S_IFMT) === S_IFDIR;
/** Whether a mode is a regular file's. */
export const isRegular = (of: { mode: number }): boolean => (of.mode & S_IFMT) === S_IFREG;
/** Whether a mode is a symbolic link's. */
export const isSymlink = (of: { mode: number }): boolean => (of.mode & S_IFMT) === S_IFLNK;
