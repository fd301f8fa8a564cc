import type { Key } from "../../../namenode/store/kv.js";
import type { Base } from "../../../namenode/store/layered-store.js";
import { LayeredRange, type Piece, type ScanRange } from "../../../namenode/store/merge.js";
import { Overlay } from "../../../namenode/store/overlay.js";

/** A base in memory whose writes wait until they are let through, or are made to fail. */
export class MemoryBase implements Base {
  index = 0;
  closed = false;
  readonly #entries = new Overlay();
  #pending: { commit: () => void; fail: (err: Error) => void } | undefined;

  get(key: Key): Uint8Array | undefined {
    return this.#entries.get(key) ?? undefined;
  }

  scan({ gte, lt, reverse, exclusive, limit }: ScanRange): Piece {
    const layers = { overlays: [this.#entries], base: undefined };
    const entries: [Key, Uint8Array][] = [];
    for (const entry of new LayeredRange(() => layers, { gte, lt, reverse })) {
      if (exclusive && entry[0] === gte) continue;
      entries.push(entry);
      if (entries.length === limit) break;
    }
    return { entries, complete: entries.length < limit };
  }

  write(overlay: Overlay, index: number): Promise<void> {
    const written = [...overlay.entries()];
    return new Promise((resolve, fail) => {
      const commit = () => {
        for (const [key, value] of written) value === null ? this.#entries.remove(key) : this.#entries.set(key, value);
        this.index = index;
        resolve();
      };
      this.#pending = { commit, fail };
    });
  }

  /** Whether a write waits. */
  get isWriting(): boolean {
    return this.#pending !== undefined;
  }

  /** Ends the write that waits, with an error or without, and lets those who wait for it run. */
  async end(err?: Error): Promise<void> {
    const pending = this.#pending;
    this.#pending = undefined;
    if (err) pending?.fail(err);
    else pending?.commit();
    await new Promise((resolve) => setImmediate(resolve));
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}
