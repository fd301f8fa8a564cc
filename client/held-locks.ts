import { clipped, type LockPiece, overlaps, withRange } from "../common/lock.js";
import type { FileLock, TakenLock } from "../proto/lock.js";
import type { LockPlace } from "./contract.js";

/** What one owner has locked of one file, as far as this client knows. */
export class HeldLocks {
  readonly place: LockPlace;
  /** After the last request whose end is known. */
  pieces: readonly LockPiece[] = [];
  /** Requests whose end is not known. */
  readonly underWay = new Set<FileLock>();
  /** Until this resolves it is not known what is locked: further requests wait for it. */
  settling: Promise<unknown> | undefined;

  constructor({ ino, space, owner }: LockPlace) {
    this.place = { ino, space, owner };
  }

  /** What is locked whatever becomes of the requests under way: those that unlock, or lock less, may have been served. */
  certain(): TakenLock[] {
    let pieces = this.pieces;
    for (const request of this.underWay) pieces = afterFailure(weakened(pieces, request), request);
    return pieces.map((piece) => ({ ...this.place, ...piece }));
  }
}

/** What is left of an owner's locks when a request of it fails. flock(2): what it held of another kind is given up first. */
export function afterFailure(pieces: readonly LockPiece[], { space, kind }: FileLock): readonly LockPiece[] {
  return space === "whole" && pieces[0]?.kind !== kind ? [] : pieces;
}

/** What is held at least while a request may or may not have been served. */
function weakened(pieces: readonly LockPiece[], request: FileLock): readonly LockPiece[] {
  if (request.kind === "exclusive") return pieces;
  return pieces
    .filter((piece) => overlaps(piece, request))
    .reduce((held, piece) => withRange(held, { ...clipped(piece, request), kind: request.kind }), pieces);
}

/**
 * The requests that bring a range, now locked otherwise, back to what pieces say. None of them can be refused when the range is
 * locked exclusively, or with shared locks where the pieces have no exclusive ones.
 */
export function restoring(pieces: readonly LockPiece[], lock: FileLock): FileLock[] {
  const requests: FileLock[] = [];
  let at = lock.first;
  for (const piece of pieces.filter((p) => overlaps(p, lock))) {
    const part = clipped(piece, lock);
    if (part.first > at) requests.push({ ...lock, kind: undefined, first: at, last: part.first - 1n });
    requests.push({ ...lock, ...part });
    at = part.last + 1n;
  }
  if (at <= lock.last) requests.push({ ...lock, kind: undefined, first: at });
  return requests;
}
