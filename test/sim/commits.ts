import { replicaName } from "../../datanode/replica-name.js";
import { Namenode } from "../../proto/gen/services.js";
import { CommitRequest, type CommittedBlock } from "../../proto/gen/types.js";
import type { Checker } from "./checker.js";
import type { DatanodeMachine, SimCluster } from "./cluster.js";

/** A disaster excuses a datanode that has lost what it acknowledged, for as long as a commit may be repeated, ms. */
const EXCUSED_MS = 300_000;

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
