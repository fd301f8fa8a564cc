import type { Key, RangeOptions } from "./kv.js";
import type { Overlay } from "./overlay.js";

/** What lies below the overlays: an ordered map that is read in pieces, so that nothing stays open between two of them. */
export interface SortedReader {
  /**
   * The first entries between `gte` (inclusive) and `lt` (exclusive), or with `reverse` the last ones, from the end.
   * Ends early when `limit` entries or `maxBytes` of values have been gathered.
   */
  scan(range: ScanRange): Piece;
}

export interface Piece {
  entries: [Key, Uint8Array][];
  /** Whether the range has no further entries. */
  complete: boolean;
}

export interface ScanRange {
  gte: Key;
  lt: Key;
  reverse: boolean;
  /** Excludes `gte` itself. */
  exclusive: boolean;
  limit: number;
  maxBytes: number;
}

/** The layers of a store, newest first. Replaced as a whole when one comes or goes. */
export interface Layers {
  readonly overlays: readonly Overlay[];
  readonly base: SortedReader | undefined;
}

/** Entries in the first piece read from the base: many ranges are left after one. */
const FIRST_PIECE = 2;
/** Entries in a later piece, at most. Each is four times as large as the one before. */
const MAX_PIECE = 128;
/** Bytes of values in one piece, at most one entry more. */
const MAX_PIECE_BYTES = 256 * 1024;

/** Where a range has got to. */
interface Position {
  readonly gte: Key;
  readonly lt: Key;
  readonly reverse: boolean;
  /** The last key passed; undefined before the first. */
  last: Key | undefined;
}

/** Whether `key` comes after the position, in the range's direction. */
function isAhead(key: Key, at: Position): boolean {
  if (at.last === undefined) return true;
  return at.reverse ? key < at.last : key > at.last;
}

/** A layer's next key beyond a position. */
interface Cursor {
  /** The next key, not taken; undefined when there is none within the range. */
  peek(): Key | undefined;
  /** The value of the key that peek() returned; null for a tombstone. */
  value(): Uint8Array | null;
}

class OverlayCursor implements Cursor {
  readonly #overlay: Overlay;
  readonly #at: Position;
  #version = -1;
  #head: Key | undefined;

  constructor(overlay: Overlay, at: Position) {
    this.#overlay = overlay;
    this.#at = at;
  }

  peek(): Key | undefined {
    const overlay = this.#overlay;
    const head = this.#head;
    if (overlay.version === this.#version && (head === undefined || isAhead(head, this.#at))) return head;
    this.#version = overlay.version;
    this.#head = this.#seek();
    return this.#head;
  }

  value(): Uint8Array | null {
    return this.#overlay.get(this.#head!)!;
  }

  #seek(): Key | undefined {
    const { gte, lt, reverse, last } = this.#at;
    if (reverse) {
      const key = this.#overlay.lower(last ?? lt);
      return key !== undefined && key >= gte ? key : undefined;
    }
    const key = last === undefined ? this.#overlay.ceiling(gte) : this.#overlay.higher(last);
    return key !== undefined && key < lt ? key : undefined;
  }
}

class BaseCursor implements Cursor {
  readonly #base: SortedReader;
  readonly #at: Position;
  #piece: [Key, Uint8Array][] = [];
  #next = 0;
  #limit = FIRST_PIECE;
  #ended = false;

  constructor(base: SortedReader, at: Position) {
    this.#base = base;
    this.#at = at;
  }

  peek(): Key | undefined {
    for (;;) {
      const entry = this.#piece[this.#next];
      if (entry === undefined) {
        if (this.#ended) return undefined;
        this.#read();
      } else if (isAhead(entry[0], this.#at)) {
        return entry[0];
      } else {
        this.#next++;
      }
    }
  }

  value(): Uint8Array | null {
    return this.#piece[this.#next]![1];
  }

  #read(): void {
    const { gte, lt, reverse, last } = this.#at;
    const limit = this.#limit;
    const { entries, complete } = this.#base.scan({
      gte: reverse ? gte : (last ?? gte),
      lt: reverse ? (last ?? lt) : lt,
      reverse,
      exclusive: !reverse && last !== undefined,
      limit,
      maxBytes: MAX_PIECE_BYTES,
    });
    this.#piece = entries;
    this.#next = 0;
    this.#ended = complete;
    this.#limit = Math.min(limit * 4, MAX_PIECE);
  }
}

/**
 * A range over layers: the newest layer that knows a key decides, tombstones hide. It looks for the next key only when
 * asked, holds nothing open in between, and notices when the layers are replaced, so it can be left and taken up again
 * at any time.
 */
export class LayeredRange implements IterableIterator<[Key, Uint8Array]> {
  readonly #source: () => Layers;
  readonly #at: Position;
  #layers: Layers | undefined;
  #cursors: Cursor[] = [];
  #done: boolean;

  constructor(source: () => Layers, { gte, lt, reverse = false }: RangeOptions) {
    this.#source = source;
    this.#at = { gte, lt, reverse, last: undefined };
    this.#done = gte >= lt;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<[Key, Uint8Array], undefined> {
    while (!this.#done) {
      const cursor = this.#nearest();
      if (cursor === undefined) break;
      const key = cursor.peek()!;
      const value = cursor.value();
      this.#at.last = key;
      if (value !== null) return { done: false, value: [key, value] };
    }
    return this.return();
  }

  return(): IteratorResult<[Key, Uint8Array], undefined> {
    this.#done = true;
    this.#cursors = [];
    return { done: true, value: undefined };
  }

  /** The cursor with the next key; of several, that of the newest layer. */
  #nearest(): Cursor | undefined {
    const layers = this.#source();
    if (layers !== this.#layers) {
      this.#layers = layers;
      this.#cursors = layers.overlays.map((overlay) => new OverlayCursor(overlay, this.#at));
      if (layers.base) this.#cursors.push(new BaseCursor(layers.base, this.#at));
    }
    let nearest: Cursor | undefined;
    let nearestKey: Key | undefined;
    for (const cursor of this.#cursors) {
      const key = cursor.peek();
      if (key === undefined) continue;
      if (nearestKey === undefined || (this.#at.reverse ? key > nearestKey : key < nearestKey)) {
        nearest = cursor;
        nearestKey = key;
      }
    }
    return nearest;
  }
}
