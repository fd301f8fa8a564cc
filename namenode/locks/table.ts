import { CairnError } from "../../common/errors.js";
import { conflicts, LAST_BYTE, type LockPiece, type LockSpace } from "../../common/lock.js";
import { isDeadlock } from "./deadlock.js";
import { FileLocks } from "./file-locks.js";
import { type HeldLock, type LockOwner, type LockRequest, type OwnerKey, ownerKey, type Waiter } from "./request.js";
import { SessionLocks } from "./session-locks.js";

/** Bounds of a lock table. What goes over one is ENOLCK. */
export interface LockLimits {
  /** Ranges locked in one file. */
  readonly perFile: number;
  /** Ranges locked by one session. */
  readonly perSession: number;
  /** Ranges locked in all. */
  readonly total: number;
  /** Requests of one session that wait. */
  readonly waiting: number;
}

export const LOCK_LIMITS: LockLimits = { perFile: 8192, perSession: 16_384, total: 262_144, waiting: 1024 };

/** Told when a request that waited has what it wanted, or will not get it. */
export type Decided = (waiter: Waiter, refusal: CairnError | undefined) => void;

/**
 * The locks of all sessions on all files, in memory. Who waits is served in the order of coming, but for one thing: a process that
 * holds a lock does not wait for those who only wait. It may be the one that they wait for, which would never end.
 */
export class LockTable {
  readonly #decided: Decided;
  readonly #limits: LockLimits;
  readonly #files: Record<LockSpace, Map<number, FileLocks>> = { range: new Map(), whole: new Map() };
  readonly #sessions = new Map<number, SessionLocks>();
  /** What each owner waits for. */
  readonly #waiting = new Map<OwnerKey, Set<Waiter>>();
  #count = 0;
  #frozen = false;

  constructor(decided: Decided, limits: LockLimits = LOCK_LIMITS) {
    this.#decided = decided;
    this.#limits = limits;
  }

  /** Ranges locked in all. */
  get count(): number {
    return this.#count;
  }

  /** Nothing new is locked from now on, but for what restore() is told: requests that can wait do so, others are EAGAIN. */
  freeze(): void {
    this.#frozen = true;
  }

  /** Ends what freeze() began. */
  thaw(): void {
    this.#frozen = false;
    for (const files of Object.values(this.#files)) for (const file of files.values()) this.#settle(file);
  }

  /**
   * Locks or unlocks. A request with a ticket waits where it must, and `decided` tells the end of it; made again with the same
   * ticket it keeps its place. EAGAIN when it cannot be had now and has no ticket; EDEADLK (fcntl's) when the wait would never end;
   * ENOLCK. As flock(2) has it, a request that is refused or waits has given up what its owner held of another kind.
   */
  set(request: LockRequest, ticket?: number): "done" | "waiting" {
    const { session, kind, space, ino } = request;
    if (ticket !== undefined && this.#sessions.get(session)?.tickets.has(ticket)) return "waiting";
    const file = this.#file(request);
    try {
      if (kind === undefined) {
        this.#change(file, request);
        return "done";
      }
      const lock: HeldLock = { ...request, kind };
      if (this.#isFree(file, lock) && (ticket === undefined || this.#isNext(lock, file.waiters))) {
        this.#change(file, lock);
        return "done";
      }
      if (space === "whole" && file.held(ownerKey(lock))[0]?.kind !== kind) this.#change(file, all(request));
      if (ticket === undefined) throw new CairnError("EAGAIN", `lock inode ${ino}: another has locked it`);
      this.#wait(file, { ...lock, ticket, key: ownerKey(lock) });
      return "waiting";
    } finally {
      this.#settle(file);
    }
  }

  /** The first lock that is in the way of one; undefined when that could be had. */
  test(lock: HeldLock): HeldLock | undefined {
    return this.#files[lock.space].get(lock.ino)?.firstBlocker(lock);
  }

  /** What an owner has locked of a file. */
  held(owner: LockOwner, ino: number): readonly LockPiece[] {
    return this.#files[owner.space].get(ino)?.held(ownerKey(owner)) ?? [];
  }

  /** A request waits no more. One that does not wait is passed over. */
  cancel(session: number, ticket: number): void {
    const waiter = this.#sessions.get(session)?.tickets.get(ticket);
    if (waiter === undefined) return;
    const file = this.#file(waiter);
    this.#leave(file, waiter);
    this.#settle(file); // those behind it may be next
  }

  /** Takes what a session held of old. False, and nothing is taken, when another holds some of it. */
  restore(locks: readonly HeldLock[]): boolean {
    if (locks.some((lock) => this.test(lock) !== undefined)) return false;
    for (const lock of locks) {
      const file = this.#file(lock);
      this.#put(file, lock, file.after(lock));
    }
    return true;
  }

  /** A session has ended, and with it all its locks and all it waited for. */
  forget(session: number): void {
    const ended = this.#sessions.get(session);
    if (ended === undefined) return;
    const touched = new Set<FileLocks>();
    for (const waiter of ended.tickets.values()) {
      const file = this.#file(waiter);
      touched.add(file);
      this.#leave(file, waiter);
    }
    for (const [file, owner] of [...ended.places()]) {
      touched.add(file);
      this.#put(file, owner, []);
    }
    this.#sessions.delete(session);
    for (const file of touched) this.#settle(file);
  }

  #file({ ino, space }: { ino: number; space: LockSpace }): FileLocks {
    let file = this.#files[space].get(ino);
    if (file === undefined) {
      file = new FileLocks(ino, space);
      this.#files[space].set(ino, file);
    }
    return file;
  }

  #session(id: number): SessionLocks {
    let session = this.#sessions.get(id);
    if (session === undefined) {
      session = new SessionLocks();
      this.#sessions.set(id, session);
    }
    return session;
  }

  #isFree(file: FileLocks, lock: HeldLock): boolean {
    return !this.#frozen && !file.isBlocked(lock);
  }

