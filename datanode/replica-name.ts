import { join } from "node:path";
import type { ReplicaIdentity } from "../proto/digest.js";

// Where a finalized replica's file is: blocks/<xx>/<yy>/<id>-<generation>-<length>, all hexadecimal. The name says
// everything that a start needs to know. Two levels of FAN_OUT directories; neighbouring ids share one, so that the files
// written at one time are made durable by syncing few directories.

/** Directories per level. */
export const FAN_OUT = 32;
/** Ids in a row that go to the same directory. */
const RUN = 256;

const NAME = /^([0-9a-f]{1,14})-([0-9a-f]{1,8})-([0-9a-f]{1,8})$/;

/** The name of a replica's file. */
export function replicaName({ id, generation, length }: ReplicaIdentity): string {
  return `${id.toString(16)}-${generation.toString(16)}-${length.toString(16)}`;
}

/** What a file's name says; undefined when it is no replica's. */
export function parseReplicaName(name: string): ReplicaIdentity | undefined {
  const match = NAME.exec(name);
  if (match === null) return undefined;
  const [id, generation, length] = match.slice(1).map((hex) => Number.parseInt(hex, 16)) as [number, number, number];
  return Number.isSafeInteger(id) ? { id, generation, length } : undefined;
}

/** The directory of a block's replica below `blocks`. */
export function replicaDirectory(blocks: string, id: number): string {
  const run = Math.floor(id / RUN);
  return join(blocks, level(Math.floor(run / FAN_OUT) % FAN_OUT), level(run % FAN_OUT));
}

/** The name of directory n of a level. */
export function level(n: number): string {
  return n.toString(16).padStart(2, "0");
}
