/** Where a run of a file's bytes is to be found: byte `offset + i` of the file is byte `at + i` of `source`. */
export interface Piece<S> {
  readonly offset: number;
  readonly length: number;
  readonly source: S;
  readonly at: number;
}

type Mutable<S> = { -readonly [K in keyof Piece<S>]: Piece<S>[K] };

/**
 * The pieces that cover a file, ordered and never overlapping; the later put wins. Neighbours that continue one another
 * are one piece, so a file written front to back has one. Finding is a binary search, putting moves references.
 */
export class ExtentMap<S> {
  readonly #pieces: Mutable<S>[] = [];

  /** The number of pieces. */
  get count(): number {
    return this.#pieces.length;
  }

  /** Where the last piece ends; 0 when there is none. */
  get end(): number {
    const last = this.#pieces.at(-1);
    return last === undefined ? 0 : last.offset + last.length;
  }

  /** Every piece, in order. */
  pieces(): Iterable<Piece<S>> {
    return this.#pieces;
  }

  /** The first piece that ends after a position, whole; undefined when there is none. */
  after(position: number): Piece<S> | undefined {
    return this.#pieces[this.#find(position)];
  }

  /** Puts a piece over whatever was there. */
  put(offset: number, length: number, source: S, at: number): void {
    if (length === 0) return;
    const i = offset >= this.end ? this.#pieces.length : this.cut(offset, offset + length);
    // To V8 [-1] is a property by name, which is dear to look for.
    const before = i === 0 ? undefined : this.#pieces[i - 1];
    const after = this.#pieces[i];
    const piece: Mutable<S> = { offset, length, source, at };
    if (before !== undefined && continues(before, piece)) {
      before.length += length;
      if (after === undefined || !continues(before, after)) return;
      before.length += after.length;
      this.#pieces.splice(i, 1);
    } else if (after !== undefined && continues(piece, after)) {
      after.offset = offset;
      after.length += length;
      after.at = at;
    } else if (after === undefined) this.#pieces.push(piece);
    else this.#pieces.splice(i, 0, piece);
  }

  /** Takes [from, to) out. Returns the index where a piece that starts at `from` belongs. */
  cut(from: number, to: number): number {
    const pieces = this.#pieces;
    const first = this.#find(from);
    let last = first;
    while (last < pieces.length && pieces[last]!.offset < to) last++;
    if (last === first) return first;
    const rest: Mutable<S>[] = [];
    const head = pieces[first]!;
    const tail = pieces[last - 1]!;
    if (head.offset < from) rest.push({ ...head, length: from - head.offset });
    if (tail.offset + tail.length > to) {
      const skip = to - tail.offset;
      rest.push({ offset: to, length: tail.length - skip, source: tail.source, at: tail.at + skip });
    }
    const index = head.offset < from ? first + 1 : first;
    pieces.splice(first, last - first, ...rest);
    return index;
  }

  /** Forgets everything. */
  clear(): void {
    this.#pieces.length = 0;
  }

  /** Goes through [from, to) in order: every piece of it, clipped, and every gap. */
  visit(
    from: number,
    to: number,
    onPiece: (piece: Piece<S>) => void,
    onGap: (from: number, to: number) => void = () => {},
  ): void {
    let pos = from;
    for (let i = this.#find(from); i < this.#pieces.length && pos < to; i++) {
      const piece = this.#pieces[i]!;
      if (piece.offset >= to) break;
      if (piece.offset > pos) onGap(pos, piece.offset);
      const start = Math.max(pos, piece.offset);
      const end = Math.min(to, piece.offset + piece.length);
      onPiece({ offset: start, length: end - start, source: piece.source, at: piece.at + start - piece.offset });
      pos = end;
    }
    if (pos < to) onGap(pos, to);
  }

  /** The index of the first piece that ends after `offset`. */
  #find(offset: number): number {
    let low = 0;
    let high = this.#pieces.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const piece = this.#pieces[middle]!;
      if (piece.offset + piece.length > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

function continues<S>(a: Piece<S>, b: Piece<S>): boolean {
  return a.source === b.source && a.offset + a.length === b.offset && a.at + a.length === b.at;
}
