import { KIB, MAX_MESSAGE } from "../../common/limits.js";

/** Largest record, bytes: an edit is hardly larger than the message that asked for it. */
export const MAX_RECORD = MAX_MESSAGE + 64 * KIB;
/** How long an appended record may wait for the sync that puts it on the disk, ms. A setting; 0: no longer than the sync takes. */
export const SYNC_INTERVAL_MS = 100;

export interface JournalEntry {
  index: number;
  record: Uint8Array;
}

/**
 * The edits in order: the truth about what the store does not have on the disk yet. Indexes have no gaps.
 * A journal that cannot be written or synced stops the process (InvariantError): better down than wrong.
 */
export interface Journal {
  /** Index of the last record; of the store's last edit when there is none. */
  readonly lastIndex: number;
  /** Index up to which records are on the disk. */
  readonly syncedIndex: number;
  /** Whether another record may be appended. False: the disk is full, or the next piece of it is not prepared yet. */
  readonly hasRoom: boolean;
  /** Resolves when there is room. Rejects (ENOSPC, EIO) while the disk refuses to give some. */
  waitForRoom(): Promise<void>;
  /**
   * Adds a record. `index` is lastIndex + 1. It is copied and written at the end of this turn of the event loop together
   * with the others of the turn. Only while hasRoom.
   */
  append(index: number, record: Uint8Array): void;
  /** Resolves when the record is written: in the kernel's hands, safe from the death of this process. */
  appended(index: number): Promise<void>;
  /** Resolves when the record is on the disk. Starts a sync, or joins the next one when one is under way. */
  synced(index: number): Promise<void>;
  /** Called with syncedIndex whenever it has grown. */
  onSynced(listener: (index: number) => void): void;
  /**
   * The records from `fromIndex` on that have been written when the iteration begins. Each is valid until the next is
   * asked for. Throws EIO when one of them is not there any more or cannot be read.
   */
  read(fromIndex: number): Iterable<JournalEntry>;
  /** Lets records below an index go: the store has them on the disk. Some may stay for a while. */
  trim(belowIndex: number): Promise<void>;
  /** Writes, syncs and closes. */
  close(): Promise<void>;
}
