import { conflicts, type LockPiece, type LockSpace, withRange } from "../../common/lock.js";
import { type HeldLock, type LockOwner, type LockRequest, type OwnerKey, ownerKey, type Waiter } from "./request.js";

/** What one owner has locked of a file. */
interface Holder {
  readonly owner: LockOwner;
  readonly pieces: readonly LockPiece[];
}

/** The locks of one space (fcntl's or flock's) on one file, and who waits for them. */
export class FileLocks {
  readonly ino: number;
  readonly space: LockSpace;
  /** In the order in which they came. */
  readonly waiters: Waiter[] = [];
  readonly #holders = new Map<OwnerKey, Holder>();
  #count = 0;

  constructor(ino: number, space: LockSpace) {
    this.ino = ino;
    this.space = space;
  }

  /** How many pieces are locked. */
  get count(): number {
    return this.#count;
  }

  get isEmpty(): boolean {
    return this.#count === 0 && this.waiters.length === 0;
  }

  /** What an owner holds. */
  held(key: OwnerKey): readonly LockPiece[] {
    return this.#holders.get(key)?.pieces ?? [];
  }

  /** What an owner would hold after a request. */
  after(request: LockRequest): LockPiece[] {
    return withRange(this.held(ownerKey(request)), request);
  }

  /** From now on an owner holds these. */
  put({ session, space, owner }: LockOwner, pieces: readonly LockPiece[]): void {
    const key = ownerKey({ session, space, owner });
    this.#count += pieces.length - this.held(key).length;
    if (pieces.length === 0) this.#holders.delete(key);
    else this.#holders.set(key, { owner: { session, space, owner }, pieces });
  }

  /** The owners that hold what a lock cannot be had beside. */
  *blockers(lock: HeldLock): IterableIterator<OwnerKey> {
    const own = ownerKey(lock);
    for (const [key, { pieces }] of this.#holders) {
      if (key !== own && pieces.some((piece) => conflicts(piece, lock))) yield key;
    }
  }

  /** Whether anybody holds what a lock cannot be had beside. */
  isBlocked(lock: HeldLock): boolean {
    return !this.blockers(lock).next().done;
  }

  /** The first lock, by its place in the file, that a lock cannot be had beside. */
  firstBlocker(lock: HeldLock): HeldLock | undefined {
    let first: HeldLock | undefined;
    for (const key of this.blockers(lock)) {
      const { owner, pieces } = this.#holders.get(key)!;
      const piece = pieces.find((p) => conflicts(p, lock))!;
      if (first === undefined || piece.first < first.first) first = { ino: this.ino, ...owner, ...piece };
    }
    return first;
  }
}
