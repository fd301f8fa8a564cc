import { VersionRecord } from "../../../proto/gen/types.js";
import type { Key, KeyValue, RangeOptions } from "../../store/kv.js";
import type { BlockTally } from "../edits/tally.js";
import { idOfVersion, readU64, versionKey, versionsFrom } from "../keys.js";
import { extentOf } from "../records.js";
import { type Covered, coverageOf, UNCOVERED } from "./coverage.js";
import { hasWithin } from "./records.js";

/** What the keys begin with whose values snapshots show: inodes, dentries, extents, extended attributes. */
const KEPT: ReadonlySet<string> = new Set(["I", "D", "E", "X"]);

/** Whether snapshots show what a key held. The first number in such a key is an inode's. */
export const isKept = (key: Key): boolean => KEPT.has(key[0]!);

/**
 * The store as an edit changes it while there are snapshots: before the first change of a key since the youngest snapshot that may refer
 * to it, its value is kept under that snapshot's id. A kept extent refers to its block as any other.
 */
export class VersionedStore implements KeyValue {
  readonly #kv: KeyValue;
  readonly #tally: BlockTally;
  readonly #nextIno: number;
  /** As of before the edit: an inode is looked at before its record is first changed. */
  readonly #covered = new Map<number, Covered>();

  /** @param nextIno inodes with this number or a greater one are in no snapshot */
  constructor(kv: KeyValue, tally: BlockTally, nextIno: number) {
    this.#kv = kv;
    this.#tally = tally;
    this.#nextIno = nextIno;
  }

  get(key: Key): Uint8Array | undefined {
    return this.#kv.get(key);
  }

  range(options: RangeOptions): IterableIterator<[Key, Uint8Array]> {
    return this.#kv.range(options);
  }

  put(key: Key, value: Uint8Array): void {
    if (isKept(key)) this.#keep(key);
    this.#kv.put(key, value);
  }

  delete(key: Key): void {
    if (isKept(key)) this.#keep(key);
    this.#kv.delete(key);
  }

  /** Whose snapshots may refer to an inode as it was before this edit. */
  covered(ino: number): Covered {
    if (ino >= this.#nextIno) return UNCOVERED;
    let covered = this.#covered.get(ino);
    if (covered === undefined) {
      covered = coverageOf(this.#kv, ino);
      this.#covered.set(ino, covered);
    }
    return covered;
  }

  #keep(key: Key): void {
    const { latest, roots } = this.covered(readU64(key, 1));
    if (latest === 0) return;
    const from = newestVersion(this.#kv, key);
    if (from >= latest) return;
    const value = this.#kv.get(key);
    const record = VersionRecord.encode({ absent: value === undefined, value, roots, from });
    this.#kv.put(versionKey(key, latest), record.finish());
    if (value === undefined || key[0] !== "E") return;
    const { block, length } = extentOf(key, value);
    this.#tally.count(block, 1, length);
  }
}

/** The id that the newest version of a key is kept under; 0: there is none. */
function newestVersion(kv: KeyValue, key: Key): number {
  for (const [version] of kv.range({ ...versionsFrom(key, 0), reverse: true })) return idOfVersion(version);
  return 0;
}

/** Whether a snapshot may need a version that is kept under an id. */
export function isNeeded(kv: KeyValue, id: number, { roots, from }: VersionRecord): boolean {
  return roots.some((root) => hasWithin(kv, root, from + 1, id + 1));
}
