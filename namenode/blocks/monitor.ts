import type { Clock, Timer } from "../../common/clock.js";
import { invariant } from "../../common/errors.js";
import type { Block } from "../../proto/gen/types.js";
import type { BlockUse } from "../contract.js";
import { type Assessment, readable } from "./assess.js";
import type { Balancer } from "./balancer.js";
import type { Datanode } from "./datanode.js";
import type { Datanodes } from "./datanodes.js";
import type { Deletions } from "./deletions.js";
import { chooseSurplus } from "./placement.js";
import type { Placer } from "./placer.js";
import type { RepairLog } from "./repair-log.js";
import { EVACUATE, LAST_LEVEL, MISPLACED, MISSING, type RepairQueue, SURPLUS, UNDER_LEVELS } from "./repair-queue.js";
import type { ReplicaMap } from "./replica-map.js";
import type { Purpose, Transfers } from "./transfers.js";
import type { Verifications } from "./verifications.js";
import type { Walks } from "./walks.js";

/** How often the queue is looked at when nothing calls for it, ms. */
const TICK_MS = 1_000;
/** Shortest pause between two looks, ms. */
const KICK_MS = 20;
/** How often the replicas of missing blocks are read again, ms: a disk may have failed to read one only for a while. */
const REVIVE_MS = 300_000;
/** Blocks of one level looked at in one look. */
const PAGE = 256;

/** The levels whose blocks are to be copied, most urgent first: few readable replicas, then leaving ones, then one rack. */
const COPIES = [...Array.from({ length: UNDER_LEVELS - 1 }, (_, i) => i + 1), EVACUATE, MISPLACED];

/** What came of looking at a block. */
type Outcome =
  /** A transfer was started, a replica doomed, or the block moved in the queue. */
  | "acted"
  /** It could be repaired, but not now: all slots are taken. */
  | "limited"
  /** Nothing can be done for now. */
  | "nothing";

/** What the monitor works with. */
export interface MonitorParts {
  clock: Clock;
  use: BlockUse;
  datanodes: Datanodes;
  map: ReplicaMap;
  queue: RepairQueue;
  placer: Placer;
  transfers: Transfers;
  deletions: Deletions;
  verifications: Verifications;
  walks: Walks;
  balancer: Balancer;
  log: RepairLog;
}

/**
 * Works the repair queue off, most urgent level first: has missing replicas made, and replicas deleted of which there are
 * too many or which are corrupt. Each level is gone through page by page, round and round, so that blocks that cannot be
 * repaired do not stand in the way of others.
 */
export class Monitor {
  readonly #p: MonitorParts;
  /** By level: the block after which the next page begins. */
  readonly #bookmarks = new Array<number>(LAST_LEVEL + 1).fill(-1);
  #tick: Timer | undefined;
  #kicked: Timer | undefined;
  /** Blocks looked at in vain since the last one that something could be done for. */
  #inVain = 0;
  /** When the last round over the missing blocks began in which their replicas are read again; and whether this is one. */
  #revivedAt = Number.NEGATIVE_INFINITY;
  #isReviving = false;

  constructor(parts: MonitorParts) {
    this.#p = parts;
  }

  /** Begins to look at the queue regularly. */
  start(): void {
    this.#tick = this.#p.clock.every(TICK_MS, () => this.#look());
  }

  /** Stops for good. */
  close(): void {
    this.#tick?.clear();
    this.#tick = undefined;
    this.#kicked?.clear();
  }

