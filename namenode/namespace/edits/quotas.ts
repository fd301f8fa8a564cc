import type { AdoptEdit, CountQuotaEdit, Inode, SetQuotaEdit } from "../../../proto/gen/types.js";
import { QuotaRecord } from "../../../proto/gen/types.js";
import { QUOTA_COUNT, quotaKey } from "../keys.js";
import { hasQuotas, readQuota, type Usage, upwards } from "../quotas.js";
import { readDentry, readInode } from "../records.js";
import { isDirectory } from "../types.js";
import type { Change } from "./change.js";

/** What is below a file or an empty directory. */
export const NOTHING_BELOW: Usage = { names: 0, bytes: 0 };

/** A name of an inode has come into a directory. The caller stores the inode, which may be charged to the directory now. */
export function arrive(change: Change, dir: Inode, inode: Inode, below: Usage): void {
  if (isDirectory(inode)) {
    inode.parent = dir.ino;
    charge(change, dir.ino, 1 + below.names, below.bytes);
  } else if (inode.parent === 0) {
    inode.parent = dir.ino;
    charge(change, dir.ino, 1, inode.allocated);
  } else charge(change, dir.ino, 1, 0);
}

/** A name of an inode has gone from a directory. The caller stores the inode, which is charged to the directory no more. */
export function leave(change: Change, dir: Inode, inode: Inode, below: Usage): void {
  if (isDirectory(inode)) charge(change, dir.ino, -1 - below.names, -below.bytes);
  else if (inode.parent === dir.ino) {
    inode.parent = 0;
    charge(change, dir.ino, -1, -inode.allocated);
  } else charge(change, dir.ino, -1, 0);
}

/** A file has more bytes, or with a negative number fewer. */
export function chargeBytes(change: Change, inode: Inode, bytes: number): void {
  if (inode.parent !== 0) charge(change, inode.parent, 0, bytes);
}

function charge({ kv }: Change, dir: number, names: number, bytes: number): void {
  if ((names === 0 && bytes === 0) || !hasQuotas(kv)) return;
  for (const at of upwards(kv, dir)) {
    const quota = readQuota(kv, at);
    if (quota === undefined) continue;
    quota.usedNames += names;
    quota.usedBytes += bytes;
    kv.put(quotaKey(at), QuotaRecord.encode(quota).finish());
  }
}

/** Sets, changes or with two zeros removes the quota of a directory. What a new one has used is to be counted. */
export function setQuota(change: Change, { dir, names, bytes }: SetQuotaEdit): void {
  if (names === 0 && bytes === 0) return dropQuota(change, dir);
  const { kv, index } = change;
  const known = readQuota(kv, dir);
  if (known === undefined) countQuotas(change, 1);
  const { usedNames, usedBytes, since, counted } = known ?? {
    usedNames: 0,
    usedBytes: 0,
    since: index,
    counted: false,
  };
  kv.put(quotaKey(dir), QuotaRecord.encode({ names, bytes, usedNames, usedBytes, since, counted }).finish());
}

/** A directory has no quota any more. */
export function dropQuota(change: Change, dir: number): void {
  const { kv } = change;
  if (!hasQuotas(kv) || readQuota(kv, dir) === undefined) return;
  kv.delete(quotaKey(dir));
  countQuotas(change, -1);
}

/** The usage of a quota was wrong by what was counted, whatever has changed since. It is right from now on. */
export function countQuota({ kv }: Change, { dir, since, names, bytes }: CountQuotaEdit): void {
  const quota = readQuota(kv, dir);
  if (quota?.since !== since) return;
  quota.usedNames += names;
  quota.usedBytes += bytes;
  quota.counted = true;
  kv.put(quotaKey(dir), QuotaRecord.encode(quota).finish());
}

/** Files that are charged to no directory are charged to this one, if they still have these names in it. */
export function adopt(change: Change, { dir, names }: AdoptEdit): void {
  const { kv } = change;
  for (const name of names) {
    const dentry = readDentry(kv, dir, name);
    const inode = dentry && readInode(kv, dentry.ino);
    if (inode === undefined || isDirectory(inode) || inode.parent !== 0) continue;
    inode.parent = dir;
    change.store(inode);
    charge(change, dir, 0, inode.allocated);
  }
}

function countQuotas({ kv }: Change, more: number): void {
  const old = kv.get(QUOTA_COUNT);
  const count = (old === undefined ? 0 : Buffer.from(old).readUInt32BE()) + more;
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(count);
  if (count === 0) kv.delete(QUOTA_COUNT);
  else kv.put(QUOTA_COUNT, bytes);
}
