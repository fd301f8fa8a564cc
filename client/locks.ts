import type { Clock } from "../common/clock.js";
import { CairnError, codeOf, messageOf } from "../common/errors.js";
import { covers, withRange } from "../common/lock.js";
import type { Logger } from "../common/log.js";
import type { Dispatcher } from "../proto/dispatch.js";
import { LockPush, Locks } from "../proto/gen/services.js";
import type { LockDecision, OpenSessionReply } from "../proto/gen/types.js";
import { decodeTakenLock, encodeLock, type FileLock, type TakenLock } from "../proto/lock.js";
import type { FileLocks, LockPlace, LostLocks } from "./contract.js";
import { afterFailure, HeldLocks, restoring } from "./held-locks.js";
import type { Session } from "./session.js";
import { unlessAborted } from "./unless-aborted.js";

/** Requests for locks under way, at most, those that wait included. */
const MAX_REQUESTS = 1024;
/** How long one who gave up a request is kept, at most, to hear whether it had been served by then, ms. */
const GIVE_UP_MS = 500;

/** Errors that say that a request was not served. After any other it may have been. */
const REFUSALS = new Set(["EAGAIN", "EDEADLK", "ENOLCK", "EINVAL"]);

/** One request that waits for its turn at the namenode. */
interface Waiting {
  /** What became of it, or that the connection was lost and it has to be made again. */
  wake: (event: LockDecision | "connected") => void;
}

/** Locks over a session, and what is known of them: a namenode that is started again knows them from its clients only. */
export class SessionLocks implements FileLocks {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #held = new Map<string, HeldLocks>();
  readonly #waiting = new Map<number, Waiting>();
  readonly #lostListeners: ((lost: readonly LostLocks[]) => void)[] = [];
  #nextTicket = 1;
  #requests = 0;

