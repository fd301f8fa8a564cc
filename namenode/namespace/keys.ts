// Every key of the store, but for those of blocks/, whose keys begin with L, N, G and U. A key is a letter and
// fixed-width big-endian numbers, so that the order of keys is the order of what they name.
import type { Key, RangeOptions } from "../store/kv.js";
import { prefixEnd } from "../store/kv.js";

const { fromCharCode } = String;
const TWO_32 = 2 ** 32;

/** A 32-bit number as four bytes, big-endian. */
export function u32(n: number): Key {
  return fromCharCode(n >>> 24, (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff);
}

/** A safe integer >= 0 as eight bytes, big-endian. */
export function u64(n: number): Key {
  const high = Math.floor(n / TWO_32);
  return fromCharCode(
    high >>> 24,
    (high >>> 16) & 0xff,
    (high >>> 8) & 0xff,
    high & 0xff,
    (n >>> 24) & 0xff,
    (n >>> 16) & 0xff,
    (n >>> 8) & 0xff,
    n & 0xff,
  );
}

function readU32(key: Key, at: number): number {
  return (
    ((key.charCodeAt(at) << 24) |
      (key.charCodeAt(at + 1) << 16) |
      (key.charCodeAt(at + 2) << 8) |
      key.charCodeAt(at + 3)) >>>
    0
  );
}

/** The number that u64() wrote into a key at a position. */
export function readU64(key: Key, at: number): number {
  return readU32(key, at) * TWO_32 + readU32(key, at + 4);
}

/** The bytes of a name as a part of a key. */
export function nameKey(name: Uint8Array): Key {
  const { buffer, byteOffset, byteLength } = name;
  return Buffer.from(buffer, byteOffset, byteLength).toString("latin1");
}

const prefix = (start: Key): RangeOptions => ({ gte: start, lt: prefixEnd(start) });

/** The one ClusterRecord. */
export const CLUSTER: Key = "A";

/** ino → Inode */
export const inodeKey = (ino: number): Key => `I${u64(ino)}`;

/** All inodes, those without a name too. */
export const INODES: RangeOptions = prefix("I");

/** → how many quotas there are (u32); none: there is none. */
export const QUOTA_COUNT: Key = "Q";
/** directory → QuotaRecord */
export const quotaKey = (dir: number): Key => `Q${u64(dir)}`;
/** All quotas, by directory. */
export const QUOTAS: RangeOptions = { gte: quotaKey(0), lt: "R" };
/** The directory in a quota's key. */
export const dirOfQuota = (key: Key): number => readU64(key, 1);

/** (directory, name) → DentryRecord */
export const dentryKey = (dir: number, name: Uint8Array): Key => `D${u64(dir)}${nameKey(name)}`;
/** All names of a directory, in the order of their bytes. */
export const dentriesOf = (dir: number): RangeOptions => prefix(`D${u64(dir)}`);
/** The names of a directory that are greater than `after`; all when it is empty. */
export function dentriesAfter(dir: number, after: Uint8Array): RangeOptions {
  const all = dentriesOf(dir);
  return after.length === 0 ? all : { gte: `${dentryKey(dir, after)}\0`, lt: all.lt };
}
/** The name in a dentry's key. */
export const nameOfDentry = (key: Key): Buffer => Buffer.from(key.slice(9), "latin1");

/** (file, offset) → ExtentRecord */
export const extentKey = (ino: number, offset: number): Key => `E${u64(ino)}${u64(offset)}`;
/** All extents of a file, by offset. */
export const extentsOf = (ino: number): RangeOptions => prefix(`E${u64(ino)}`);
/** The extents that start within [from, to). */
export const extentsWithin = (ino: number, from: number, to: number): RangeOptions => ({
  gte: extentKey(ino, from),
  lt: extentKey(ino, to),
});
/** The file offset in an extent's key. */
export const offsetOfExtent = (key: Key): number => readU64(key, 9);

/** block id → BlockRecord */
export const blockKey = (id: number): Key => `B${u64(id)}`;
/** All blocks that a file refers to. */
export const BLOCKS: RangeOptions = prefix("B");
/** Blocks with from <= id < to. */
export const blocksWithin = (from: number, to: number): RangeOptions => ({ gte: blockKey(from), lt: blockKey(to) });
/** The block id in a block's key. */
export const idOfBlock = (key: Key): number => readU64(key, 1);

/** inline block id → InlineRecord */
export const inlineKey = (id: number): Key => `Y${u64(id)}`;

/** (inode, attribute name) → the attribute's value */
export const xattrKey = (ino: number, name: Uint8Array): Key => `X${u64(ino)}${nameKey(name)}`;
/** All extended attributes of an inode, by name. */
export const xattrsOf = (ino: number): RangeOptions => prefix(`X${u64(ino)}`);
/** The attribute's name in an extended attribute's key. */
export const nameOfXattr = (key: Key): Buffer => Buffer.from(key.slice(9), "latin1");

/** (session, sequence of the call) → CallRecord; (session, 0) → PrunedRecord */
export const callKey = (session: number, sequence: number): Key => `C${u64(session)}${u64(sequence)}`;
/** The records of a session's calls with from <= sequence < to. */
export const callsWithin = (session: number, from: number, to: number): RangeOptions => ({
  gte: callKey(session, from),
  lt: callKey(session, to),
});
/** The records of all calls of a session. */
export const callsOf = (session: number): RangeOptions => prefix(`C${u64(session)}`);
/** The records of all calls of sessions with a number of at least `session`. */
export const callsFrom = (session: number): RangeOptions => ({ gte: `C${u64(session)}`, lt: "D" });
/** The session in a call record's key. */
export const sessionOfCall = (key: Key): number => readU64(key, 1);
/** The call's sequence in a call record's key. */
export const sequenceOfCall = (key: Key): number => readU64(key, 9);

/** The reclaim list: (index of the edit that took the last name, ino) → nothing. Oldest first. */
export const reclaimKey = (index: number, ino: number): Key => `R${u64(index)}${u64(ino)}`;
/** The whole reclaim list. */
export const RECLAIM: RangeOptions = prefix("R");
/** The inode in a key of the reclaim list. */
export const inoOfReclaim = (key: Key): number => readU64(key, 9);

/** (session, ino) → nothing: an inode without a name that a session has open. It is on no reclaim list until that ends. */
export const heldKey = (session: number, ino: number): Key => `H${u64(session)}${u64(ino)}`;
/** All that a session holds. */
export const heldBy = (session: number): RangeOptions => prefix(`H${u64(session)}`);
/** All that sessions with a number of at least `session` hold. */
export const heldFrom = (session: number): RangeOptions => ({ gte: `H${u64(session)}`, lt: "I" });
/** The session in a key of what is held. */
export const sessionOfHeld = (key: Key): number => readU64(key, 1);
/** The inode in a key of what is held. */
export const inoOfHeld = (key: Key): number => readU64(key, 9);
/** (ino, session) → nothing: the same the other way round. (Of before there could be several holders, there is none.) */
export const holderKey = (ino: number, session: number): Key => `P${u64(ino)}${u64(session)}`;
/** All sessions that hold an inode. */
export const holdersOf = (ino: number): RangeOptions => prefix(`P${u64(ino)}`);

/** session → nothing: a session that has locks, or had. */
export const lockingKey = (session: number): Key => `K${u64(session)}`;
/** All sessions that have locks, or had. */
export const LOCKING: RangeOptions = prefix("K");
/** The session in a key of those that have locks. */
export const sessionOfLocking = (key: Key): number => readU64(key, 1);

/** → SnapshotsRecord; none: there is no snapshot. */
export const SNAPSHOTS: Key = "S";
/** (directory, name) → SnapshotRecord */
export const snapshotKey = (dir: number, name: Uint8Array): Key => `S${u64(dir)}${nameKey(name)}`;
/** The snapshots of a directory with names greater than `after`; all when it is empty. */
export function snapshotsAfter(dir: number, after: Uint8Array): RangeOptions {
  const all = prefix(`S${u64(dir)}`);
  return after.length === 0 ? all : { gte: `${snapshotKey(dir, after)}\0`, lt: all.lt };
}
/** slot → SnapshotRecord */
export const slotKey = (slot: number): Key => `T${u32(slot)}`;
/** (directory, id of a snapshot of it) → SnapshotRecord; under the directory 0 all snapshots are, too. */
export const snapshotIdKey = (dir: number, id: number): Key => `Z${u64(dir)}${u64(id)}`;
/** A directory's snapshots with from <= id < to. */
export const snapshotIdsWithin = (dir: number, from: number, to: number): RangeOptions => ({
  gte: snapshotIdKey(dir, from),
  lt: snapshotIdKey(dir, to),
});
/** A directory's snapshots, by age. */
export const snapshotsOf = (dir: number): RangeOptions => prefix(`Z${u64(dir)}`);

/** (key of an inode, dentry, extent or extended attribute, snapshot id) → VersionRecord. No such key has a NUL behind its numbers. */
export const versionKey = (key: Key, id: number): Key => `V${key}\0${u64(id)}`;
/** The versions of a key with an id of at least `from`, by id. */
export const versionsFrom = (key: Key, from: number): RangeOptions => ({
  gte: versionKey(key, from),
  lt: `V${key}\x01`,
});
/** The versions of keys within a range. It may hold versions of other keys: prefixes of its start. */
export const versionsWithin = ({ gte, lt }: RangeOptions): RangeOptions => ({ gte: `V${gte}`, lt: `V${lt}` });
/** Everything that is kept for snapshots. */
export const VERSIONS: RangeOptions = prefix("V");
/** Of which key a version is. */
export const keyOfVersion = (key: Key): Key => key.slice(1, -9);
/** The snapshot's id in a version's key. */
export const idOfVersion = (key: Key): number => readU64(key, key.length - 8);
/** → ForgettingRecord; none: no version is useless. */
export const FORGETTING: Key = "W";

/** datanode id → RegisterDatanodeEdit, the last one of that datanode */
export const datanodeKey = (id: number): Key => `M${u32(id)}`;
/** All datanodes ever registered, by id. */
export const DATANODES: RangeOptions = prefix("M");

/** datanode id → AdministerDatanodeEdit, the last one of that datanode; none: it is in service */
export const dutyKey = (id: number): Key => `O${u32(id)}`;
/** All datanodes that are not in service, by id. */
export const DUTIES: RangeOptions = prefix("O");
