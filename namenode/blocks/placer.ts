import type { Clock } from "../../common/clock.js";
import { CairnError } from "../../common/errors.js";
import type { DatanodeAddress } from "../../proto/gen/types.js";
import type { Datanode } from "./datanode.js";
import type { Datanodes } from "./datanodes.js";
import { type Candidate, choosePlaces } from "./placement.js";

/** Chooses among the datanodes that are there now. */
export class Placer {
  readonly #datanodes: Datanodes;
  readonly #clock: Clock;
  readonly #random: () => number;

  /** `random` gives numbers in [0, 1). */
  constructor(datanodes: Datanodes, clock: Clock, random: () => number) {
    this.#datanodes = datanodes;
    this.#clock = clock;
    this.#random = random;
  }

  /** BlockManager.place: datanodes for a new block, which are promised to have room for it. */
  place(request: { replicas: number; size: number; host: string; exclude: readonly number[] }): DatanodeAddress[] {
    const { replicas, size, host } = request;
    const live = this.#datanodes.takingBlocks();
    if (live.length === 0)
      throw new CairnError("EAGAIN", "no place for a new block: no live datanode in service is connected");
    const now = this.#clock.monotonic();
    const exclude = new Set(request.exclude);
    // Promises steer: a datanode whose room is promised away is taken when there is no other. It has the last word itself.
    const roomy = live.filter((d) => d.free >= size && d.free > 0);
    if (roomy.length === 0)
      throw new CairnError(
        "ENOSPC",
        `no place for a new block: none of ${live.length} live datanodes has ${size} bytes free`,
      );
    const open = roomy.filter((d) => !exclude.has(d.id));
    if (open.length === 0)
      throw new CairnError("EAGAIN", "no place for a new block: the writer excluded every live datanode with room");
    const unpromised = open.filter((d) => d.room(now) >= size);
    const candidates = (unpromised.length > 0 ? unpromised : open).map((d) => candidate(d, now));
    const chosen = choosePlaces(candidates, replicas, [], host, this.#random);
    return chosen.map(({ id }) => {
      const datanode = this.#datanodes.get(id)!;
      datanode.promises.make(size, now);
      return datanode.address;
    });
  }

  /**
   * Places for up to `count` more replicas of a block that has some, among the datanodes that `may` take one.
   * @param size of the block, bytes
   */
  spread(existing: readonly Datanode[], count: number, size: number, may: (d: Datanode) => boolean): Datanode[] {
    const now = this.#clock.monotonic();
    const candidates = this.#datanodes
      .takingBlocks()
      .filter((d) => d.room(now) >= size && d.room(now) > 0 && may(d))
      .map((d) => candidate(d, now));
    return choosePlaces(candidates, count, existing, undefined, this.#random).map((c) => this.#datanodes.get(c.id)!);
  }

  /** The datanodes in the order in which a reader on `host` should try them: live first, then near; else by chance. */
  nearest(datanodes: readonly Datanode[], host: string, doubted: (d: Datanode) => boolean): Datanode[] {
    if (datanodes.length < 2) return [...datanodes];
    let rack: string | undefined;
    for (const d of this.#datanodes.live()) if (d.host === host) rack = d.rack;
    const cost = (d: Datanode) =>
      (doubted(d) ? 8 : 0) + (d.state === "live" ? 0 : 4) + (d.host === host ? 0 : d.rack === rack ? 1 : 2);
    return datanodes
      .map((d) => ({ d, cost: cost(d) + this.#random() * 0.99 }))
      .sort((a, b) => a.cost - b.cost)
      .map(({ d }) => d);
  }
}

function candidate(d: Datanode, now: number): Candidate {
  return { id: d.id, host: d.host, rack: d.rack, room: Math.max(1, d.room(now)), writers: d.writers };
}
