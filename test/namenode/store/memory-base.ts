import type { Key } from "../../../namenode/store/kv.js";
import type { Base, BaseSnapshot } from "../../../namenode/store/layered-store.js";
import { LayeredRange, type Piece, type ScanRange } from "../../../namenode/store/merge.js";
import { Overlay } from "../../../namenode/store/overlay.js";

/** The first entries of a range of an overlay. */
export function scanOverlay(entries: Overlay, { gte, lt, reverse, exclusive, limit }: ScanRange): Piece {
  const layers = { overlays: [entries], base: undefined };
  const found: [Key, Uint8Array][] = [];
  for (const entry of new LayeredRange(() => layers, { gte, lt, reverse })) {
    if (exclusive && entry[0] === gte) continue;
    found.push(entry);
    if (found.length === limit) break;
  }
  return { entries: found, complete: found.length < limit };
}

/** A copy of an overlay, as a base's snapshot. */
export function snapshotOf(entries: Overlay, index: number): BaseSnapshot {
  const copy = new Overlay();
  for (const [key, value] of entries.entries()) copy.set(key, value);
  return {
    index,
    get: (key) => copy.get(key) ?? undefined,
    scan: (range) => scanOverlay(copy, range),
    close: () => {},
  };
}

/** A base in memory whose writes wait until they are let through, or are made to fail. */
export class MemoryBase implements Base {
  index = 0;
  closed = false;
  readonly #entries = new Overlay();
  #pending: { commit: () => void; fail: (err: Error) => void } | undefined;

  get(key: Key): Uint8Array | undefined {
    return this.#entries.get(key) ?? undefined;
  }

  scan(range: ScanRange): Piece {
    return scanOverlay(this.#entries, range);
  }

  snapshot(): BaseSnapshot {
    return snapshotOf(this.#entries, this.index);
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
