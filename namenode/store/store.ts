import type { KeyValue } from "./kv.js";

/**
 * The store as it was between two edits, whatever is changed meanwhile. While it is open, no space that is freed on the disk is
 * used again: it should not be open for long.
 */
export interface Snapshot extends Pick<KeyValue, "get" | "range"> {
  /** Index of the last edit in it. */
  readonly index: number;
  /** Reads after it fail (ECANCELED), as they do after the end of the store. */
  close(): void;
}

/** The state of a namenode: a KeyValue that gets to the disk by itself, some time later, together with how far it had come. */
export interface Store extends KeyValue {
  /** Index of the last edit in the store when it was opened: a start replays the journal's edits after it. */
  readonly appliedIndex: number;
  /**
   * Says that every put and delete of the edit `index` has been made. Edits are applied synchronously: what reaches the
   * disk is the state between two edits, never within one.
   */
  setIndex(index: number): void;
  /** Whether another edit may be applied. False: what waits for the disk has reached its bound. */
  readonly hasRoom: boolean;
  /** Resolves when there is room. Rejects (ENOSPC, EIO) while the disk refuses to take what is waiting. */
  waitForRoom(): Promise<void>;
  /** Called with the index of an edit when it and all before it are on the disk here, so that no journal is needed for them. */
  onDurable(listener: (index: number) => void): void;
  /** Puts everything so far on the disk. Rejects (ENOSPC, EIO) when that failed; nothing is lost, and it is tried again. */
  flush(): Promise<void>;
  /** The store with every edit so far, and possibly some more, kept as it is. Rejects (ENOSPC, EIO) when the flush for it failed. */
  snapshot(): Promise<Snapshot>;
  /** Flushes and closes. The store is closed in any case; rejects when the flush failed. */
  close(): Promise<void>;
}
