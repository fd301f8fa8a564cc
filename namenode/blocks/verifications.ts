import type { Clock } from "../../common/clock.js";
import { DatanodeCommands } from "../../proto/gen/services.js";
import type { Block } from "../../proto/gen/types.js";
import type { Datanode } from "./datanode.js";

/** Replicas being verified at a time, on all datanodes; further complaints are dropped (readers repeat them). */
const MAX_VERIFICATIONS = 1_000;
/** A datanode that has not answered after this long may be asked again, ms. */
const ANSWER_MS = 60_000;

/** Replicas that a reader complained of, until their datanodes have read them again. */
export class Verifications {
  readonly #clock: Clock;
  /** "datanode block" → when it was asked, monotonic ms; in the order of asking. */
  readonly #asked = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Has a datanode verify a replica, unless it is at it already or is not connected. @returns whether it was asked. */
  request(datanode: Datanode, block: Block): boolean {
    const now = this.#clock.monotonic();
    for (const [key, asked] of this.#asked) {
      if (asked > now - ANSWER_MS) break;
      this.#asked.delete(key);
    }
    const link = datanode.commands;
    if (link === undefined || this.has(datanode.id, block.id) || this.#asked.size >= MAX_VERIFICATIONS) return false;
    this.#asked.set(key(datanode.id, block.id), now);
    link.push(DatanodeCommands.verify, { blocks: [block] });
    return true;
  }

  /** Whether a replica is in doubt. */
  has(datanode: number, block: number): boolean {
    return this.#asked.size > 0 && this.#asked.has(key(datanode, block));
  }

  /** The datanode has answered, or has no such replica. */
  settle(datanode: number, block: number): void {
    this.#asked.delete(key(datanode, block));
  }
}

const key = (datanode: number, block: number): string => `${datanode} ${block}`;
