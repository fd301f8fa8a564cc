import type { Clock } from "../../common/clock.js";
import type { Events } from "./events.js";

/** Blocks with a corrupt replica whose replacement will be announced; of further ones it is not. */
const MAX_MENDING = 1_000;

/** What the repairs stand at, once per tick of the monitor. */
export interface RepairState {
  missing: number;
  underReplicated: number;
  /** Transfers under way. */
  transfers: number;
  /** Nothing more can be started now. */
  idle: boolean;
  /** The queue does not show everything yet. */
  walking: boolean;
}

/** Tells people of repairs: one event when a lot of them begins and one when it is finished, not one per block. */
export class RepairLog {
  readonly #clock: Clock;
  readonly #events: Events;
  readonly #mending = new Set<number>();
  #lot: { started: number; announced: boolean; copied: number } | undefined;
  #missing = 0;

  constructor(clock: Clock, events: Events) {
    this.#clock = clock;
    this.#events = events;
  }

  /** A dead datanode's blocks have been looked through. */
  lost(name: string, short: number): void {
    if (short === 0) return;
    this.#begin().announced = true;
    this.#events.add("warning", `re-replicating ${blocks(short)} of ${name}`);
  }

  /** A transfer was commanded. */
  started(): void {
    this.#begin();
  }

  /** A block was copied to as many datanodes as were chosen for it. */
  copied(block: number, name: string): void {
    this.#begin().copied++;
    if (this.#mending.delete(block))
      this.#events.add("info", `corrupt replica of block ${block} replaced by a good one on ${name}`);
  }

  /** A corrupt replica was found. */
  corrupt(block: number, name: string, why: string): void {
    if (this.#mending.size < MAX_MENDING) this.#mending.add(block);
    this.#events.add("warning", `corrupt replica of block ${block} found on ${name}: ${why}`);
  }

  /** A block is no longer in use. */
  freed(block: number): void {
    this.#mending.delete(block);
  }

  /** Called every tick. */
  tick({ missing, underReplicated, transfers, idle, walking }: RepairState): void {
    if (walking) return;
    if (missing > this.#missing)
      this.#events.add("error", `${blocks(missing)} missing: no datanode that is alive has a good replica`);
    else if (missing === 0 && this.#missing > 0) this.#events.add("info", "no block is missing any more");
    this.#missing = missing;
    const lot = this.#lot;
    if (lot === undefined) return;
    if (!lot.announced) this.#events.add("info", `re-replicating ${blocks(Math.max(underReplicated, lot.copied, 1))}`);
    lot.announced = true;
    if (transfers > 0 || !idle) return;
    this.#lot = undefined;
    const seconds = Math.round((this.#clock.monotonic() - lot.started) / 100) / 10;
    const rest =
      underReplicated === 0 ? "" : `; ${blocks(underReplicated)} still short of replicas, with no place to put them`;
    const severity = underReplicated === 0 ? "info" : "warning";
    this.#events.add(severity, `re-replication finished: ${blocks(lot.copied)} in ${seconds} s${rest}`);
  }

  #begin(): { started: number; announced: boolean; copied: number } {
    this.#lot ??= { started: this.#clock.monotonic(), announced: false, copied: 0 };
    return this.#lot;
  }
}

function blocks(n: number): string {
  return n === 1 ? "1 block" : `${n} blocks`;
}
