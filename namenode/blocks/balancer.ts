import type { Clock, Timer } from "../../common/clock.js";
import { CairnError } from "../../common/errors.js";
import type { BalanceReplyInit, BalanceRequest } from "../../proto/gen/types.js";
import type { BlockUse } from "../contract.js";
import { levelOf } from "./assess.js";
import type { Datanode } from "./datanode.js";
import type { Datanodes } from "./datanodes.js";
import type { Deletions } from "./deletions.js";
import type { ReplicaMap } from "./replica-map.js";
import type { BlockSettings } from "./settings.js";
import type { Transfers } from "./transfers.js";

/** How often moves are looked for, ms. */
const TICK_MS = 1_000;
/** Who asks for balancing asks again within this time, or it ends, ms. */
const LEASE_MS = 15_000;
/** Moves that one datanode takes part in at a time: of its slots for transfers, most stay for repairs. */
const MOVES_EACH = 2;
/** Blocks of one datanode looked at in one look. */
const PAGE = 200;
/** Of the datanodes that may take a replica, as many of the emptiest are considered at a time. */
const MAX_TARGETS = 32;
/** A move is given up when it has not ended after so many times the timeout of a transfer. */
const MOVE_TIMEOUTS = 3;
/** Heartbeats after which a datanode's own figures show what a move has done. */
const SETTLE_HEARTBEATS = 2;
/** Thresholds are in millionths. */
const PPM = 1_000_000;

/** What the balancer works with. */
export interface BalancerParts {
  clock: Clock;
  settings: BlockSettings;
  use: BlockUse;
  datanodes: Datanodes;
  map: ReplicaMap;
  transfers: Transfers;
  deletions: Deletions;
}

/** A replica on its way from one datanode to another: copied first; the old one goes when the copy is confirmed. */
interface Move {
  readonly source: number;
  readonly target: number;
  readonly bytes: number;
  /** When it is given up; when it is done: until when the datanodes' figures do not show it. Monotonic ms. */
  until: number;
  done: boolean;
}

/** A replica as its datanode has it. */
type Replica = Parameters<Transfers["start"]>[0];

/** One datanode as the balancer sees it: what its figures will be when the moves are done. */
interface Load {
  readonly datanode: Datanode;
  used: number;
  readonly size: number;
}

const share = ({ used, size }: Load): number => (size === 0 ? 0 : used / size);

/**
 * Moves replicas from full datanodes to empty ones while somebody asks for it: the command repeats its request, and when it
 * stops, or the namenode does, nothing is left but blocks with a replica too many, which the monitor trims. How full a
 * datanode is: what blocks use of what they may use. Racks and hosts of a block do not become fewer; repairs come first.
 */
export class Balancer {
  readonly #p: BalancerParts;
  /** By block. At most MOVES_EACH for each datanode, and those that have just ended. */
  readonly #moves = new Map<number, Move>();
  /** By datanode: where the next look at its blocks begins, and whether this round through them has found one to move. */
  readonly #rounds = new Map<number, { next: number; found: boolean }>();
  /** Datanodes all whose blocks were looked at since the last move began or ended, with none to move. */
  readonly #exhausted = new Set<number>();
  #run = 0;
  #threshold = 0;
  #leaseUntil = 0;
  #timer: Timer | undefined;
  #moved = { blocks: 0, bytes: 0 };

  constructor(parts: BalancerParts) {
    this.#p = parts;
  }

  /** Admin.Balance: begins, goes on, or stops. EBUSY: another command balances. EINVAL. */
  request({ run, thresholdPpm, stop }: BalanceRequest): BalanceReplyInit {
    const now = this.#p.clock.monotonic();
    if (run === 0 || thresholdPpm < 1 || thresholdPpm > PPM)
      throw new CairnError("EINVAL", `balancing to ${thresholdPpm} millionths`);
    if (this.#timer !== undefined && this.#run !== run && now < this.#leaseUntil)
      throw new CairnError("EBUSY", "another command balances this cluster");
    if (this.#run !== run) {
      this.#moved = { blocks: 0, bytes: 0 };
      this.#exhausted.clear();
    }
    this.#run = run;
    this.#threshold = thresholdPpm / PPM;
    this.#leaseUntil = now + LEASE_MS;
    if (stop) this.close();
    else this.#timer ??= this.#p.clock.every(TICK_MS, () => this.#tick());
    return this.#reply(stop);
  }

  /** Starts no further moves. */
  close(): void {
    this.#timer?.clear();
    this.#timer = undefined;
  }

  /** The datanode whose replica of a block has been copied elsewhere to be deleted; undefined: none. */
  victim(block: number): number | undefined {
    const move = this.#moves.get(block);
    return move === undefined || move.done ? undefined : move.source;
  }

  #tick(): void {
    const { clock, datanodes, transfers, settings } = this.#p;
    if (clock.monotonic() >= this.#leaseUntil) return this.close();
    this.#settle();
    // Repairs need the slots more.
    if (!datanodes.settled || transfers.size > settings.maxTransfers / 2) return;
    const { sources, targets } = this.#sides();
    for (const source of sources) {
      this.#moveFrom(source, targets);
      if (transfers.size > settings.maxTransfers / 2) return;
    }
  }

  /** Sees what became of the moves. */
  #settle(): void {
    const { clock, map, settings } = this.#p;
    const now = clock.monotonic();
    for (const [block, move] of this.#moves) {
      if (!move.done && !map.get(block).replicas.some((r) => r.datanode === move.source)) {
        move.done = true;
        move.until = now + settings.heartbeatMs * SETTLE_HEARTBEATS;
        this.#moved.blocks++;
        this.#moved.bytes += move.bytes;
      }
      if (move.until > now) continue;
      this.#moves.delete(block);
      this.#exhausted.clear();
    }
  }

