import { parseReplicaName, replicaName } from "../../datanode/replica-name.js";
import { Namenode } from "../../proto/gen/services.js";
import { CommitRequest, type CommittedBlock, GetExtentsReply, type LocatedBlock } from "../../proto/gen/types.js";
import type { Checker } from "./checker.js";
import type { DatanodeMachine, SimCluster } from "./cluster.js";

/** A disaster excuses a datanode that has lost what it acknowledged, for as long as a commit may be repeated, ms. */
const EXCUSED_MS = 300_000;

/** Checks, whenever the namenode says where a block is, that none of these datanodes has nothing but an older generation of it. */
export function watchLocations(cluster: SimCluster, checker: Checker): void {
  cluster.network.observers.push(({ method, bytes }) => {
    if (method !== `reply of ${Namenode.getExtents.name}`) return;
    for (const located of GetExtentsReply.decode(bytes).blocks) checkLocated(cluster, checker, located);
  });
}

function checkLocated(cluster: SimCluster, checker: Checker, { block, replicas }: LocatedBlock): void {
  for (const { id } of replicas) {
    const daemon = cluster.datanodes.find((d) => d.running?.id === id);
    if (daemon === undefined) continue; // it is down
    const generations = [...daemon.platter.files()]
      .map(([path]) => parseReplicaName(path.slice(path.lastIndexOf("/") + 1)))
      .filter((replica) => replica?.id === block.id)
      .map((replica) => replica!.generation);
    checker.check(
      generations.length === 0 || generations.some((generation) => generation >= block.generation),
      `${daemon.machine.name}, where block ${block.id} is said to be, has not just an older generation of it (${generations}, not ${block.generation})`,
    );
  }
}

/** Checks, whenever a client commits a block, that every datanode it names has it: that is what their acknowledgements said. */
export function watchCommits(cluster: SimCluster, checker: Checker): void {
  cluster.network.observers.push(({ from, method, bytes }) => {
    if (method !== Namenode.commit.name) return;
    for (const committed of CommitRequest.decode(bytes).blocks) check(cluster, checker, from, committed);
  });
}

function check(cluster: SimCluster, checker: Checker, client: string, { block, datanodes }: CommittedBlock): void {
  for (const id of datanodes) {
    const daemon = cluster.datanodes.find((d) => d.running?.id === id);
    if (daemon === undefined) continue; // it is down
    checker.check(
      hasReplica(daemon, replicaName(block)) || cluster.time.now - daemon.platter.lastDisaster < EXCUSED_MS,
      `${daemon.machine.name} has block ${block.id}, generation ${block.generation}, which ${client} commits`,
    );
  }
}

function hasReplica({ platter }: DatanodeMachine, name: string): boolean {
  for (const [path] of platter.files()) if (path.endsWith(`/${name}`)) return true;
  return false;
}
