import { CairnError } from "../common/errors.js";
import { MAX_NAME, MAX_TARGET, ROOT_INO } from "../common/limits.js";
import { Namenode } from "../proto/gen/services.js";
import type { Inode } from "../proto/gen/types.js";
import type { Session } from "./session.js";

/** Symlinks followed in one path, at most (as Linux). */
const MAX_SYMLINKS = 40;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;
const SLASH = 0x2f;

/** The names of a path, "." and empty ones left out. */
function split(path: Uint8Array): Buffer[] {
  const names: Buffer[] = [];
  const bytes = Buffer.from(path.buffer, path.byteOffset, path.byteLength);
  for (let at = 0; at < bytes.length; ) {
    const slash = bytes.indexOf(SLASH, at);
    const end = slash < 0 ? bytes.length : slash;
    const name = bytes.subarray(at, end);
    if (name.length > 0 && !is(name, ".")) names.push(name);
    at = end + 1;
  }
  return names;
}

function is(name: Buffer, text: string): boolean {
  return name.length === text.length && name.toString("latin1") === text;
}

/** A path that ends in "/" or "/." names a directory, through a symlink if need be. */
function wantsDirectory(path: Buffer): boolean {
  return path.at(-1) === SLASH || is(path, ".") || path.toString("latin1", path.length - 2) === "/.";
}

/**
 * The inode of an absolute path. Names are resolved several in one round trip; symlinks are followed here (the last only
 * with followLast). ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP; EINVAL when the path is not absolute or has a NUL.
 */
export async function resolvePath(session: Session, path: string | Uint8Array, followLast: boolean): Promise<Inode> {
  const bytes = typeof path === "string" ? Buffer.from(path, "utf8") : Buffer.from(path);
  const fail = (code: string, why: string) => new CairnError(code, `cannot resolve ${bytes.toString("utf8")}: ${why}`);
  if (bytes.length > MAX_TARGET) throw fail("ENAMETOOLONG", `a path of ${bytes.length} bytes`);
  if (bytes[0] !== SLASH || bytes.includes(0)) throw fail("EINVAL", "not an absolute path");
  let rest = split(bytes);
  let mustBeDirectory = wantsDirectory(bytes);
  /** The directories from the root to where we are, so that ".." leads back. */
  const chain: Inode[] = [];
  let symlinks = 0;
  for (;;) {
    while (rest[0] !== undefined && is(rest[0], "..")) {
      chain.pop();
      rest.shift();
    }
    if (rest.length === 0) return chain.at(-1) ?? (await session.call(Namenode.getInode, { ino: ROOT_INO })).inode;
    const dotdot = rest.findIndex((name) => is(name, ".."));
    const names = dotdot < 0 ? rest : rest.slice(0, dotdot);
    if (names.some((name) => name.length > MAX_NAME)) throw fail("ENAMETOOLONG", `a name over ${MAX_NAME} bytes`);
    const { inodes } = await session.call(Namenode.walk, { dir: chain.at(-1)?.ino ?? ROOT_INO, names });
    if (inodes.length > names.length) throw fail("EPROTO", "the namenode found more than was asked for");
    const last = inodes.at(-1);
    rest = rest.slice(inodes.length);
    if (last === undefined) throw fail("ENOENT", `no ${names[0]}`);
    const isLast = rest.length === 0;
    switch (last.mode & S_IFMT) {
      case S_IFDIR:
        if (inodes.length < names.length) throw fail("ENOENT", `no ${names[inodes.length]}`);
        chain.push(...inodes);
        break;
      case S_IFLNK: {
        if (isLast && !followLast && !mustBeDirectory) return last;
        if (++symlinks > MAX_SYMLINKS) throw fail("ELOOP", `more than ${MAX_SYMLINKS} symlinks`);
        chain.push(...inodes.slice(0, -1));
        if (last.target[0] === SLASH) chain.length = 0;
        if (isLast) mustBeDirectory ||= wantsDirectory(last.target);
        rest = [...split(last.target), ...rest];
        break;
      }
      default:
        if (!isLast || mustBeDirectory) throw fail("ENOTDIR", `${names[inodes.length - 1]} is no directory`);
        return last;
    }
  }
}
