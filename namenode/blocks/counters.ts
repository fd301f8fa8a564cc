import { invariant } from "../../common/errors.js";
import type { KeyValue } from "../store/kv.js";
import { COUNTERS_KEY } from "./keys.js";

/** Counters the hints can have: one per level of the repair queue, and one for corrupt replicas. */
const SLOTS = 20;
const SLOT_BYTES = 8;
/** The counter of corrupt replicas. */
export const CORRUPT_SLOT = SLOTS - 1;

/** Counts over the hints, kept beside them in the store: the status page needs no scan, a restart neither. */
export class Counters {
  readonly #kv: KeyValue;
  #values: Float64Array | undefined;

  constructor(kv: KeyValue) {
    this.#kv = kv;
  }

  /** The value of a counter. */
  get(slot: number): number {
    return this.#load()[slot]!;
  }

  /** Adds to a counter. A count is never negative. */
  add(slot: number, by: number): void {
    invariant(slot < SLOTS, () => `counter ${slot} does not exist`);
    const values = this.#load();
    values[slot]! += by;
    invariant(values[slot]! >= 0, () => `counter ${slot} of the replicas became negative`);
    const bytes = Buffer.allocUnsafe(SLOTS * SLOT_BYTES);
    for (let i = 0; i < SLOTS; i++) bytes.writeDoubleBE(values[i]!, i * SLOT_BYTES);
    this.#kv.put(COUNTERS_KEY, bytes);
  }

  #load(): Float64Array {
    if (this.#values === undefined) {
      this.#values = new Float64Array(SLOTS);
      const bytes = this.#kv.get(COUNTERS_KEY);
      if (bytes !== undefined) {
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        for (let i = 0; i < SLOTS; i++) this.#values[i] = view.getFloat64(i * SLOT_BYTES);
      }
    }
    return this.#values;
  }
}
