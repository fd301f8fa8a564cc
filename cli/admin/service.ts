import { formatAddress } from "../../common/address.js";
import { CairnError } from "../../common/errors.js";
import { Admin } from "../../proto/gen/services.js";
import { type DatanodeStatus, Duty } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import { print } from "../output.js";

/** Pause between two looks at how far a datanode is, ms. */
const POLL_MS = 1_000;

/** What a datanode is to be. */
export interface ServiceRequest {
  readonly duty: Duty;
  /** Of maintenance: for how long, ms; 0: until an operator says otherwise. */
  readonly forMs: number;
  /** Return only when the datanode may be switched off. */
  readonly wait: boolean;
}

/**
 * `cairn admin decommission`, `maintenance` and `recommission`: takes a datanode out of service or puts it back. Waiting may
 * be broken off at any time: the namenode goes on. ENOENT: no such datanode.
 * @param who a datanode's number, host:port, or host where that is one datanode's
 */
export async function setService(link: Link, who: string, request: ServiceRequest): Promise<void> {
  const { duty, forMs, wait } = request;
  const found = find((await link.call(Admin.status, {})).datanodes, who);
  await link.call(Admin.administer, { datanode: found.address.id, duty, forMs });
  for (let said = ""; ; ) {
    const now = await look(link, found.address.id);
    const line = describe(now);
    if (line !== said) await print(`${line}\n`);
    said = line;
    if (!wait || duty === Duty.IN_SERVICE || maySwitchOff(now)) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Whether the machine may be switched off without a block falling short. */
function maySwitchOff({ service }: DatanodeStatus): boolean {
  return service === "decommissioned" || service === "in maintenance";
}

async function look(link: Link, id: number): Promise<DatanodeStatus> {
  const { datanodes } = await link.call(Admin.status, {});
  return find(datanodes, String(id));
}

/** The datanode that a number or an address means. ENOENT; EINVAL: a host with several. */
export function find(datanodes: readonly DatanodeStatus[], who: string): DatanodeStatus {
  const matches = datanodes.filter(
    ({ address }) => String(address.id) === who || formatAddress(address) === who || address.host === who,
  );
  const [only] = matches;
  if (matches.length === 1 && only !== undefined) return only;
  if (matches.length === 0) throw new CairnError("ENOENT", `there is no datanode ${who} (see cairn admin report)`);
  const ids = matches.map(({ address }) => `${address.id} (${formatAddress(address)})`).join(", ");
  throw new CairnError("EINVAL", `${who} has several datanodes: ${ids}`);
}

function describe(datanode: DatanodeStatus): string {
  const { address, service, needed, untilMs, state } = datanode;
  const until = untilMs > 0 ? ` until ${new Date(untilMs).toISOString()}` : "";
  const rest =
    service === "in service" || maySwitchOff(datanode) ? "" : needed > 0 ? `: ${needed} blocks to copy` : ": counting";
  const off = maySwitchOff(datanode) && state !== "dead" ? ": it may be switched off" : "";
  return `datanode ${address.id} (${formatAddress(address)}) is ${service}${until}${rest}${off}`;
}
