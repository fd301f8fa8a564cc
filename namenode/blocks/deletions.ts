import type { Clock } from "../../common/clock.js";
import { LINK_HIGH_WATER } from "../../common/limits.js";
import { DatanodeCommands } from "../../proto/gen/services.js";
import type { Block } from "../../proto/gen/types.js";
import type { Editor } from "../contract.js";
import type { Datanode } from "./datanode.js";

/** Replicas waiting to be deleted, on all datanodes. What does not fit is found again by the next full reports. */
export const MAX_DELETIONS = 500_000;
/** Replicas in one Delete command. */
const BATCH = 1_000;
/** Replicas of Delete commands that a datanode has not confirmed. */
const MAX_SENT = 2_000;
/** A deletion not confirmed after this long is commanded again, ms. */
const CONFIRM_MS = 60_000;

interface Deletion {
  readonly block: Block;
  /** The last edit when it was decided: it waits until that is on the disk. */
  readonly index: number;
  /** When it was commanded, monotonic ms; undefined: not yet (on this connection). */
  sent: number | undefined;
}

/**
 * Replicas that are to go, until their datanodes confirm that they are gone. A replica in here is doomed: it counts for
 * nothing, whatever a report that was under way says of it, so that no other is deleted for the sake of it. None is commanded
 * before the edit that it follows from is on the disk: a namenode that loses its power, and that edit with it, still needs the bytes.
 */
export class Deletions {
  readonly #clock: Clock;
  readonly #edits: Pick<Editor, "lastIndex" | "syncedIndex">;
  /** datanode → block → deletion; the sent ones first, in the order of sending. */
  readonly #byDatanode = new Map<number, Map<number, Deletion>>();
  readonly #sent = new Map<number, number>();
  #size = 0;

  constructor(clock: Clock, edits: Pick<Editor, "lastIndex" | "syncedIndex">) {
    this.#clock = clock;
    this.#edits = edits;
  }

  /** Replicas waiting. */
  get size(): number {
    return this.#size;
  }

  /** Whether no more fit. */
  get full(): boolean {
    return this.#size >= MAX_DELETIONS;
  }

  /** Has a datanode delete a replica, as soon as it is connected. False: no room to remember it. */
  add(datanode: number, block: Block): boolean {
    let queue = this.#byDatanode.get(datanode);
    if (queue === undefined) {
      queue = new Map();
      this.#byDatanode.set(datanode, queue);
    }
    const known = queue.get(block.id);
    if (known?.block.generation === block.generation) return true;
    if (this.full) return false;
    if (known !== undefined) this.#drop(datanode, queue, known);
    queue.set(block.id, { block, index: this.#edits.lastIndex, sent: undefined });
    this.#size++;
    return true;
  }

  /** Whether a replica of the block on the datanode is doomed; of this generation, or of any. */
  dooms(datanode: number, block: number, generation?: number): boolean {
    const deletion = this.#byDatanode.get(datanode)?.get(block);
    return deletion !== undefined && (generation === undefined || deletion.block.generation === generation);
  }

  /** The datanode says that the replica is gone. */
  confirm(datanode: number, { id, generation }: Block): void {
    const queue = this.#byDatanode.get(datanode);
    const deletion = queue?.get(id);
    if (queue !== undefined && deletion?.block.generation === generation) this.#drop(datanode, queue, deletion);
  }

  /** The datanode has this replica: one of an older generation, which it replaced, need not be deleted any more. */
  replaced(datanode: number, { id, generation }: Block): void {
    const queue = this.#byDatanode.get(datanode);
    const deletion = queue?.get(id);
    if (queue !== undefined && deletion !== undefined && deletion.block.generation < generation)
      this.#drop(datanode, queue, deletion);
  }

  /** Sends a datanode what it has not been sent, as far as that may be done yet, and it may have under way. */
  flush(datanode: Datanode): void {
    const queue = this.#byDatanode.get(datanode.id);
    const link = datanode.commands;
    if (queue === undefined || link === undefined) return;
    const late = this.#clock.monotonic() - CONFIRM_MS;
    const { syncedIndex } = this.#edits;
    let room = MAX_SENT - (this.#sent.get(datanode.id) ?? 0);
    let batch: Block[] = [];
    const send = () => {
      if (batch.length > 0) link.push(DatanodeCommands.delete, { blocks: batch });
      batch = [];
    };
    for (const deletion of queue.values()) {
      if (link.bufferedBytes > LINK_HIGH_WATER || deletion.index > syncedIndex) break;
      if (deletion.sent === undefined) {
        if (room-- <= 0) break;
        this.#sent.set(datanode.id, (this.#sent.get(datanode.id) ?? 0) + 1);
      } else if (deletion.sent > late) continue;
      deletion.sent = this.#clock.monotonic();
      if (batch.push(deletion.block) >= BATCH) send();
    }
    send();
  }

  /** A datanode connected: what was commanded before may have been lost with the old connection. */
  reconnected(datanode: number): void {
    this.#sent.delete(datanode);
    for (const deletion of this.#byDatanode.get(datanode)?.values() ?? []) deletion.sent = undefined;
  }

  /** A datanode is dead: when it returns, its reports show what it still has. */
  forget(datanode: number): void {
    this.#size -= this.#byDatanode.get(datanode)?.size ?? 0;
    this.#byDatanode.delete(datanode);
    this.#sent.delete(datanode);
  }

  #drop(datanode: number, queue: Map<number, Deletion>, { block, sent }: Deletion): void {
    queue.delete(block.id);
    this.#size--;
    if (sent !== undefined) this.#sent.set(datanode, this.#sent.get(datanode)! - 1);
    if (queue.size === 0) this.forget(datanode);
  }
}