  /** Whether a request may be served before these, which came earlier. */
  #isNext(lock: HeldLock, earlier: readonly Waiter[]): boolean {
    if (earlier.length === 0 || this.#session(lock.session).isHolder(lock.pid)) return true;
    const key = ownerKey(lock);
    return !earlier.some((other) => other.key !== key && conflicts(other, lock));
  }

  /** ENOLCK when it would be one range too many. */
  #change(file: FileLocks, request: LockRequest): void {
    const before = file.held(ownerKey(request)).length;
    const after = file.after(request);
    const more = after.length - before;
    const { perFile, perSession, total } = this.#limits;
    const session = this.#session(request.session);
    if (more > 0 && (file.count + more > perFile || session.count + more > perSession || this.#count + more > total)) {
      throw new CairnError("ENOLCK", `lock inode ${request.ino}: too many ranges are locked`);
    }
    this.#put(file, request, after);
  }

  #put(file: FileLocks, owner: LockOwner, after: readonly LockPiece[]): void {
    const before = file.held(ownerKey(owner));
    this.#session(owner.session).changed(file, owner, before, after);
    this.#count += after.length - before.length;
    file.put(owner, after);
  }

  #wait(file: FileLocks, waiter: Waiter): void {
    const { tickets } = this.#session(waiter.session);
    if (tickets.size >= this.#limits.waiting) {
      throw new CairnError("ENOLCK", `lock inode ${waiter.ino}: ${tickets.size} requests of this client wait already`);
    }
    if (this.#isHopeless(file, waiter)) throw deadlock(waiter);
    file.waiters.push(waiter);
    tickets.set(waiter.ticket, waiter);
    const others = this.#waiting.get(waiter.key);
    if (others === undefined) this.#waiting.set(waiter.key, new Set([waiter]));
    else others.add(waiter);
  }

  #leave(file: FileLocks, waiter: Waiter): void {
    file.waiters.splice(file.waiters.indexOf(waiter), 1);
    this.#session(waiter.session).tickets.delete(waiter.ticket);
    const others = this.#waiting.get(waiter.key)!;
    others.delete(waiter);
    if (others.size === 0) this.#waiting.delete(waiter.key);
  }

  #isHopeless(file: FileLocks, waiter: Waiter): boolean {
    if (file.space === "whole") return false;
    return isDeadlock(
      waiter,
      (w) => this.#files[w.space].get(w.ino)?.blockers(w) ?? [],
      (owner) => this.#waiting.get(owner) ?? [],
    );
  }

  /** After every change of a file's locks: serves who can be served, and refuses who would now wait for ever. */
  #settle(file: FileLocks): void {
    for (let again = file.waiters.length > 0; again; ) {
      again = false;
      const ahead: Waiter[] = [];
      for (const waiter of [...file.waiters]) {
        if (this.#isFree(file, waiter) && this.#isNext(waiter, ahead)) {
          again = true;
          this.#leave(file, waiter);
          this.#grant(file, waiter);
        } else ahead.push(waiter);
      }
    }
    for (const waiter of [...file.waiters]) {
      if (!this.#isHopeless(file, waiter)) continue;
      this.#leave(file, waiter);
      this.#decided(waiter, deadlock(waiter));
    }
    if (file.isEmpty) this.#files[file.space].delete(file.ino);
  }

  #grant(file: FileLocks, waiter: Waiter): void {
    let refusal: CairnError | undefined;
    try {
      this.#change(file, waiter);
    } catch (err) {
      if (!(err instanceof CairnError)) throw err;
      refusal = err;
    }
    this.#decided(waiter, refusal);
  }
}

/** Gives up all that an owner holds of a file. */
function all(request: LockRequest): LockRequest {
  return { ...request, kind: undefined, first: 0n, last: LAST_BYTE };
}

function deadlock({ ino }: Waiter): CairnError {
  return new CairnError("EDEADLK", `wait for a lock on inode ${ino}: its holder waits for this process`);
}
