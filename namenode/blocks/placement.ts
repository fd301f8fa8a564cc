// Which datanodes get a block's replicas. Pure: candidates and random numbers come in.
// The first goes to the writer's own host, the second to another rack, the third to the second's rack, further ones
// anywhere; never two on one datanode, never two on one host while there are other hosts (HDFS's rule). Among equals
// chance decides, weighted by room.

/** Where a replica can be, or is. */
export interface Place {
  readonly id: number;
  readonly host: string;
  readonly rack: string;
}

/** A place with room for one more replica. */
export interface Candidate extends Place {
  /** bytes, > 0 */
  readonly room: number;
  /** Streams being written there. */
  readonly writers: number;
}

/** How much less likely each open write stream makes a datanode to be chosen. */
const LOAD_WEIGHT = 0.1;

/**
 * Chooses up to `count` of the candidates, in the order of the pipeline; fewer when there are not enough.
 * @param existing where the block has replicas already; none of them is among the candidates
 * @param writerHost where the writer is; undefined for a re-replication
 * @param random a number in [0, 1)
 */
export function choosePlaces<C extends Candidate>(
  candidates: readonly C[],
  count: number,
  existing: readonly Place[],
  writerHost: string | undefined,
  random: () => number,
): C[] {
  const left = new Set(candidates);
  const taken: Place[] = [...existing];
  const chosen: C[] = [];
  while (chosen.length < count && left.size > 0) {
    const next = pickFirst([...left], preferences(taken, writerHost), random);
    left.delete(next);
    taken.push(next);
    chosen.push(next);
  }
  return chosen;
}

/** What the next place should be, best first, given the places taken. */
function preferences(taken: readonly Place[], writerHost: string | undefined): ((place: Place) => boolean)[] {
  if (taken.length === 0) return [(p) => p.host === writerHost];
  const hosts = new Set(taken.map((p) => p.host));
  const racks = new Set(taken.map((p) => p.rack));
  const otherHost = (p: Place) => !hosts.has(p.host);
  if (racks.size === 1) return [(p) => otherHost(p) && !racks.has(p.rack), otherHost];
  if (taken.length === 2) return [(p) => otherHost(p) && p.rack === taken[1]!.rack, otherHost];
  return [otherHost];
}

/** One of the candidates that satisfy the first preference that any satisfies; one of all when none does. */
function pickFirst<C extends Candidate>(
  candidates: readonly C[],
  wishes: ((place: Place) => boolean)[],
  random: () => number,
): C {
  for (const wish of wishes) {
    const fitting = candidates.filter(wish);
    if (fitting.length > 0) return pickWeighted(fitting, random);
  }
  return pickWeighted(candidates, random);
}

function weight({ room, writers }: Candidate): number {
  return room / (1 + writers * LOAD_WEIGHT);
}

/** One of the candidates (at least one), with a probability in proportion to its weight. */
function pickWeighted<C extends Candidate>(candidates: readonly C[], random: () => number): C {
  let at = random() * candidates.reduce((sum, c) => sum + weight(c), 0);
  for (const c of candidates) {
    at -= weight(c);
    if (at < 0) return c;
  }
  return candidates.at(-1)!;
}

/** A replica that may be dropped, and how full its datanode is (0..1). */
export interface Droppable extends Place {
  readonly fullness: number;
}

/**
 * Chooses `count` replicas to drop so that the rest stay spread over hosts and racks; of equals, from the fullest.
 * @param moved the one that has been copied elsewhere to be dropped: it goes first
 */
export function chooseSurplus<D extends Droppable>(replicas: readonly D[], count: number, moved?: number): D[] {
  const dropped: D[] = count === 0 ? [] : replicas.filter((r) => r.id === moved);
  const left = replicas.filter((r) => !dropped.includes(r));
  while (dropped.length < count && left.length > 0) {
    const crowd = mostCrowded(
      mostCrowded(left, (r) => r.host),
      (r) => r.rack,
    );
    const victim = crowd.reduce((a, b) => (b.fullness > a.fullness ? b : a));
    left.splice(left.indexOf(victim), 1);
    dropped.push(victim);
  }
  return dropped;
}

/** Those of the replicas whose host (or rack) has the most of them. */
function mostCrowded<D>(replicas: readonly D[], by: (replica: D) => string): D[] {
  const counts = new Map<string, number>();
  for (const r of replicas) counts.set(by(r), (counts.get(by(r)) ?? 0) + 1);
  const most = Math.max(...counts.values());
  return replicas.filter((r) => counts.get(by(r)) === most);
}
