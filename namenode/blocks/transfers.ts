import type { Clock } from "../../common/clock.js";
import { LINK_HIGH_WATER } from "../../common/limits.js";
import { DatanodeCommands } from "../../proto/gen/services.js";
import type { Block } from "../../proto/gen/types.js";
import type { Datanode } from "./datanode.js";
import type { BlockSettings } from "./settings.js";

/**
 * What a block is copied for. repair: it has too few replicas. evacuate: too few on datanodes that stay. spread: all are on
 * one rack. balance: a datanode is fuller than others.
 */
export type Purpose = "repair" | "evacuate" | "spread" | "balance";

/** A block on its way from one datanode to others. */
export interface Transfer {
  readonly block: number;
  readonly purpose: Purpose;
  readonly source: number;
  /** Those that have not reported it yet. */
  readonly targets: Set<number>;
  /** Monotonic ms. */
  readonly deadline: number;
}

/** The re-replications under way: bounded in the whole cluster and per datanode, each with a deadline. */
export class Transfers {
  readonly #clock: Clock;
  readonly #settings: BlockSettings;
  /** By block; in the order of their deadlines. */
  readonly #transfers = new Map<number, Transfer>();
  readonly #busy = new Map<number, number>();

  constructor(clock: Clock, settings: BlockSettings) {
    this.#clock = clock;
    this.#settings = settings;
  }

  get size(): number {
    return this.#transfers.size;
  }

  /** Whether no more may be started. */
  get full(): boolean {
    return this.#transfers.size >= this.#settings.maxTransfers;
  }

  has(block: number): boolean {
    return this.#transfers.has(block);
  }

  /** Transfers that a datanode sends or receives. */
  load(datanode: number): number {
    return this.#busy.get(datanode) ?? 0;
  }

  /** Whether a datanode may send or receive one more. */
  hasSlot(datanode: number): boolean {
    return this.load(datanode) < this.#settings.maxTransfersPerDatanode;
  }

  /** Commands a copy. False: not now, the source has enough to do or is not connected. */
  start(block: Block, source: Datanode, targets: readonly Datanode[], purpose: Purpose): boolean {
    const link = source.commands;
    if (link === undefined || !this.hasSlot(source.id) || link.bufferedBytes > LINK_HIGH_WATER) return false;
    link.push(DatanodeCommands.replicate, { block, targets: targets.map((d) => d.address) });
    const deadline = this.#clock.monotonic() + this.#settings.transferTimeoutMs;
    const ids = targets.map((d) => d.id);
    this.#transfers.set(block.id, { block: block.id, purpose, source: source.id, targets: new Set(ids), deadline });
    for (const id of [source.id, ...ids]) this.#count(id, 1);
    return true;
  }

  /** A datanode has the block now. @returns the purpose of the transfer that this completed, if any. */
  arrived(block: number, datanode: number): Purpose | undefined {
    const transfer = this.#transfers.get(block);
    if (!transfer?.targets.delete(datanode)) return undefined;
    this.#count(datanode, -1);
    if (transfer.targets.size > 0) return undefined;
    this.cancel(block);
    return transfer.purpose;
  }

  /** Gives a transfer up; the block is tried again when the monitor comes to it. */
  cancel(block: number): void {
    const transfer = this.#transfers.get(block);
    if (transfer === undefined) return;
    this.#transfers.delete(block);
    for (const id of [transfer.source, ...transfer.targets]) this.#count(id, -1);
  }

  /** Gives up those that a datanode takes part in. */
  cancelOf(datanode: number): void {
    for (const { block, source, targets } of [...this.#transfers.values()])
      if (source === datanode || targets.has(datanode)) this.cancel(block);
  }

  /** Takes out those whose deadline has passed. */
  expire(): Transfer[] {
    const now = this.#clock.monotonic();
    const expired: Transfer[] = [];
    for (const transfer of this.#transfers.values()) {
      if (transfer.deadline > now) break;
      expired.push(transfer);
    }
    for (const { block } of expired) this.cancel(block);
    return expired;
  }

  #count(datanode: number, by: 1 | -1): void {
    const n = this.load(datanode) + by;
    if (n === 0) this.#busy.delete(datanode);
    else this.#busy.set(datanode, n);
  }
}
