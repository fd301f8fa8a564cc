import type { Clock } from "../common/clock.js";
import { CairnError, invariant } from "../common/errors.js";
import { Edit } from "../proto/gen/types.js";
import type { Applied, Editor, Effects } from "./contract.js";
import { apply } from "./namespace/apply.js";
import type { Journal } from "./store/journal.js";
import type { KeyValue } from "./store/kv.js";
import type { Store } from "./store/store.js";

export interface EditorOptions {
  store: Store;
  journal: Journal;
  clock: Clock;
  /** Whether a reply waits until its edit is on the disk, not only in the kernel's hands. */
  syncReplies?: boolean;
}

/** An edit with all fields, so that all edits that are encoded have one shape: V8 looks for what is not there among all shapes it has seen. */
const EMPTY = Edit.decode(Edit.encode({ time: { sec: 0, nsec: 0 } }).finish());

/**
 * The Editor over a store and a journal. An edit is encoded once, and what is applied is what was encoded, so that a replay
 * does the very same.
 */
export class JournaledEditor implements Editor {
  readonly #store: Store;
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #syncReplies: boolean;
  readonly #listeners: ((edit: Edit, effects: Effects) => void)[] = [];
  #lastIndex: number;
  #state: "replaying" | "open" | "closed" = "replaying";

  constructor({ store, journal, clock, syncReplies = false }: EditorOptions) {
    this.#store = store;
    this.#journal = journal;
    this.#clock = clock;
    this.#syncReplies = syncReplies;
    this.#lastIndex = store.appliedIndex;
  }

  get kv(): KeyValue {
    return this.#store;
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  get syncedIndex(): number {
    return this.#journal.syncedIndex;
  }

  /** Brings the store up to the journal's last edit. Before anything else. @returns how many edits were replayed */
  async replay(): Promise<number> {
    const first = this.#lastIndex + 1;
    for (const { index, record } of this.#journal.read(first)) {
      if (!this.#store.hasRoom) await this.#store.waitForRoom();
      invariant(index === this.#lastIndex + 1, () => `edit ${index} of the journal follows edit ${this.#lastIndex}`);
      this.#apply(Edit.decode(record));
    }
    this.#state = "open";
    return this.#lastIndex + 1 - first;
  }

  /** Undefined when an edit may be made now; else resolves when one may. Rejects (ENOSPC, EIO) while the disk is full or ill. */
  room(): Promise<void> | undefined {
    return this.#hasRoom ? undefined : this.#waitForRoom();
  }

  apply(op: Parameters<Editor["apply"]>[0]): Applied {
    invariant(this.#state !== "replaying", "edits are made after the replay");
    if (this.#state === "closed") throw new CairnError("ECANCELED", "the namenode is shutting down");
    if (!this.#hasRoom)
      throw new CairnError("ENOSPC", "the namenode's disk has no room for another edit at the moment");
    const index = this.#lastIndex + 1;
    const record = Edit.encode({ ...EMPTY, ...op, index, time: op.time ?? this.#clock.timestamp() }).finish();
    const effects = this.#apply(Edit.decode(record));
    this.#journal.append(index, record);
    return { index, effects };
  }

  appended(index: number): Promise<void> {
    return this.#syncReplies ? this.#journal.synced(index) : this.#journal.appended(index);
  }

  synced(index: number): Promise<void> {
    return this.#journal.synced(index);
  }

  onApplied(listener: (edit: Edit, effects: Effects) => void): void {
    this.#listeners.push(listener);
  }

  /** Called with syncedIndex whenever it has grown. */
  onSynced(listener: (index: number) => void): void {
    this.#journal.onSynced(listener);
  }

  /** No further edits: whoever still tries to make one is refused (ECANCELED). */
  close(): void {
    this.#state = "closed";
  }

  get #hasRoom(): boolean {
    return this.#store.hasRoom && this.#journal.hasRoom;
  }

  async #waitForRoom(): Promise<void> {
    // Whoever waited before may have used the room up.
    while (!this.#hasRoom) await Promise.all([this.#store.waitForRoom(), this.#journal.waitForRoom()]);
  }

  #apply(edit: Edit): Effects {
    const effects = apply(edit, this.#store);
    this.#store.setIndex(edit.index);
    this.#lastIndex = edit.index;
    for (const listener of this.#listeners) listener(edit, effects);
    return effects;
  }
}