  /** Datanodes with figures to rely on, as they will be when the moves are done; and how full all together are. */
  #loads(): { loads: Load[]; average: number } {
    const byId = new Map<number, Load>();
    for (const datanode of this.#p.datanodes.takingBlocks())
      byId.set(datanode.id, { datanode, used: datanode.used, size: datanode.used + datanode.free });
    for (const { source, target, bytes } of this.#moves.values()) {
      const [from, to] = [byId.get(source), byId.get(target)];
      if (from !== undefined) from.used -= bytes;
      if (to !== undefined) to.used += bytes;
    }
    const loads = [...byId.values()].sort((a, b) => share(b) - share(a));
    const size = loads.reduce((sum, l) => sum + l.size, 0);
    return { loads, average: size === 0 ? 0 : loads.reduce((sum, l) => sum + l.used, 0) / size };
  }

  /** Who should give (fullest first) and who may take (emptiest first). Both empty when the cluster is balanced. */
  #sides(): { sources: Load[]; targets: Load[] } {
    const { loads, average } = this.#loads();
    const over = loads.filter((l) => share(l) > average + this.#threshold);
    const under = loads.filter((l) => share(l) < average - this.#threshold).reverse();
    if (over.length === 0 && under.length === 0) return { sources: [], targets: [] };
    return {
      sources: over.length > 0 ? over : loads.filter((l) => share(l) > average),
      targets: under.length > 0 ? under : loads.filter((l) => share(l) < average).reverse(),
    };
  }

  #busy(datanode: number): boolean {
    let moves = 0;
    for (const m of this.#moves.values()) if (!m.done && (m.source === datanode || m.target === datanode)) moves++;
    return moves >= MOVES_EACH || !this.#p.transfers.hasSlot(datanode);
  }

  #moveFrom(source: Load, targets: readonly Load[]): void {
    const { map } = this.#p;
    const { id } = source.datanode;
    if (this.#exhausted.has(id) || this.#busy(id)) return;
    const open: Load[] = [];
    for (const t of targets) {
      if (!this.#busy(t.datanode.id)) open.push(t);
      if (open.length >= MAX_TARGETS) break;
    }
    if (open.length === 0) return;
    const round = this.#rounds.get(id) ?? { next: 0, found: false };
    this.#rounds.set(id, round);
    const page = map.page(id, round.next, PAGE);
    for (const block of page) {
      round.next = block.id + 1;
      const places = this.#movable(block, id);
      if (places === undefined) continue;
      const target = open.find((t) => !this.#busy(t.datanode.id) && this.#fits(block, places, source, t));
      if (target !== undefined && this.#start(block, source, target)) round.found = true;
      if (this.#busy(id)) return;
    }
    if (page.length === PAGE) return;
    // All looked at without a move: there is none to be made while things are as they are.
    if (!round.found) this.#exhausted.add(id);
    this.#rounds.delete(id);
  }

  /** Where a block's replicas are, when it is a healthy one whose replica on `giver` may be relied on; else undefined. */
  #movable({ id, generation }: Replica, giver: number): Datanode[] | undefined {
    const { map, use, transfers, datanodes } = this.#p;
    if (use.committed(id)?.generation !== generation || this.#moves.has(id) || transfers.has(id)) return undefined;
    const assessment = map.assess(id);
    if (assessment === undefined || levelOf(assessment) !== undefined || !assessment.sure.includes(giver))
      return undefined;
    return assessment.good.map((n) => datanodes.get(n)!);
  }

  /** Whether it helps when a replica goes from one to the other, and leaves the block (on `places`) as spread as it is. */
  #fits({ id, length }: Replica, places: readonly Datanode[], source: Load, target: Load): boolean {
    const taker = target.datanode;
    if (taker.room(this.#p.clock.monotonic()) < length) return false;
    if ((source.used - length) / source.size < (target.used + length) / target.size) return false;
    if (this.#p.deletions.dooms(taker.id, id) || places.includes(taker)) return false;
    const after = [...places.filter((d) => d !== source.datanode), taker];
    const count = (list: readonly Datanode[], by: (d: Datanode) => string) => new Set(list.map(by)).size;
    return [(d: Datanode) => d.rack, (d: Datanode) => d.host].every((by) => count(after, by) >= count(places, by));
  }

  #start(block: Replica, source: Load, target: Load): boolean {
    const { transfers, clock, settings } = this.#p;
    if (!transfers.start(block, source.datanode, [target.datanode], "balance")) return false;
    const until = clock.monotonic() + settings.transferTimeoutMs * MOVE_TIMEOUTS;
    const move = { source: source.datanode.id, target: target.datanode.id, bytes: block.length, until, done: false };
    this.#moves.set(block.id, move);
    source.used -= block.length;
    target.used += block.length;
    this.#exhausted.clear();
    return true;
  }

  #reply(stopped: boolean): BalanceReplyInit {
    const { loads, average } = this.#loads();
    const { sources } = this.#sides();
    const moving = [...this.#moves.values()].filter((m) => !m.done).length;
    const still = this.#moves.size === 0;
    const stuck = still && sources.length > 0 && sources.every((s) => this.#exhausted.has(s.datanode.id));
    const ppm = (x: number) => Math.round(x * PPM);
    return {
      state: stopped ? "stopped" : sources.length === 0 && still ? "balanced" : stuck ? "stuck" : "moving",
      movedBlocks: this.#moved.blocks,
      movedBytes: this.#moved.bytes,
      moving,
      averagePpm: ppm(average),
      fullestPpm: loads[0] === undefined ? 0 : ppm(share(loads[0])),
      emptiestPpm: loads.length === 0 ? 0 : ppm(share(loads.at(-1)!)),
    };
  }
}
