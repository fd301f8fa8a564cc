import type { Clock } from "../../common/clock.js";
import type { Block } from "../../proto/gen/types.js";
import type { BlockUse } from "../contract.js";
import type { Deletions } from "./deletions.js";
import type { ReplicaMap } from "./replica-map.js";
import type { Uncommitted } from "./uncommitted.js";

/** Blocks looked at in one sweep. */
const PAGE = 1_000;

/** What garbage is collected with. */
export interface GarbageParts {
  clock: Clock;
  use: BlockUse;
  map: ReplicaMap;
  deletions: Deletions;
  uncommitted: Uncommitted;
}

/**
 * Has orphans deleted: replicas of blocks that neither a file nor a writer refers to, once the grace period is over
 * (after a restart, a writer whose session resumes late still needs its blocks).
 * @param keep none is deleted: they may be of files that a restored backup lacks
 */
export function collectGarbage(parts: GarbageParts, graceMs: number, keep: boolean): void {
  const { clock, use, map, deletions, uncommitted } = parts;
  const now = clock.monotonic();
  for (const id of uncommitted.seenBefore(now - graceMs, PAGE)) {
    const block = use.committed(id);
    if (use.isPending(id) || deletions.full || (keep && block === undefined)) {
      uncommitted.defer(id, now);
      continue;
    }
    for (const { datanode, replica } of uncommitted.take(id)) {
      if (block === undefined || !sameBytes(replica, block)) deletions.add(datanode, replica);
      else if (map.stored(datanode, id)?.generation !== replica.generation) map.put(datanode, replica, false);
    }
  }
}

/** Whether a replica is one of the committed block: of its generation and whole. */
export function sameBytes(replica: Block, block: { generation: number; length: number }): boolean {
  return replica.generation === block.generation && replica.length === block.length;
}
