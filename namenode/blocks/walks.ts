import type { Clock, Timer } from "../../common/clock.js";
import type { Datanode } from "./datanode.js";
import { UNDER_LEVELS } from "./repair-queue.js";
import type { ReplicaMap } from "./replica-map.js";

/** Blocks looked at in one turn of the event loop. */
const SLICE = 500;
/** Pause when the store takes no more, ms. */
const FULL_PAUSE_MS = 50;

interface Walk {
  readonly datanode: Datanode;
  next: number;
  short: number;
  readonly done: (short: number) => void;
}

/**
 * Looks at all blocks of a datanode whose replicas began or ceased to count, and puts them right in the repair queue:
 * a slice per turn of the event loop, one datanode after the other.
 */
export class Walks {
  readonly #clock: Clock;
  readonly #map: ReplicaMap;
  readonly #room: () => Promise<void> | undefined;
  readonly #walks = new Map<number, Walk>();
  #timer: Timer | undefined;

  /** `room`: undefined when the store takes more. */
  constructor(clock: Clock, map: ReplicaMap, room: () => Promise<void> | undefined) {
    this.#clock = clock;
    this.#map = map;
    this.#room = room;
  }

  /** Whether any is under way: the queue does not show everything yet. */
  get busy(): boolean {
    return this.#walks.size > 0;
  }

  /** Starts (or starts again) with a datanode. `done` is told how many of its blocks have too few good replicas. */
  start(datanode: Datanode, done: (short: number) => void): void {
    this.#walks.delete(datanode.id);
    this.#walks.set(datanode.id, { datanode, next: 0, short: 0, done });
    this.#schedule();
  }

  /** Stops for good. */
  close(): void {
    this.#timer?.clear();
    this.#walks.clear();
  }

  #schedule(ms = 0): void {
    this.#timer ??= this.#clock.after(ms, () => {
      this.#timer = undefined;
      const full = this.#room();
      // Waiting for room may fail; then, too, it is tried again.
      full?.catch(() => undefined);
      if (full === undefined) this.#slice();
      if (this.busy) this.#schedule(full === undefined ? 0 : FULL_PAUSE_MS);
    });
  }

  #slice(): void {
    const [walk] = this.#walks.values();
    if (walk === undefined) return;
    const page = this.#map.page(walk.datanode.id, walk.next, SLICE);
    for (const { id } of page) {
      const level = this.#map.refresh(id)?.level;
      if (level !== undefined && level < UNDER_LEVELS) walk.short++;
      walk.next = id + 1;
    }
    if (page.length === SLICE) return;
    this.#walks.delete(walk.datanode.id);
    walk.done(walk.short);
  }
}
