import type { Clock } from "../../common/clock.js";
import { CairnError } from "../../common/errors.js";
import { BLOCK_RANGE, MAX_BLOCKS_PAGE, MAX_REGIONS_PAGE, REGION_RANGES } from "../../common/limits.js";
import { type RangeSummary, rangeOf, regionOf } from "../../proto/digest.js";
import {
  type Block,
  type DigestReport,
  type RangeReport,
  type RegionReport,
  type ReplicaChange,
  type ReplicaChanges,
  ReplicaChangeState as State,
} from "../../proto/gen/types.js";
import type { BlockUse } from "../contract.js";
import type { Datanode, ReportState } from "./datanode.js";
import type { Deletions } from "./deletions.js";
import type { RepairLog } from "./repair-log.js";
import type { ReplicaMap } from "./replica-map.js";
import type { Transfers } from "./transfers.js";
import type { Uncommitted } from "./uncommitted.js";
import type { Verifications } from "./verifications.js";

/** Replicas of a report worked off in one turn of the event loop. */
const SLICE = 500;
/** Replicas in one report of a range: each block may be there in an older generation too. */
const MAX_IN_RANGE = 2 * BLOCK_RANGE;

/** What reports are worked off with. */
export interface ReportParts {
  clock: Clock;
  use: BlockUse;
  map: ReplicaMap;
  transfers: Transfers;
  deletions: Deletions;
  verifications: Verifications;
  uncommitted: Uncommitted;
  log: RepairLog;
  /** Undefined when the store takes more; else resolves when it does. */
  room: () => Promise<void> | undefined;
  /** Something came of a report that repairs may have waited for. */
  onProgress: () => void;
}

/** Takes in what datanodes report of their replicas. */
export class Reports {
  readonly #p: ReportParts;

  constructor(parts: ReportParts) {
    this.#p = parts;
  }

  /** Replicas that came, went, or turned out corrupt or good, in order. E2BIG, EINVAL. */
  async changes(datanode: Datanode, { changes }: ReplicaChanges): Promise<void> {
    limit(changes.length, MAX_BLOCKS_PAGE, "changes in one report");
    for (const { block } of changes) checkBlock(block);
    await this.#inSlices(changes, (change) => this.#change(datanode, change));
    this.#p.deletions.flush(datanode);
  }

  /** The digests of a page of regions: compared with the view of the datanode. @returns the regions that differ. */
  regions(datanode: Datanode, { regions, from, until }: RegionReport): number[] {
    limit(regions.length, MAX_BLOCKS_PAGE, "regions in one report");
    const end = until === 0 ? Number.MAX_SAFE_INTEGER : until;
    checkOrder(regions, (r) => r >= from && r < end);
    const heard = this.#p.clock.monotonic();
    if (from === 0)
      datanode.report = {
        ...{ step: "open", regions: new Set(), ranges: new Set() },
        ...{ listed: false, blocks: 0, heard },
      };
    const report = opened(datanode);
    const differing = differingRanges(this.#p.map.regions(datanode.id, from, end), regions);
    for (const region of differing) report.regions.add(region);
    report.blocks += regions.reduce((sum, r) => sum + r.count, 0);
    report.listed = until === 0;
    if (report.listed) datanode.blocks = report.blocks;
    this.#advance(datanode, report);
    return differing;
  }

  /** The digests of the ranges in regions that differ. @returns the ranges that do. */
  digests(datanode: Datanode, { regions, ranges }: DigestReport): number[] {
    limit(regions.length, MAX_REGIONS_PAGE, "regions in one report of ranges");
    limit(ranges.length, MAX_REGIONS_PAGE * REGION_RANGES, "ranges in one report");
    const named = new Set(regions);
    checkOrder(ranges, (r) => named.has(regionOf(r)));
    const report = opened(datanode);
    const differing: number[] = [];
    for (const region of named) {
      const mine = ranges.filter((r) => regionOf(r.range) === region);
      const found = differingRanges(this.#p.map.digests(datanode.id, region), mine);
      if (found.length === 0) this.#p.map.sumUp(datanode.id, region);
      differing.push(...found);
      report.regions.delete(region);
    }
    for (const range of differing) report.ranges.add(range);
    this.#advance(datanode, report);
    return differing;
  }

  /** All replicas of a datanode in one range: the view of it becomes the same. */
  async range(datanode: Datanode, { range, replicas }: RangeReport): Promise<void> {
    limit(replicas.length, MAX_IN_RANGE, "replicas in one range");
    const newest = new Map<number, Block>();
    for (const r of replicas) {
      checkBlock(r);
      if (rangeOf(r.id) !== range) throw new CairnError("EINVAL", `block ${r.id} is not in range ${range}`);
      const other = newest.get(r.id);
      if (other === undefined || other.generation < r.generation) newest.set(r.id, r);
    }
    const known = this.#p.map.page(datanode.id, range * BLOCK_RANGE, BLOCK_RANGE, (range + 1) * BLOCK_RANGE);
    await this.#inSlices(known, ({ id, generation, length }) => {
      const now = newest.get(id);
      if (now?.generation !== generation || now.length !== length) this.#p.map.remove(datanode.id, id);
    });
    await this.#inSlices(replicas, (replica) => this.#has(datanode, replica));
    const { report } = datanode;
    if (report.step === "open" && report.ranges.delete(range)) this.#advance(datanode, report);
  }

