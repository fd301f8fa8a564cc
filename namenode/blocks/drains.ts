import type { Clock, Timer } from "../../common/clock.js";
import { Duty } from "../../proto/gen/types.js";
import type { Datanode } from "./datanode.js";
import type { Datanodes } from "./datanodes.js";
import type { ReplicaMap } from "./replica-map.js";

/** Blocks looked at in one turn of the event loop. */
const SLICE = 500;
/** Pause between two slices, ms: counting takes a small part of the processor, whatever a datanode has. */
const SLICE_PAUSE_MS = 20;
/** Pause between two counts, ms; after a long one, so many times as long as it took. */
const PAUSE_MS = 2_000;
const PAUSE_FACTOR = 2;

/** What the service of a datanode is called, as DatanodeStatus has it. */
export type Service = "in service" | "decommissioning" | "decommissioned" | "entering maintenance" | "in maintenance";

interface Drain {
  readonly duty: Duty;
  /** Blocks for which the datanode was still needed when they were last counted; undefined: not counted yet. */
  needed: number | undefined;
  /** Where the count that is under way has come to, and what it has found. */
  next: number;
  found: number;
  began: number;
  /** When the next slice is due, monotonic ms. */
  due: number;
}

/**
 * Watches datanodes that are to leave, for good or for a while: counts, again and again, the blocks that have too few
 * confirmed replicas elsewhere. When there are none, the machine may be switched off.
 */
export class Drains {
  readonly #clock: Clock;
  readonly #datanodes: Datanodes;
  readonly #map: ReplicaMap;
  readonly #onDrained: (datanode: Datanode, service: Service) => void;
  readonly #drains = new Map<number, Drain>();
  #timer: Timer | undefined;

  /** @param onDrained told when a datanode is needed for nothing any more */
  constructor(
    clock: Clock,
    datanodes: Datanodes,
    map: ReplicaMap,
    onDrained: (datanode: Datanode, service: Service) => void,
  ) {
    this.#clock = clock;
    this.#datanodes = datanodes;
    this.#map = map;
    this.#onDrained = onDrained;
  }

  /** Stops for good. */
  close(): void {
    this.#stop();
    this.#drains.clear();
  }

  /** What is wanted of a datanode may have changed: counting begins anew, or ends. */
  revalued({ id, duty }: Datanode): void {
    if (duty === Duty.IN_SERVICE) this.#drains.delete(id);
    else if (this.#drains.get(id)?.duty !== duty)
      this.#drains.set(id, { duty, needed: undefined, next: 0, found: 0, began: 0, due: 0 });
    if (this.#drains.size > 0) this.#timer ??= this.#clock.every(SLICE_PAUSE_MS, () => this.#tick());
    else this.#stop();
  }

  /** Blocks for which a datanode is still needed, as last counted; undefined: not counted yet, or it is in service. */
  needed(datanode: Datanode): number | undefined {
    return this.#drains.get(datanode.id)?.needed;
  }

  /** What the service of a datanode is called. Writers that are not done hold up a datanode that is there. */
  service(datanode: Datanode): Service {
    const { duty, state, writers } = datanode;
    if (duty === Duty.IN_SERVICE) return "in service";
    const done = this.needed(datanode) === 0 && (state === "dead" || writers === 0);
    if (duty === Duty.DECOMMISSION) return done ? "decommissioned" : "decommissioning";
    return done ? "in maintenance" : "entering maintenance";
  }

  #stop(): void {
    this.#timer?.clear();
    this.#timer = undefined;
  }

  #tick(): void {
    if (this.#drains.size === 0 || !this.#datanodes.settled) return;
    const now = this.#clock.monotonic();
    for (const [id, drain] of this.#drains) {
      if (drain.due > now) continue;
      const datanode = this.#datanodes.get(id);
      if (datanode !== undefined) this.#slice(datanode, drain, now);
      return; // one slice per tick, whatever their number; the others have their turn when this one pauses
    }
  }

  #slice(datanode: Datanode, drain: Drain, now: number): void {
    if (drain.next === 0) drain.began = now;
    const page = this.#map.page(datanode.id, drain.next, SLICE);
    for (const { id } of page) {
      const assessment = this.#map.assess(id);
      if (assessment !== undefined && assessment.sure.length < assessment.needed) drain.found++;
      drain.next = id + 1;
    }
    if (page.length === SLICE) return;
    const before = this.service(datanode);
    drain.needed = drain.found;
    drain.due = now + Math.max(PAUSE_MS, (now - drain.began) * PAUSE_FACTOR);
    drain.next = 0;
    drain.found = 0;
    const after = this.service(datanode);
    if (after !== before && drain.needed === 0) this.#onDrained(datanode, after);
  }
}
