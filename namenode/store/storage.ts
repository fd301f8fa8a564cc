import { join } from "node:path";
import type { Clock } from "../../common/clock.js";
import type { Logger } from "../../common/log.js";
import { FileJournal } from "./file-journal.js";
import type { Journal } from "./journal.js";
import { openLmdbStore } from "./lmdb.js";
import { FolderLock } from "./lock.js";
import type { Store } from "./store.js";

export interface StorageOptions {
  /** The data folder of a namenode; made when missing. */
  folder: string;
  clock: Clock;
  log: Logger;
  /** Override of SYNC_INTERVAL_MS, ms. */
  syncIntervalMs?: number;
}

/** A namenode's data folder. */
export interface Storage {
  readonly store: Store;
  readonly journal: Journal;
  /** Flushes, syncs and closes everything. Nothing may be under way in either. */
  close(): Promise<void>;
}

/**
 * Opens a namenode's data folder: the lock, the store, and the journal, which is trimmed as the store gets to the disk. The
 * edits after store.appliedIndex, which the journal has, are for the caller to apply. Throws EBUSY when another process
 * has it open, EIO when it is damaged, ENOSPC.
 */
export async function openStorage({ folder, clock, log, syncIntervalMs }: StorageOptions): Promise<Storage> {
  const lock = await FolderLock.take(folder);
  let store: Store | undefined;
  let journal: FileJournal | undefined;
  const close = async () => {
    // The lock goes last, and in any case.
    try {
      await store?.close();
    } finally {
      try {
        await journal?.close();
      } finally {
        await lock.release();
      }
    }
  };
  try {
    store = openLmdbStore({ folder: join(folder, "lmdb"), clock, log });
    journal = await FileJournal.open({
      folder: join(folder, "journal"),
      after: store.appliedIndex,
      clock,
      log,
      ...(syncIntervalMs === undefined ? {} : { syncIntervalMs }),
    });
    const opened = { store, journal, close };
    store.onDurable((index) => void opened.journal.trim(index + 1));
    return opened;
  } catch (err) {
    await close();
    throw err;
  }
}
