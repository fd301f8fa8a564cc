// The records of the store as what they are: reads decode, writes encode.
import { invariant } from "../../common/errors.js";
import {
  BlockRecord,
  CallRecord,
  ClusterRecord,
  DentryRecord,
  type Extent,
  ExtentRecord,
  InlineRecord,
  Inode,
  type InodeInit,
} from "../../proto/gen/types.js";
import type { Key, KeyValue } from "../store/kv.js";
import { blockKey, CLUSTER, callKey, dentryKey, extentKey, inlineKey, inodeKey, offsetOfExtent } from "./keys.js";

/** The inode with a number; undefined when there is none (any more). */
export function readInode(kv: Pick<KeyValue, "get">, ino: number): Inode | undefined {
  const bytes = kv.get(inodeKey(ino));
  return bytes && Inode.decode(bytes);
}

/** Stores an inode under its number. */
export function writeInode(kv: KeyValue, inode: InodeInit & { ino: number }): void {
  kv.put(inodeKey(inode.ino), Inode.encode(inode).finish());
}

/** What a name in a directory stands for. */
export function readDentry(kv: KeyValue, dir: number, name: Uint8Array): DentryRecord | undefined {
  const bytes = kv.get(dentryKey(dir, name));
  return bytes && DentryRecord.decode(bytes);
}

/** Gives a name in a directory to an inode. `mode` is the inode's: the type bits are kept beside the number. */
export function writeDentry(kv: KeyValue, dir: number, name: Uint8Array, inode: { ino: number; mode: number }): void {
  kv.put(dentryKey(dir, name), DentryRecord.encode({ ino: inode.ino, type: inode.mode & 0o170000 }).finish());
}

/** The extent of an entry of the store. */
export function extentOf(key: Key, value: Uint8Array): Extent {
  const { length, block, blockOffset } = ExtentRecord.decode(value);
  return { offset: offsetOfExtent(key), length, block, blockOffset };
}

/** Stores an extent of a file under its offset. */
export function writeExtent(kv: KeyValue, ino: number, extent: Extent): void {
  const { length, block, blockOffset } = extent;
  kv.put(extentKey(ino, extent.offset), ExtentRecord.encode({ length, block, blockOffset }).finish());
}

/** The record of a block that some file refers to. */
export function readBlock(kv: KeyValue, id: number): BlockRecord | undefined {
  const bytes = kv.get(blockKey(id));
  return bytes && BlockRecord.decode(bytes);
}

/** The bytes of an inline block that some file refers to, as its writer sent them. */
export function readInline(kv: KeyValue, id: number): InlineRecord | undefined {
  const bytes = kv.get(inlineKey(id));
  return bytes && InlineRecord.decode(bytes);
}

/** What a call answered, if it was done before and its record is still kept. */
export function readCall(kv: KeyValue, session: number, sequence: number): CallRecord | undefined {
  const bytes = kv.get(callKey(session, sequence));
  return bytes && CallRecord.decode(bytes);
}

/** What was decoded last of the cluster's record: every edit reads it several times. A store's values never change, they are replaced. */
let lastCluster: { readonly bytes: Uint8Array; readonly record: Readonly<ClusterRecord> } | undefined;

/** The cluster's counters. The store must have been formatted. */
export function readCluster(kv: Pick<KeyValue, "get">): Readonly<ClusterRecord> {
  const bytes = kv.get(CLUSTER);
  invariant(bytes !== undefined, "the store has a cluster record");
  if (lastCluster?.bytes !== bytes) lastCluster = { bytes, record: ClusterRecord.decode(bytes) };
  return lastCluster.record;
}
