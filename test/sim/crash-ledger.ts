import { invariant } from "../../common/errors.js";

/** What a file held once something had been done. */
export interface Version {
  readonly bytes: Buffer;
  /** Bytes [from, to) that were written since the last fsync before it. */
  readonly fresh: readonly (readonly [number, number])[];
  /** An fsync of this, or of a later version, has succeeded. */
  isSynced: boolean;
  /** When it was acknowledged, ms of virtual time; infinite: not yet. */
  acknowledged: number;
}

/** The names in a directory, and what they stand for. */
export type Names = ReadonlyMap<string, Version | "directory">;

/** A state of the directory. */
interface State {
  readonly names: Names;
  /** When what made it was acknowledged, ms of virtual time; infinite: not yet. */
  acknowledged: number;
}

/** A file or a directory as it was found after everything had lost its power. */
export type Found =
  | "directory"
  | {
      readonly bytes: Buffer;
      /** Bytes [from, to) that no replica could be read of. */
      readonly unreadable: readonly (readonly [number, number])[];
    };

/** How long after its acknowledgement something is safe though nobody asked for that, ms: names, and bytes on datanodes. */
export interface Bounds {
  readonly namesMs: number;
  readonly bytesMs: number;
}

/**
 * The states that a directory has had, in order, as the one program that changes it knows them, and up to which of them it was
 * promised that none is undone.
 */
export class CrashLedger {
  readonly #states: State[] = [{ names: new Map(), acknowledged: 0 }];
  #synced = 0;

  /** The newest state. */
  get names(): Names {
    return this.#states.at(-1)!.names;
  }

  /** Something is being done that makes it this. */
  begin(names: Names): void {
    this.#states.push({ names, acknowledged: Number.POSITIVE_INFINITY });
  }

  /** All that was begun has been acknowledged. */
  acknowledge(now: number): void {
    for (const state of this.#states) {
      if (state.acknowledged === Number.POSITIVE_INFINITY) state.acknowledged = now;
      for (const version of state.names.values()) {
        if (version !== "directory" && version.acknowledged === Number.POSITIVE_INFINITY) version.acknowledged = now;
      }
    }
  }

  /** All that was acknowledged is on the namenode's disk. */
  sync(): void {
    this.#synced = this.#states.findLastIndex(({ acknowledged }) => acknowledged < Number.POSITIVE_INFINITY);
  }

  /** The content of a file, in this state, is on the disks. */
  syncContent(name: string): void {
    const version = this.names.get(name);
    invariant(version !== undefined && version !== "directory", `${name} is a file`);
    version.isSynced = true;
  }

  /**
   * What is wrong with what was found after the power went at some time; undefined: nothing is. It must be one of the states since
   * the last that is safe, with every file as it was in that state.
   */
  fault(found: ReadonlyMap<string, Found>, at: number, { namesMs, bytesMs }: Bounds): string | undefined {
    const safe = this.#states.findLastIndex(({ acknowledged }) => acknowledged < at - namesMs);
    const least = Math.max(this.#synced, safe);
    const faults: string[] = [];
    for (const [i, { names }] of this.#states.entries()) {
      if (i < least) continue;
      const fault = difference(names, found, (version) => version.isSynced || version.acknowledged < at - bytesMs);
      if (fault === undefined) return undefined;
      faults.push(`state ${i}: ${fault}`);
    }
    return `none of the states since ${least}: ${faults.join("; ")}`;
  }
}

function difference(
  names: Names,
  found: ReadonlyMap<string, Found>,
  isSafe: (version: Version) => boolean,
): string | undefined {
  for (const name of found.keys()) if (!names.has(name)) return `${name} is there`;
  for (const [name, version] of names) {
    const seen = found.get(name);
    if (seen === undefined) return `${name} is not there`;
    if (version === "directory" || seen === "directory") {
      if (version !== seen) return `${name} is of another kind`;
      continue;
    }
    const fault = differenceOf(version, seen, isSafe(version));
    if (fault !== undefined) return `${name} ${fault}`;
  }
  return undefined;
}

function differenceOf(
  { bytes, fresh }: Version,
  seen: Exclude<Found, "directory">,
  isSafe: boolean,
): string | undefined {
  if (seen.bytes.length !== bytes.length) return `has ${seen.bytes.length} bytes, not ${bytes.length}`;
  const [lost] = seen.unreadable;
  if (lost !== undefined && isSafe) return `cannot be read at ${lost[0]}`;
  for (let at = 0; at < bytes.length; at++) {
    const isLost = seen.unreadable.some(([from, to]) => at >= from && at < to);
    // Only what was written since the last fsync may be unreadable.
    if (isLost && !fresh.some(([from, to]) => at >= from && at < to))
      return `cannot be read at ${at}, which was synced`;
    if (!isLost && bytes[at] !== seen.bytes[at]) return `has another byte at ${at}`;
  }
  return undefined;
}
