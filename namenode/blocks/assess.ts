import type { ReplicasRecord } from "../../proto/gen/types.js";
import { SURPLUS } from "./repair-queue.js";

/** What the replicas on a datanode are worth now. */
export interface Trust {
  /** Its replicas do not count. */
  isDead(datanode: number): boolean;
  /** It is connected and has confirmed its replicas since: what may be deleted elsewhere can rely on them. */
  isSure(datanode: number): boolean;
}

/** A block's replicas, as datanode ids, by what they are worth. */
export interface Assessment {
  wanted: number;
  /** Not corrupt, on datanodes that are not dead. What counts towards `wanted`. */
  good: number[];
  /** Those of `good` on datanodes that have confirmed them. Nothing is deleted but for the sake of these. */
  sure: number[];
  corrupt: number[];
  /** Not corrupt, on dead datanodes. */
  dead: number[];
}

/** Sorts a block's replicas by what they are worth. */
export function assess(entry: ReplicasRecord, wanted: number, trust: Trust): Assessment {
  const result: Assessment = { wanted, good: [], sure: [], corrupt: [], dead: [] };
  for (const { datanode, corrupt } of entry.replicas) {
    if (corrupt) result.corrupt.push(datanode);
    else if (trust.isDead(datanode)) result.dead.push(datanode);
    else {
      result.good.push(datanode);
      if (trust.isSure(datanode)) result.sure.push(datanode);
    }
  }
  return result;
}

/** The level of the repair queue where a block belongs; undefined: nothing to repair. */
export function levelOf({ wanted, good, corrupt, dead }: Assessment): number | undefined {
  if (good.length < wanted) return good.length;
  return good.length > wanted || corrupt.length > 0 || dead.length > 0 ? SURPLUS : undefined;
}
