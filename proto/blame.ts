import { CairnError, codeOf, messageOf } from "../common/errors.js";
import type { DatanodeAddress } from "./gen/types.js";

// Which datanode of a pipeline an OpenWrite failed at. A WireError has a code and a sentence only, so the sentence begins
// with "datanode <id> (<host>:<port>)"; this is the one place that writes and reads it.

const BLAMED = /^datanode (\d+) \(/;
/** What it looks like when a datanode cannot be reached, as opposed to having refused. */
const UNREACHABLE = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ENOTCONN",
  "ENOTFOUND",
  "ENETUNREACH",
  "ETIMEDOUT",
  "EPROTO",
]);

/** The error that says that `err` happened at, or on the way to, a datanode; as it is when it names one already. */
export function blame(datanode: Pick<DatanodeAddress, "id" | "host" | "port">, err: unknown): CairnError {
  if (err instanceof CairnError && blamedDatanode(err) !== undefined) return err;
  const code = codeOf(err);
  const at = `datanode ${datanode.id} (${datanode.host}:${datanode.port})`;
  return new CairnError(UNREACHABLE.has(code) ? "EHOSTUNREACH" : code, at, err);
}

/** The id of the datanode that a failed OpenWrite blames; undefined: the one that was asked. */
export function blamedDatanode(err: unknown): number | undefined {
  const match = BLAMED.exec(messageOf(err));
  return match === null ? undefined : Number(match[1]);
}
