// Locks on files as programs know them: fcntl's byte ranges and flock's whole files. Pure: what one owner holds, and what
// becomes of it. Positions and owners have 64 bits, so they are bigints.

/** The two kinds of locks, which know nothing of one another: byte ranges (fcntl), whole files (flock). */
export type LockSpace = "range" | "whole";
/** Many may share; an exclusive lock is the only one on its bytes. */
export type LockKind = "shared" | "exclusive";

/** The last byte a lock can cover: what "to the end of the file, wherever that will be" means. */
export const LAST_BYTE = 2n ** 63n - 1n;

/** A range that one owner has locked. */
export interface LockPiece {
  readonly kind: LockKind;
  /** First and last byte, both inside. */
  readonly first: bigint;
  readonly last: bigint;
  /** The process that took it, as its machine knows it: for F_GETLK. */
  readonly pid: number;
}

/** Whether two ranges have a byte in common. */
export function overlaps(a: { first: bigint; last: bigint }, b: { first: bigint; last: bigint }): boolean {
  return a.first <= b.last && b.first <= a.last;
}

/** Whether two owners cannot have both. */
export function conflicts(a: Omit<LockPiece, "pid">, b: Omit<LockPiece, "pid">): boolean {
  return (a.kind === "exclusive" || b.kind === "exclusive") && overlaps(a, b);
}

/**
 * What an owner holds after it has locked a range, or unlocked it (kind undefined): the range is split off what was there, and
 * pieces of a kind that touch become one.
 * @param pieces what it held: in order, not overlapping, no two that could be one. Never changed.
 */
export function withRange(
  pieces: readonly LockPiece[],
  range: Omit<LockPiece, "kind"> & { readonly kind: LockKind | undefined },
): LockPiece[] {
  const after: LockPiece[] = [];
  const { kind, pid } = range;
  let { first, last } = range;
  let next = 0;
  for (; next < pieces.length && pieces[next]!.first <= range.last + 1n; next++) {
    const piece = pieces[next]!;
    if (piece.last < range.first - 1n) after.push(piece);
    else if (piece.kind === kind) {
      if (piece.first < first) first = piece.first;
      if (piece.last > last) last = piece.last;
    } else {
      if (piece.first < range.first) after.push({ ...piece, last: min(piece.last, range.first - 1n) });
      if (piece.last > range.last) {
        // It begins after the range, or is what the range leaves of it.
        const rest = { ...piece, first: max(piece.first, range.last + 1n) };
        return [...after, ...one(kind, first, last, pid), rest, ...pieces.slice(next + 1)];
      }
    }
  }
  return [...after, ...one(kind, first, last, pid), ...pieces.slice(next)];
}

/** Whether pieces cover every byte of a range with a kind, or with a stronger one. */
export function covers(pieces: readonly LockPiece[], range: Omit<LockPiece, "pid">): boolean {
  let at = range.first;
  for (const piece of pieces) {
    if (piece.last < at) continue;
    if (piece.first > at || (range.kind === "exclusive" && piece.kind === "shared")) return false;
    if (piece.last >= range.last) return true;
    at = piece.last + 1n;
  }
  return false;
}

/** The part of a piece that lies in a range, which it overlaps. */
export function clipped(piece: LockPiece, range: { first: bigint; last: bigint }): LockPiece {
  return { ...piece, first: max(piece.first, range.first), last: min(piece.last, range.last) };
}

function one(kind: LockKind | undefined, first: bigint, last: bigint, pid: number): LockPiece[] {
  return kind === undefined ? [] : [{ kind, first, last, pid }];
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
