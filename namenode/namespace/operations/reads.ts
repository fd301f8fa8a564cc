import { CairnError } from "../../../common/errors.js";
import { KIB, MAX_DIRECTORY_PAGE, MAX_NAME, MIB, ROOT_INO } from "../../../common/limits.js";
import { isOfSnapshot } from "../../../common/snapshots.js";
import { DentryRecord, type Inode, type ReadDirectoryReplyInit } from "../../../proto/gen/types.js";
import type { KeyValue } from "../../store/kv.js";
import { checkName, checkXattrName, inRange, isDots, quote, valid } from "../checks.js";
import { dentriesAfter, nameOfDentry, nameOfXattr, xattrKey, xattrsOf } from "../keys.js";
import { readDentry } from "../records.js";
import { isList } from "../snapshots/numbers.js";
import { directoryAt, entriesOfList, inList, inodeAt, listOf, type Place, placeOf } from "../snapshots/places.js";
import { isSnapshotsName, isSnapshotted } from "../snapshots/records.js";
import { isDirectory } from "../types.js";
import { known, named, nameError } from "./context.js";

/** Names in one Walk, at most: a path of PATH_MAX bytes has no more. */
const MAX_WALK = 2 * KIB;
/** Bytes of names and symlink targets in one page of a directory, at most: with attributes it stays below MAX_MESSAGE. */
const MAX_PAGE_BYTES = MIB;

/** The inode that a name in a directory stands for; undefined when there is none. */
function child(kv: KeyValue, dir: Inode, name: Uint8Array): Inode | undefined {
  if (isDots(name)) {
    if (name.length === 1 || dir.ino === ROOT_INO) return dir;
    return inodeAt(kv, dir.parent);
  }
  if (isList(dir.ino)) return inList(kv, dir.ino, name);
  const place = placeOf(kv, dir.ino);
  const dentry = readDentry(place.kv, place.ino, name);
  if (dentry !== undefined) return place.shown(named(place.kv, dentry));
  return isSnapshotsName(name) && !isOfSnapshot(dir.ino) && isSnapshotted(kv, dir.ino)
    ? listOf(kv, dir.ino)
    : undefined;
}

/** The inode under a name. "." and ".." are understood. ENOENT, ENOTDIR, ENAMETOOLONG, ESTALE. */
export function lookup(kv: KeyValue, ino: number, name: Uint8Array): Inode {
  const dir = directoryAt(kv, ino);
  checkName(name);
  const found = child(kv, dir, name);
  if (found === undefined) throw nameError("ENOENT", "find", ino, name, "no such name");
  return found;
}

/** The inodes of a path, as far as it exists; follows no symlink. */
export function walk(kv: KeyValue, ino: number, names: readonly Uint8Array[]): Inode[] {
  valid(names.length <= MAX_WALK, () => `a path of ${names.length} names; at most ${MAX_WALK} are allowed`);
  for (const name of names) checkName(name);
  let at = directoryAt(kv, ino);
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
  directoryAt(kv, ino);
  inRange(after.length, 0, MAX_NAME, "length of the name to go on after");
  const most = limit === 0 ? MAX_DIRECTORY_PAGE : Math.min(limit, MAX_DIRECTORY_PAGE);
  const entries: { name: Uint8Array; inode: Inode }[] = [];
  let bytes = 0;
  for (const entry of isList(ino) ? entriesOfList(kv, ino, after) : entriesOf(placeOf(kv, ino), after)) {
    if (entries.length === most || bytes > MAX_PAGE_BYTES) return { entries, more: true };
    entries.push(entry);
    bytes += entry.name.length + entry.inode.target.length;
  }
  return { entries, more: false };
}

function* entriesOf({ kv, ino, shown }: Place, after: Uint8Array): IterableIterator<{ name: Buffer; inode: Inode }> {
  for (const [key, value] of kv.range(dentriesAfter(ino, after)))
    yield { name: nameOfDentry(key), inode: shown(named(kv, DentryRecord.decode(value))) };
}

/** The value of an extended attribute. ENODATA when there is none. */
export function getXattr(today: KeyValue, inode: number, name: Uint8Array): Uint8Array {
  checkXattrName(name);
  const { kv, ino } = placeOf(today, inode);
  known(kv, ino);
  const value = kv.get(xattrKey(ino, name));
  if (value === undefined) throw new CairnError("ENODATA", `inode ${inode} has no extended attribute ${quote(name)}`);
  return value;
}

/** The names of all extended attributes, in order. Bounded: setXattr keeps them below MAX_XATTR_LIST. */
export function listXattrs(today: KeyValue, inode: number): Buffer[] {
  if (isList(inode)) return [];
  const { kv, ino } = placeOf(today, inode);
  known(kv, ino);
  return Array.from(kv.range(xattrsOf(ino)), ([key]) => nameOfXattr(key));
}
