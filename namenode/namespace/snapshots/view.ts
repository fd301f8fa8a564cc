import { InvariantError } from "../../../common/errors.js";
import { VersionRecord } from "../../../proto/gen/types.js";
import type { Key, KeyValue, RangeOptions } from "../../store/kv.js";
import { idOfVersion, keyOfVersion, versionsFrom, versionsWithin } from "../keys.js";
import { isKept } from "./versions.js";

/** What a key held. */
type Version = readonly [Key, VersionRecord];

/**
 * The store as it was when a snapshot was made, as far as what is below its directory goes; blocks are those of today, as they never
 * change. Of a key, the oldest version kept since then holds its value; without one it has not changed.
 */
export class SnapshotView implements KeyValue {
  readonly #kv: KeyValue;
  readonly #id: number;

  /** @param id the snapshot's */
  constructor(kv: KeyValue, id: number) {
    this.#kv = kv;
    this.#id = id;
  }

  get(key: Key): Uint8Array | undefined {
    if (isKept(key)) {
      for (const [, bytes] of this.#kv.range(versionsFrom(key, this.#id))) {
        const { absent, value } = VersionRecord.decode(bytes);
        return absent ? undefined : value;
      }
    }
    return this.#kv.get(key);
  }

  range(options: RangeOptions): IterableIterator<[Key, Uint8Array]> {
    return isKept(options.gte) ? this.#merged(options) : this.#kv.range(options);
  }

  put(key: Key): never {
    throw new InvariantError(`a snapshot is never changed, but key ${JSON.stringify(key)} was to be set`);
  }

  delete(key: Key): never {
    throw new InvariantError(`a snapshot is never changed, but key ${JSON.stringify(key)} was to be removed`);
  }

  /** The entries of today, with versions in their place where there are such. */
  *#merged(options: RangeOptions): IterableIterator<[Key, Uint8Array]> {
    const live = this.#kv.range(options);
    const old = this.#versions(options);
    const isFirst = (a: Key, b: Key) => (options.reverse ? a > b : a < b);
    let today = live.next();
    let then = old.next();
    while (!today.done || !then.done) {
      if (then.done || (!today.done && isFirst(today.value[0], then.value[0]))) {
        yield today.value!;
        today = live.next();
        continue;
      }
      const [key, { absent, value }] = then.value;
      if (!today.done && today.value[0] === key) today = live.next();
      if (!absent) yield [key, value];
      then = old.next();
    }
  }

  /** Of every key in a range of which a version was kept since the snapshot, the oldest such. */
  *#versions(options: RangeOptions): Generator<Version, undefined> {
    const { gte, lt, reverse = false } = options;
    let found: [Key, Uint8Array] | undefined;
    for (const [versionKey, bytes] of this.#kv.range({ ...versionsWithin(options), reverse })) {
      const key = keyOfVersion(versionKey);
      if (key < gte || key >= lt || idOfVersion(versionKey) < this.#id) continue;
      if (found !== undefined && found[0] !== key) yield [found[0], VersionRecord.decode(found[1])];
      // From the start the first is the oldest; from the end the last.
      if (found?.[0] !== key || reverse) found = [key, bytes];
    }
    if (found !== undefined) yield [found[0], VersionRecord.decode(found[1])];
  }
}