  /** Something changed that the queue may have waited for: looks at it soon. */
  kick(): void {
    if (this.#tick === undefined) return;
    this.#inVain = 0;
    this.#kicked ??= this.#p.clock.after(KICK_MS, () => {
      this.#kicked = undefined;
      this.#look();
    });
  }

  #look(): void {
    const { datanodes, transfers, queue, walks, deletions, log } = this.#p;
    transfers.expire();
    for (const d of datanodes.live()) deletions.flush(d);
    // After a start, decisions wait until it is known who is there and what they have.
    if (!datanodes.settled) return;
    for (const level of COPIES) if (!transfers.full) this.#lookAt(level);
    // A missing block cannot be copied, but after a restart of the namenode it may turn out not to be missing any more.
    for (const level of [MISSING, SURPLUS]) if (this.#lookAt(level) === PAGE) this.kick();
    log.tick({
      missing: queue.missing,
      underReplicated: queue.underReplicated,
      transfers: transfers.size,
      idle: this.#inVain >= queue.underReplicated,
      walking: walks.busy,
    });
  }

  /** Looks at the next page of a level. @returns for how many of its blocks something was done. */
  #lookAt(level: number): number {
    const copies = level !== MISSING && level !== SURPLUS;
    let acted = 0;
    if (level === MISSING && this.#bookmarks[level] === -1) this.#beginMissing();
    const page = this.#p.queue.page(level, this.#bookmarks[level]!, PAGE);
    this.#bookmarks[level] = page.length < PAGE ? -1 : page.at(-1)!;
    for (const id of page) {
      if (copies && this.#p.transfers.full) {
        this.#bookmarks[level] = id - 1;
        return acted;
      }
      const outcome = this.#mend(id, level);
      if (outcome === "acted") acted++;
      if (level > MISSING && level < UNDER_LEVELS) this.#inVain = outcome === "nothing" ? this.#inVain + 1 : 0;
    }
    return acted;
  }

  #mend(id: number, level: number): Outcome {
    const { map, use, transfers } = this.#p;
    const found = map.refresh(id);
    if (found?.level !== level) return "acted"; // it stands where it belongs now
    const { generation, length } = use.committed(id)!;
    const block = { id, generation, length };
    if (level === MISSING) return this.#revive(block, found.assessment);
    if (level === SURPLUS) return this.#trim(block, found.assessment);
    if (transfers.has(id)) return "limited";
    if (level === MISPLACED) return this.#spread(block, found.assessment);
    const outcome = this.#copy(block, found.assessment, level === EVACUATE ? "evacuate" : "repair");
    if (outcome !== "nothing" || found.assessment.sure.length === 0) return outcome;
    return this.#makeRoom(id, found.assessment.corrupt);
  }

  #beginMissing(): void {
    const now = this.#p.clock.monotonic();
    this.#isReviving = now - this.#revivedAt >= REVIVE_MS && this.#p.queue.missing > 0;
    if (this.#isReviving) this.#revivedAt = now;
  }

  /** No replica of a block is good. Those that were found bad are read again, now and then. */
  #revive(block: Block, { corrupt }: Assessment): Outcome {
    const { datanodes, verifications } = this.#p;
    if (this.#isReviving) for (const id of corrupt) verifications.request(datanodes.get(id)!, block);
    return "nothing";
  }

  /** Has a block copied to datanodes that lack it. */
  #copy(block: Block, assessment: Assessment, purpose: Purpose): Outcome {
    return this.#send(block, assessment, assessment.needed - assessment.good.length, purpose, () => true);
  }

  /** Has a block copied to another rack; one of the old replicas goes afterwards, as a surplus. */
  #spread(block: Block, assessment: Assessment): Outcome {
    const { datanodes } = this.#p;
    const rack = datanodes.rackOf(assessment.good[0]!);
    return this.#send(block, assessment, 1, "spread", (d) => d.rack !== rack);
  }

  #send(block: Block, assessment: Assessment, count: number, purpose: Purpose, may: (d: Datanode) => boolean): Outcome {
    const { datanodes, placer, transfers, deletions, log } = this.#p;
    const { good, corrupt, dead, absent } = assessment;
    const known = (ids: readonly number[]) => ids.map((id) => datanodes.get(id)).filter((d) => d !== undefined);
    const sources = known(readable(assessment)).filter((d) => d.commands !== undefined);
    if (sources.length === 0) return "nothing";
    const holders = new Set([...readable(assessment), ...corrupt, ...dead, ...absent]);
    const lacks = (d: Datanode) => !holders.has(d.id) && !deletions.dooms(d.id, block.id) && may(d);
    const targets = placer.spread(known(good), count, block.length, (d) => lacks(d) && transfers.hasSlot(d.id));
    if (targets.length === 0)
      return placer.spread(known(good), 1, block.length, lacks).length > 0 ? "limited" : "nothing";
    if (!transfers.start(block, this.#bestSource(block.id, sources), targets, purpose)) return "limited";
    if (purpose === "repair") log.started();
    return "acted";
  }

  /** Nobody can take a further replica, but a corrupt one takes a place: it goes first, and is then made again there. */
  #makeRoom(block: number, corrupt: readonly number[]): Outcome {
    const victim = corrupt.find((id) => this.#p.datanodes.get(id)?.commands !== undefined);
    return victim === undefined ? "nothing" : this.#deleteCorrupt(victim, block);
  }

  #bestSource(block: number, sources: readonly Datanode[]): Datanode {
    const { transfers, verifications, datanodes } = this.#p;
    const cost = (d: Datanode) =>
      (verifications.has(d.id, block) ? 1e6 : 0) + (datanodes.isSure(d.id) ? 0 : 1e3) + transfers.load(d.id);
    return sources.reduce((a, b) => (cost(b) < cost(a) ? b : a));
  }

  /** Has replicas deleted that are not needed. Only replicas that their datanodes have confirmed count as kept. */
  #trim({ id }: Block, { wanted, needed, sure, corrupt, dead }: Assessment): Outcome {
    const { datanodes, map, deletions } = this.#p;
    if (sure.length < needed) return "nothing";
    const droppable = sure.map((dn) => {
      const d = datanodes.get(dn)!;
      return { id: dn, host: d.host, rack: d.rack, fullness: d.capacity === 0 ? 1 : 1 - d.free / d.capacity };
    });
    const count = Math.max(0, sure.length - wanted);
    const victims = chooseSurplus(droppable, count, this.#p.balancer.victim(id)).map((d) => d.id);
    let outcome: Outcome = "nothing";
    for (const dn of victims) {
      const stored = map.stored(dn, id);
      invariant(stored !== undefined, () => `a replica of block ${id} on datanode ${dn} is in the datanode's list`);
      if (!deletions.add(dn, { id, ...stored })) return "limited";
      map.remove(dn, id);
      deletions.flush(datanodes.get(dn)!);
      outcome = "acted";
    }
    for (const dn of corrupt) if (this.#deleteCorrupt(dn, id) === "acted") outcome = "acted";
    // A dead datanode that returns reports what it still has.
    for (const dn of dead) map.remove(dn, id);
    return dead.length > 0 ? "acted" : outcome;
  }

  /**
   * Has a corrupt replica deleted. It stays in the view, as corrupt, until its datanode says that it is gone: a datanode
   * that is lost before must not return with a replica that is taken for a good one.
   */
  #deleteCorrupt(datanode: number, block: number): Outcome {
    const { map, deletions, datanodes } = this.#p;
    const stored = map.stored(datanode, block);
    const node = datanodes.get(datanode);
    if (stored === undefined || node === undefined || node.state === "dead") return "nothing";
    if (deletions.dooms(datanode, block, stored.generation)) return "nothing";
    if (!deletions.add(datanode, { id: block, ...stored })) return "limited";
    deletions.flush(node);
    return "acted";
  }
}
