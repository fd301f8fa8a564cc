import { CairnError } from "../../../common/errors.js";
import { KIB, MAX_DIRECTORY_PAGE, MAX_NAME, MIB, ROOT_INO } from "../../../common/limits.js";
import { DentryRecord, type Inode, type ReadDirectoryReplyInit } from "../../../proto/gen/types.js";
import type { KeyValue } from "../../store/kv.js";
import { checkName, checkXattrName, inRange, isDots, quote, valid } from "../checks.js";
import { dentriesAfter, nameOfDentry, nameOfXattr, xattrKey, xattrsOf } from "../keys.js";
import { readDentry } from "../records.js";
import { isDirectory } from "../types.js";
import { known, knownDirectory, named, nameError } from "./context.js";

/** Names in one Walk, at most: a path of PATH_MAX bytes has no more. */
const MAX_WALK = 2 * KIB;
/** Bytes of names and symlink targets in one page of a directory, at most: with attributes it stays below MAX_MESSAGE. */
const MAX_PAGE_BYTES = MIB;

/** The inode that a name in a directory stands for; undefined when there is none. */
function child(kv: KeyValue, dir: Inode, name: Uint8Array): Inode | undefined {
  if (isDots(name)) {
    if (name.length === 1 || dir.ino === ROOT_INO) return dir;
    return known(kv, dir.parent);
  }
  const dentry = readDentry(kv, dir.ino, name);
  return dentry && named(kv, dentry);
}

/** The inode under a name. "." and ".." are understood. ENOENT, ENOTDIR, ENAMETOOLONG, ESTALE. */
export function lookup(kv: KeyValue, ino: number, name: Uint8Array): Inode {
  const dir = knownDirectory(kv, ino);
  checkName(name);
  const found = child(kv, dir, name);
  if (found === undefined) throw nameError("ENOENT", "find", ino, name, "no such name");
  return found;
}

/** The inodes of a path, as far as it exists; follows no symlink. */
export function walk(kv: KeyValue, ino: number, names: readonly Uint8Array[]): Inode[] {
  valid(names.length <= MAX_WALK, `a path of ${names.length} names; at most ${MAX_WALK} are allowed`);
  for (const name of names) checkName(name);
  let at = knownDirectory(kv, ino);
  const found: Inode[] = [];
  for (const name of names) {
    const next = isDirectory(at) ? child(kv, at, name) : undefined;
    if (next === undefined) break;
    found.push(next);
    at = next;
  }
  return found;
}

/** One page of a directory, in the order of the names' bytes. */
export function readDirectory(kv: KeyValue, ino: number, after: Uint8Array, limit: number): ReadDirectoryReplyInit {
  knownDirectory(kv, ino);
  inRange(after.length, 0, MAX_NAME, "length of the name to go on after");
  const most = limit === 0 ? MAX_DIRECTORY_PAGE : Math.min(limit, MAX_DIRECTORY_PAGE);
  const entries: { name: Buffer; inode: Inode }[] = [];
  let bytes = 0;
  for (const [key, value] of kv.range(dentriesAfter(ino, after))) {
    if (entries.length === most || bytes > MAX_PAGE_BYTES) return { entries, more: true };
    const name = nameOfDentry(key);
    const inode = named(kv, DentryRecord.decode(value));
    entries.push({ name, inode });
    bytes += name.length + inode.target.length;
  }
  return { entries, more: false };
}

/** The value of an extended attribute. ENODATA when there is none. */
export function getXattr(kv: KeyValue, ino: number, name: Uint8Array): Uint8Array {
  known(kv, ino);
  checkXattrName(name);
  const value = kv.get(xattrKey(ino, name));
  if (value === undefined) throw new CairnError("ENODATA", `inode ${ino} has no extended attribute ${quote(name)}`);
  return value;
}

/** The names of all extended attributes, in order. Bounded: setXattr keeps them below MAX_XATTR_LIST. */
export function listXattrs(kv: KeyValue, ino: number): Buffer[] {
  known(kv, ino);
  return Array.from(kv.range(xattrsOf(ino)), ([key]) => nameOfXattr(key));
}
