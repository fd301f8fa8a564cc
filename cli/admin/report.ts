import { formatAddress } from "../../common/address.js";
import { Admin } from "../../proto/gen/services.js";
import type { StatusReply } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import { human } from "../fs/format.js";
import { print } from "../output.js";
import { table } from "../table.js";

/** `cairn admin report`: capacity, health and every datanode of the cluster. */
export async function report(link: Link, json: boolean): Promise<void> {
  const status = await link.call(Admin.status, {});
  await print(json ? `${JSON.stringify(forPrograms(status), null, 2)}\n` : forPeople(status));
}

/** The report as JSON has it. Sizes are bytes, times ISO 8601. */
function forPrograms(status: StatusReply): object {
  return {
    cluster: status.cluster,
    version: status.version,
    started: new Date(status.startedMs).toISOString(),
    capacity: status.capacity,
    used: status.used,
    free: status.free,
    files: status.files,
    directories: status.directories,
    blocks: status.blocks,
    underReplicated: status.underReplicated,
    lastCopy: status.lastCopy,
    evacuating: status.evacuating,
    misplaced: status.misplaced,
    missing: status.missing,
    corrupt: status.corrupt,
    pendingReplications: status.pendingReplications,
    pendingDeletions: status.pendingDeletions,
    datanodes: status.datanodes.map((d) => ({
      id: d.address.id,
      address: formatAddress(d.address),
      rack: d.address.rack,
      state: d.state,
      service: d.service,
      needed: d.needed,
      until: d.untilMs === 0 ? null : new Date(d.untilMs).toISOString(),
      transfers: d.transfers,
      capacity: d.capacity,
      used: d.used,
      free: d.free,
      blocks: d.blocks,
      lastHeartbeat: d.lastHeartbeatMs === 0 ? null : new Date(d.lastHeartbeatMs).toISOString(),
      volumes: d.volumes.map(({ path, capacity, used, free, failed, error }) => ({
        path,
        capacity,
        used,
        free,
        failed,
        ...(failed && { error }),
      })),
    })),
  };
}

function forPeople(status: StatusReply): string {
  const now = Date.now();
  const rows = status.datanodes.map((d) => [
    String(d.address.id),
    formatAddress(d.address),
    d.address.rack,
    d.service === "in service" ? d.state : `${d.state}, ${d.service}`,
    human(d.capacity),
    human(d.used),
    human(d.free),
    String(d.blocks),
    String(d.transfers),
    d.lastHeartbeatMs === 0 ? "never" : `${((now - d.lastHeartbeatMs) / 1000).toFixed(1)} s ago`,
  ]);
  const failed = status.datanodes.flatMap((d) =>
    d.volumes.filter((v) => v.failed).map((v) => `Failed volume of datanode ${d.address.id}: ${v.path}: ${v.error}\n`),
  );
  const live = status.datanodes.filter((d) => d.state === "live").length;
  return [
    `Cluster ${status.cluster}, version ${status.version}, namenode up since ${new Date(status.startedMs).toISOString()}\n`,
    `Capacity ${human(status.capacity)}, used ${human(status.used)}, free ${human(status.free)}\n`,
    `${status.files} files, ${status.directories} folders, ${status.blocks} blocks: `,
    `${status.missing} missing, ${status.underReplicated} under-replicated, ${status.corrupt} corrupt replicas; `,
    `${status.pendingReplications} replications and ${status.pendingDeletions} deletions to do\n`,
    `${status.lastCopy} blocks have a single copy left, ${status.evacuating} are to leave their datanodes, `,
    `${status.misplaced} are on one rack only\n`,
    `${live} of ${status.datanodes.length} datanodes live\n\n`,
    `${table(["id", "address", "rack", "state", "capacity", "used", "free", "blocks", "copying", "last heartbeat"], rows, [0, 4, 5, 6, 7, 8])}\n`,
    ...leaving(status),
    ...failed,
  ].join("");
}

/** One line for each datanode that is to leave, for good or for a while. */
function leaving(status: StatusReply): string[] {
  return status.datanodes
    .filter((d) => d.service !== "in service")
    .map(({ address, service, needed, untilMs }) => {
      const until = untilMs > 0 ? ` until ${new Date(untilMs).toISOString()}` : "";
      return `Datanode ${address.id} is ${service}${until}: ${needed} blocks to copy before it may be switched off\n`;
    });
}