  /** A part of a report has been worked off; perhaps it was the last. */
  #advance(datanode: Datanode, report: OpenReport): void {
    report.heard = this.#p.clock.monotonic();
    if (!report.listed || report.regions.size > 0 || report.ranges.size > 0) return;
    datanode.report = { step: "done", at: report.heard };
    this.#p.onProgress();
  }

  #change(datanode: Datanode, { block, state }: ReplicaChange): void {
    const { map, verifications, log } = this.#p;
    switch (state) {
      case State.FINALIZED:
        return this.#has(datanode, block);
      case State.DELETED:
        return this.#gone(datanode, block);
      case State.CORRUPT:
        verifications.settle(datanode.id, block.id);
        this.#has(datanode, block);
        if (!this.#isGood(datanode, block)) return;
        map.put(datanode.id, block, true);
        log.corrupt(block.id, datanode.name, "its bytes do not match their checksums");
        return this.#p.onProgress();
      case State.VERIFIED:
        verifications.settle(datanode.id, block.id);
        if (this.#isCorrupt(datanode, block)) map.remove(datanode.id, block.id);
        return this.#has(datanode, block);
      default:
        throw new CairnError("EINVAL", `a replica of block ${block.id} is reported in the unknown state ${state}`);
    }
  }

  #isGood(datanode: Datanode, { id, generation }: Block): boolean {
    const known = this.#p.map.get(id).replicas.find((r) => r.datanode === datanode.id);
    return known?.generation === generation && !known.corrupt;
  }

  #isCorrupt(datanode: Datanode, { id, generation }: Block): boolean {
    const known = this.#p.map.get(id).replicas.find((r) => r.datanode === datanode.id);
    return known?.generation === generation && known.corrupt;
  }

  /** A datanode has a replica, complete and (as far as it knows) good. */
  #has(datanode: Datanode, replica: Block): void {
    const { use, map, deletions, uncommitted, transfers, clock, log } = this.#p;
    const { id, generation, length } = replica;
    if (deletions.dooms(datanode.id, id, generation)) return;
    deletions.replaced(datanode.id, replica);
    const known = map.stored(datanode.id, id);
    if (known?.generation === generation && known.length === length) return;
    const block = use.committed(id);
    if (block === undefined || generation > block.generation)
      return uncommitted.see(datanode.id, replica, clock.monotonic());
    if (generation < block.generation) {
      // It missed bytes. (When no more deletions fit, the next full report brings it again.)
      deletions.add(datanode.id, replica);
      if (known?.generation === generation) map.remove(datanode.id, id);
      return;
    }
    const whole = length === block.length;
    map.put(datanode.id, replica, !whole);
    if (!whole) log.corrupt(id, datanode.name, `it has ${length} bytes of ${block.length}`);
    else {
      const purpose = transfers.arrived(id, datanode.id);
      if (purpose === undefined) return;
      if (purpose === "repair") log.copied(id, datanode.name);
    }
    this.#p.onProgress();
  }

  #gone(datanode: Datanode, replica: Block): void {
    const { map, deletions, uncommitted, verifications, onProgress } = this.#p;
    const { id, generation } = replica;
    const doomed = deletions.dooms(datanode.id, id, generation);
    deletions.confirm(datanode.id, replica);
    verifications.settle(datanode.id, id);
    uncommitted.gone(datanode.id, replica);
    const known = map.stored(datanode.id, id)?.generation === generation;
    if (known) map.remove(datanode.id, id);
    if (known || doomed) onProgress();
  }

  /** Does something for each item; other work of the process gets its turn in between. */
  async #inSlices<T>(items: readonly T[], work: (item: T) => void): Promise<void> {
    for (let at = 0; at < items.length; at += SLICE) {
      if (at > 0) await new Promise<void>((resolve) => this.#p.clock.after(0, resolve));
      await this.#p.room();
      for (const item of items.slice(at, at + SLICE)) work(item);
    }
  }
}

/** The ranges that are in one of two lists of digests only, or differ. Both in ascending order. */
export function differingRanges(known: Iterable<RangeSummary>, reported: readonly RangeSummary[]): number[] {
  const differing: number[] = [];
  let at = 0;
  for (const k of known) {
    while (at < reported.length && reported[at]!.range < k.range) differing.push(reported[at++]!.range);
    const r = reported[at];
    if (r?.range !== k.range) differing.push(k.range);
    else {
      at++;
      if (r.count !== k.count || r.digest !== k.digest) differing.push(k.range);
    }
  }
  while (at < reported.length) differing.push(reported[at++]!.range);
  return differing;
}

/** Digests come in ascending order, each once, of ranges (or regions) that belong there. EINVAL. */
function checkOrder(summaries: readonly RangeSummary[], belongs: (range: number) => boolean): void {
  let last = -1;
  for (const { range, digest } of summaries) {
    if (range <= last || !belongs(range) || !Number.isSafeInteger(range * BLOCK_RANGE) || !Number.isSafeInteger(digest))
      throw new CairnError("EINVAL", `a report of digests names range or region ${range} in a way that cannot be`);
    last = range;
  }
}

type OpenReport = Extract<ReportState, { step: "open" }>;

/** The report that a datanode has begun. EINVAL: it has begun none. */
function opened({ report, name }: Datanode): OpenReport {
  if (report.step === "open") return report;
  throw new CairnError("EINVAL", `a part of a report of ${name}, which has not begun one`);
}

function checkBlock({ id }: Block): void {
  if (!Number.isSafeInteger(id) || id <= 0) throw new CairnError("EINVAL", `a replica of block ${id} cannot be`);
}

function limit(n: number, most: number, what: string): void {
  if (n > most) throw new CairnError("E2BIG", `${n} ${what}, more than ${most}`);
}
