import type { Clock, Timer } from "../../common/clock.js";
import { invariant } from "../../common/errors.js";
import { LINK_HIGH_WATER } from "../../common/limits.js";
import { DatanodeCommands } from "../../proto/gen/services.js";
import type { Block } from "../../proto/gen/types.js";
import type { BlockUse } from "../contract.js";
import type { Assessment } from "./assess.js";
import type { Datanode } from "./datanode.js";
import type { Datanodes } from "./datanodes.js";
import type { Deletions } from "./deletions.js";
import { chooseSurplus } from "./placement.js";
import type { Placer } from "./placer.js";
import type { RepairLog } from "./repair-log.js";
import { MISSING, type RepairQueue, SURPLUS } from "./repair-queue.js";
import type { ReplicaMap } from "./replica-map.js";
import type { Transfers } from "./transfers.js";
import type { Verifications } from "./verifications.js";
import type { Walks } from "./walks.js";

/** How often the queue is looked at when nothing calls for it, ms. */
const TICK_MS = 1_000;
/** Shortest pause between two looks, ms. */
const KICK_MS = 20;
/** Blocks of one level looked at in one look. */
const PAGE = 256;

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
  readonly #bookmarks = new Array<number>(SURPLUS + 1).fill(-1);
  #tick: Timer | undefined;
  #kicked: Timer | undefined;
  /** Blocks looked at in vain since the last one that something could be done for. */
  #inVain = 0;

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
    for (let level = 1; level < SURPLUS && !transfers.full; level++) this.#lookAt(level);
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
    const page = this.#p.queue.page(level, this.#bookmarks[level]!, PAGE);
    this.#bookmarks[level] = page.length < PAGE ? -1 : page.at(-1)!;
    for (const id of page) {
      if (copies && this.#p.transfers.full) {
        this.#bookmarks[level] = id - 1;
        return acted;
      }
      const outcome = this.#mend(id, level);
      if (outcome === "acted") acted++;
      if (copies) this.#inVain = outcome === "nothing" ? this.#inVain + 1 : 0;
    }
    return acted;
  }

  #mend(id: number, level: number): Outcome {
    const { map, use, transfers } = this.#p;
    const found = map.refresh(id);
    if (found?.level !== level) return "acted"; // it stands where it belongs now
    if (level === MISSING) return "nothing";
    const { generation, length } = use.committed(id)!;
    const block = { id, generation, length };
    if (level === SURPLUS) return this.#trim(block, found.assessment);
    return transfers.has(id) ? "limited" : this.#replicate(block, found.assessment);
  }

  /** Has a block copied to datanodes that lack it. */
  #replicate(block: Block, { wanted, good, corrupt, dead, sure }: Assessment): Outcome {
    const { datanodes, placer, transfers, deletions, log } = this.#p;
    const sources = good.map((id) => datanodes.get(id)).filter((d) => d?.commands !== undefined) as Datanode[];
    if (sources.length === 0) return "nothing";
    const holders = new Set([...good, ...corrupt, ...dead]);
    const existing = good.map((id) => datanodes.get(id)).filter((d) => d !== undefined);
    const may = (d: Datanode) => !holders.has(d.id) && !deletions.dooms(d.id, block.id);
    const count = wanted - good.length;
    const targets = placer.spread(existing, count, block.length, (d) => may(d) && transfers.hasSlot(d.id));
    if (targets.length === 0) {
      if (placer.spread(existing, 1, block.length, may).length > 0) return "limited";
      return sure.length > 0 ? this.#makeRoom(block.id, corrupt) : "nothing";
    }
    const source = this.#bestSource(block.id, sources);
    const link = source.commands!;
    if (!transfers.hasSlot(source.id) || link.bufferedBytes > LINK_HIGH_WATER) return "limited";
    link.push(DatanodeCommands.replicate, { block, targets: targets.map((d) => d.address) });
    transfers.start(
      block.id,
      source.id,
      targets.map((d) => d.id),
    );
    log.started();
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
  #trim({ id }: Block, { wanted, sure, corrupt, dead }: Assessment): Outcome {
    const { datanodes, map, deletions } = this.#p;
    if (sure.length < wanted) return "nothing";
    const droppable = sure.map((dn) => {
      const d = datanodes.get(dn)!;
      return { id: dn, host: d.host, rack: d.rack, fullness: d.capacity === 0 ? 1 : 1 - d.free / d.capacity };
    });
    const victims = chooseSurplus(droppable, sure.length - wanted).map((d) => d.id);
    let outcome: Outcome = "nothing";
    for (const dn of victims) {
      const stored = map.stored(dn, id);
      invariant(stored !== undefined, `a replica of block ${id} on datanode ${dn} is in the datanode's list`);
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
