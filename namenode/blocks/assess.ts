import type { ReplicasRecord } from "../../proto/gen/types.js";
import { EVACUATE, MISPLACED, MISSING, SURPLUS, UNDER_LEVELS } from "./repair-queue.js";

/** Replicas that must be on datanodes in service, whatever is in maintenance. */
const MIN_IN_SERVICE = 1;

/**
 * What a datanode is worth to a block that it has a replica of. serving: the replica counts. leaving: it can be read and
 * copied, but will go. resting: in maintenance, there. absent: in maintenance, away. dead: it counts for nothing.
 */
export type Standing = "serving" | "leaving" | "resting" | "absent" | "dead";

/** What the replicas on a datanode are worth now. */
export interface Trust {
  standing(datanode: number): Standing;
  /**
   * It is connected, has confirmed its replicas since, read those that a loss of power may have torn, and is no flapping one: what may be
   * deleted elsewhere can rely on them.
   */
  isSure(datanode: number): boolean;
  rackOf(datanode: number): string;
  /** Racks with datanodes in service that are not dead. */
  readonly racks: number;
}

/** A block's replicas, as datanode ids, by what they are worth. */
export interface Assessment {
  wanted: number;
  /** How many of `good` there must be: `wanted`, less what maintenance excuses. */
  needed: number;
  /** Not corrupt, on datanodes in service that are not dead. */
  good: number[];
  /** Those of `good` on datanodes that have confirmed them. Nothing is deleted but for the sake of these. */
  sure: number[];
  /** Not corrupt, on datanodes of these standings. */
  leaving: number[];
  resting: number[];
  absent: number[];
  dead: number[];
  corrupt: number[];
  /** All that count are on one rack, though there are others. */
  crowded: boolean;
}

/** Sorts a block's replicas by what they are worth. */
export function assess(entry: ReplicasRecord, wanted: number, trust: Trust): Assessment {
  const lists = { good: [], sure: [], leaving: [], resting: [], absent: [], dead: [], corrupt: [] };
  const result: Assessment = { wanted, needed: wanted, ...lists, crowded: false };
  for (const { datanode, corrupt } of entry.replicas) {
    const standing = trust.standing(datanode);
    if (corrupt) result.corrupt.push(datanode);
    else if (standing !== "serving") result[standing].push(datanode);
    else {
      result.good.push(datanode);
      if (trust.isSure(datanode)) result.sure.push(datanode);
    }
  }
  const excused = result.resting.length + result.absent.length;
  if (excused > 0) result.needed = Math.max(Math.min(wanted, MIN_IN_SERVICE), wanted - excused);
  result.crowded = isCrowded(result, trust);
  return result;
}

/** Datanodes that a block can be read and copied from. */
export function readable({ good, leaving, resting }: Assessment): number[] {
  return [...good, ...leaving, ...resting];
}

/** The level of the repair queue where a block belongs; undefined: nothing to repair. */
export function levelOf(assessment: Assessment): number | undefined {
  const { wanted, needed, good, absent, corrupt, dead, crowded } = assessment;
  const copies = readable(assessment).length;
  if (copies === 0) return MISSING;
  if (copies + absent.length < wanted) return Math.min(copies, UNDER_LEVELS - 1);
  if (good.length < needed) return EVACUATE;
  if (good.length > wanted || corrupt.length > 0 || dead.length > 0) return SURPLUS;
  return crowded ? MISPLACED : undefined;
}

function isCrowded({ wanted, good, resting, absent }: Assessment, trust: Trust): boolean {
  const places = [...good, ...resting, ...absent];
  if (wanted < 2 || places.length < 2 || trust.racks < 2) return false;
  const rack = trust.rackOf(places[0]!);
  return places.every((id) => trust.rackOf(id) === rack);
}
