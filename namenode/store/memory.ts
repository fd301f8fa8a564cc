import { checkKey, type Key, type RangeOptions } from "./kv.js";
import { LayeredRange, type Layers } from "./merge.js";
import { Overlay } from "./overlay.js";
import type { Snapshot, Store } from "./store.js";

/** The store's in-memory twin, for tests and the simulator: one overlay over nothing. Everything is durable once flushed. */
export class MemoryStore implements Store {
  readonly appliedIndex = 0;
  readonly hasRoom = true;
  readonly #entries = new Overlay();
  readonly #layers: Layers = { overlays: [this.#entries], base: undefined };
  readonly #durableListeners: ((index: number) => void)[] = [];
  #index = 0;

  get(key: Key): Uint8Array | undefined {
    return this.#entries.get(key) ?? undefined;
  }

  put(key: Key, value: Uint8Array): void {
    checkKey(key);
    this.#entries.set(key, value);
  }

  delete(key: Key): void {
    this.#entries.remove(key);
  }

  range(options: RangeOptions): IterableIterator<[Key, Uint8Array]> {
    return new LayeredRange(() => this.#layers, options);
  }

  setIndex(index: number): void {
    this.#index = index;
  }

  waitForRoom(): Promise<void> {
    return Promise.resolve();
  }

  onDurable(listener: (index: number) => void): void {
    this.#durableListeners.push(listener);
  }

  async flush(): Promise<void> {
    for (const listener of this.#durableListeners) listener(this.#index);
  }

  async snapshot(): Promise<Snapshot> {
    const copy = new MemoryStore();
    for (const [key, value] of this.#entries.entries()) if (value !== null) copy.put(key, value);
    const index = this.#index;
    return { index, get: (key) => copy.get(key), range: (options) => copy.range(options), close: () => {} };
  }

  close(): Promise<void> {
    return this.flush();
  }
}
