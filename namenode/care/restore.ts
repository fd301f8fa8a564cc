import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../common/clock.js";
import { CairnError, wrap } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import { Edit } from "../../proto/gen/types.js";
import { apply } from "../namespace/apply.js";
import { indexOfRestore } from "../namespace/edits/cluster.js";
import { readCluster } from "../namespace/records.js";
import { decodeBatch } from "../store/batch.js";
import type { Key } from "../store/kv.js";
import { openLmdbStore } from "../store/lmdb.js";
import { FolderLock } from "../store/lock.js";
import { syncFolder } from "../store/segment.js";
import type { Store } from "../store/store.js";
import { type BackupEnd, type BackupHeader, FORMAT, Kind, readSections } from "./sections.js";

/** The entries of a store, from whatever keeps them: first what they are, then they. */
export interface Entries {
  readonly header: Pick<BackupHeader, "cluster" | "index">;
  /** Throws EBADMSG, at the end at the latest, unless all of them have come as they were. */
  readonly entries: AsyncIterable<[Key, Uint8Array]>;
}

/** What was restored. */
export interface Restored {
  cluster: string;
  /** Index of the last edit that it has. */
  index: number;
  entries: number;
}

/** The entries of a backup, checked on the way. EBADMSG: it is damaged; EINVAL: it is none, or of another format. */
export async function readBackup(source: AsyncIterable<Uint8Array>): Promise<Entries & { header: BackupHeader }> {
  const sections = readSections(source);
  const first = await sections.next();
  const notOurs = new CairnError("EINVAL", "this is not a backup of a namenode");
  if (first.done || first.value.kind !== Kind.HEADER) throw notOurs;
  const header = JSON.parse(first.value.payload.toString()) as BackupHeader;
  if (header.format !== FORMAT)
    throw new CairnError("EINVAL", `a backup of format ${header.format}; this version reads format ${FORMAT}`);
  return { header, entries: entriesOf(sections) };
}

async function* entriesOf(sections: ReturnType<typeof readSections>): AsyncGenerator<[Key, Uint8Array]> {
  let count = 0;
  for await (const { kind, payload } of sections) {
    if (kind === Kind.END) {
      const { entries } = JSON.parse(payload.toString()) as BackupEnd;
      if (entries === count) return;
      throw new CairnError("EBADMSG", `the backup has ${count} entries of ${entries}`);
    }
    if (kind !== Kind.ENTRIES) throw new CairnError("EBADMSG", `the backup has a section of the unknown kind ${kind}`);
    for (const [key, value] of decodeBatch(payload)) {
      if (value === null) throw new CairnError("EBADMSG", "the backup has an entry without a value");
      count++;
      yield [key, value];
    }
  }
  throw new CairnError("EBADMSG", "the backup is cut off: it has no end");
}

/**
 * Makes an empty store that of a backup, and takes it up again so that no number that was given out after the backup comes
 * twice. The store is not flushed.
 */
export async function fill(store: Store, { header, entries }: Entries, clock: Clock): Promise<Restored> {
  let count = 0;
  for await (const [key, value] of entries) {
    if (!store.hasRoom) await store.waitForRoom();
    store.put(key, value);
    count++;
  }
  const { cluster } = readCluster(store);
  if (cluster !== header.cluster)
    throw new CairnError("EBADMSG", `the backup says it is of cluster ${header.cluster}, and is of ${cluster}`);
  const index = indexOfRestore(header.index);
  const edit = Edit.encode({ index, time: clock.timestamp(), restore: { last: header.index } }).finish();
  apply(Edit.decode(edit), store);
  store.setIndex(index);
  return { cluster, index: header.index, entries: count };
}

/** Reads all entries, for what is wrong with them. */
export async function verify({ header, entries }: Entries): Promise<Restored> {
  let count = 0;
  for await (const _ of entries) count++;
  return { ...header, entries: count };
}

/**
 * Makes a namenode's data folder from entries. It appears complete or not at all. EEXIST: there is one already; EBUSY: a namenode
 * uses it.
 */
export async function restoreFolder(folder: string, source: Entries, clock: Clock, log: Logger): Promise<Restored> {
  const target = join(folder, "lmdb");
  const partial = join(folder, "restoring");
  await mkdir(folder, { recursive: true });
  const lock = await FolderLock.take(folder);
  try {
    const journal = join(folder, "journal");
    if (existsSync(target) || (existsSync(journal) && (await readdir(journal)).length > 0))
      throw new CairnError("EEXIST", "there is a namenode's store already; restore into another folder");
    await rm(partial, { recursive: true, force: true });
    const store = openLmdbStore({ folder: partial, clock, log });
    let restored: Restored;
    try {
      restored = await fill(store, source, clock);
    } finally {
      await store.close();
    }
    await rename(partial, target);
    await syncFolder(folder);
    return restored;
  } catch (err) {
    await rm(partial, { recursive: true, force: true });
    throw wrap(err, `restore into ${folder}`);
  } finally {
    await lock.release();
  }
}