  constructor(tools: { session: Session; dispatcher: Dispatcher; clock: Clock; log: Logger }) {
    const { session, dispatcher } = tools;
    this.#session = session;
    this.#clock = tools.clock;
    this.#log = tools.log;
    dispatcher.take(LockPush, { decided: (decision) => this.#waiting.get(decision.ticket)?.wake(decision) });
    session.locks = () => [...this.#held.values()].flatMap((held) => held.certain());
    session.onOpened((reply) => this.#opened(reply));
  }

  async test(lock: TakenLock): Promise<TakenLock | undefined> {
    const request = { session: this.#session.id, lock: encodeLock(lock) };
    const { blocker } = await this.#session.call(Locks.testLock, request);
    return blocker === null ? undefined : decodeTakenLock(blocker);
  }

  async set(lock: FileLock, { wait = false, signal }: { wait?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    if (lock.kind !== undefined && this.#requests >= MAX_REQUESTS) {
      throw new CairnError("ENOLCK", `lock inode ${lock.ino}: ${this.#requests} requests for locks are under way`);
    }
    const key = keyOf(lock);
    const held = this.#held.get(key) ?? new HeldLocks(lock);
    this.#held.set(key, held);
    held.underWay.add(lock);
    this.#requests++;
    try {
      // Unlocking is soon done, and undoing it might be impossible.
      await this.#set(held, lock, wait, lock.kind === undefined ? undefined : signal);
    } finally {
      this.#requests--;
      if (held.settling === undefined) this.#ended(held, lock);
      else void held.settling.finally(() => this.#ended(held, lock));
    }
  }

  holds(place: LockPlace): boolean {
    return this.#held.has(keyOf(place));
  }

  onLost(listener: (lost: readonly LostLocks[]) => void): void {
    this.#lostListeners.push(listener);
  }

  async #set(held: HeldLocks, lock: FileLock, wait: boolean, signal: AbortSignal | undefined): Promise<void> {
    const ticket = this.#nextTicket++;
    let asked = false;
    try {
      while (held.settling !== undefined) await unlessAborted(held.settling, signal);
      asked = true;
      if (wait) await this.#wait(lock, ticket, signal);
      else await this.#ask(lock, 0, signal);
      held.pieces = withRange(held.pieces, lock);
    } catch (err) {
      if (REFUSALS.has(codeOf(err))) held.pieces = afterFailure(held.pieces, lock);
      else if (asked && (await this.#giveUp(held, lock, ticket))) return; // too late to give it up
      throw signal?.aborted ? new CairnError("EINTR", `lock inode ${lock.ino}: interrupted`) : err;
    }
  }

  /** Asks for a lock. Resolves to whether it has to wait. */
  async #ask(lock: FileLock, ticket: number, signal: AbortSignal | undefined): Promise<boolean> {
    const request = { session: this.#session.id, lock: encodeLock(lock), ticket };
    return (await unlessAborted(this.#session.call(Locks.setLock, request, signal), signal)).waiting;
  }

  /** Asks for a lock, and waits for it; over a new connection asks again, and keeps its place where the namenode knows it. */
  async #wait(lock: FileLock, ticket: number, signal: AbortSignal | undefined): Promise<void> {
    try {
      for (;;) {
        // It may be served before it is said that it waits.
        const event = new Promise<LockDecision | "connected">((wake) => this.#waiting.set(ticket, { wake }));
        if (!(await this.#ask(lock, ticket, signal))) return;
        const decision = await unlessAborted(event, signal);
        if (decision === "connected") continue;
        if (decision.refused !== null) throw new CairnError(decision.refused.code, decision.refused.message);
        return;
      }
    } finally {
      this.#waiting.delete(ticket);
    }
  }

  /**
   * Gives up a request that may have been served meanwhile. Resolves to whether it was. When that cannot be learned soon, it is
   * undone later, and the owner's next request waits for that.
   */
  async #giveUp(held: HeldLocks, lock: FileLock, ticket: number): Promise<boolean> {
    let isLate = false;
    held.pieces = afterFailure(held.pieces, lock);
    const before = held.pieces;
    const cancel = async (): Promise<boolean> => {
      const request = { session: this.#session.id, lock: encodeLock(lock), ticket };
      const { locks } = await this.#session.call(Locks.cancelLock, request);
      held.pieces = locks.map(decodeTakenLock);
      const served = lock.kind !== undefined && covers(held.pieces, { ...lock, kind: lock.kind });
      if (!served || !isLate) return served;
      for (const undo of restoring(before, lock)) {
        await this.#ask(undo, 0, undefined);
        held.pieces = withRange(held.pieces, undo);
      }
      return false;
    };
    const settling = cancel()
      .catch((err: unknown) => {
        this.#log.warn({ ino: lock.ino }, `giving up a request for a lock failed: ${messageOf(err)}`);
        return false;
      })
      .finally(() => {
        if (held.settling === settling) held.settling = undefined;
      });
    held.settling = settling;
    const late = new Promise<false>((resolve) => {
      const timer = this.#clock.after(GIVE_UP_MS, () => {
        isLate = true;
        resolve(false);
      });
      void settling.finally(() => timer.clear());
    });
    return Promise.race([settling, late]);
  }

  #opened({ locksLost }: OpenSessionReply): void {
    if (locksLost) this.#lost();
    for (const { wake } of [...this.#waiting.values()]) wake("connected");
  }

  /** The session had ended at the namenode: others may have locked by now what was locked here. */
  #lost(): void {
    const lost: LostLocks[] = [];
    for (const held of [...this.#held.values()]) {
      const { place, pieces } = held;
      if (pieces.length === 0) continue;
      lost.push({ ...place, exclusive: pieces.some(({ kind }) => kind === "exclusive") });
      held.pieces = [];
      this.#tidy(held);
    }
    const inos = [...new Set(lost.map(({ ino }) => ino))];
    this.#log.error(
      { inos: inos.slice(0, 100) },
      `the session has ended at the namenode, and with it locks on ${inos.length} files`,
    );
    for (const listener of this.#lostListeners) listener(lost);
  }

  #ended(held: HeldLocks, request: FileLock): void {
    held.underWay.delete(request);
    this.#tidy(held);
  }

  #tidy(held: HeldLocks): void {
    const unused = held.pieces.length === 0 && held.underWay.size === 0 && held.settling === undefined;
    if (unused) this.#held.delete(keyOf(held.place));
  }
}

function keyOf({ ino, space, owner }: LockPlace): string {
  return `${ino}/${space}/${owner}`;
}
