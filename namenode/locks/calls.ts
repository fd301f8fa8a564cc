import { CairnError, InvariantError } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import type { CallContext, Handler } from "../../proto/dispatch.js";
import { LockPush, type Locks } from "../../proto/gen/services.js";
import type {
  Lock,
  LocksReplyInit,
  OpenSessionReplyInit,
  OpenSessionRequest,
  SetLockReplyInit,
  SetLockRequest,
  TestLockReplyInit,
  TestLockRequest,
} from "../../proto/gen/types.js";
import { decodeLock, decodeTakenLock, encodeLock } from "../../proto/lock.js";
import type { Editor } from "../contract.js";
import { LOCKING, lockingKey, sessionOfLocking } from "../namespace/keys.js";
import type { Sessions } from "../sessions.js";
import { Grace } from "./grace.js";
import type { Waiter } from "./request.js";
import { LOCK_LIMITS, LockTable } from "./table.js";

export interface LockCallsOptions {
  editor: Editor;
  /** Undefined when an edit may be made now; else resolves when one may. */
  room: () => Promise<void> | undefined;
  sessions: Sessions;
  log: Logger;
  /** Random: tells this process from those before it. */
  incarnation: number;
}

/**
 * What clients ask of the lock table. After a restart, sessions that had locks (the store knows which) say what they hold, and
 * nothing else is locked until all of them are back or have ended.
 */
export class LockCalls {
  readonly #options: LockCallsOptions;
  readonly #table = new LockTable((waiter, refusal) => this.#decided(waiter, refusal));
  readonly #grace: Grace;
  /** Sessions that have been open since the start: the table has all their locks. */
  readonly #known = new Set<number>();
  /** Session → resolved when the journal has it that it takes locks. */
  readonly #recorded = new Map<number, Promise<void>>();

  constructor(options: LockCallsOptions) {
    this.#options = options;
    const { log } = options;
    this.#grace = new Grace(() => {
      log.info("the locks of before the restart are known again");
      this.#table.thaw();
    });
    options.sessions.onEnd((session) => this.#ended(session));
  }

  /** After the replay: waits for the sessions that may have locks. */
  start(): void {
    const { editor } = this.#options;
    const sessions = Array.from(editor.kv.range(LOCKING), ([key]) => sessionOfLocking(key));
    if (sessions.length === 0) return;
    this.#table.freeze();
    this.#grace.wait(sessions);
  }

  /** For Dispatcher.serve(Locks, …). */
  handlers(): { [K in keyof typeof Locks]: Handler<(typeof Locks)[K]> } {
    return {
      setLock: (request, context) => this.#set(request, context),
      testLock: (request) => this.#test(request),
      cancelLock: (request) => this.#cancel(request),
    };
  }

  /** A session was opened, or resumed: takes what it says it has locked, when this namenode cannot know that itself. */
  opened({ session, incarnation, locks }: OpenSessionRequest): Pick<OpenSessionReplyInit, "incarnation" | "locksLost"> {
    const lost = !this.#known.has(session) && locks.length > 0 && !this.#restore(session, incarnation, locks);
    this.#known.add(session);
    this.#grace.over(session);
    if (lost) this.#options.log.warn({ session, locks: locks.length }, "a session came back too late for its locks");
    return { incarnation: this.#options.incarnation, locksLost: lost };
  }

  #restore(session: number, incarnation: number, locks: readonly Lock[]): boolean {
    // It was open here, but is not any more; or others may have what it had.
    if (incarnation === this.#options.incarnation || !this.#grace.expects(session)) return false;
    if (locks.length > LOCK_LIMITS.perSession) throw new CairnError("ENOLCK", `restore ${locks.length} locks`);
    return this.#table.restore(locks.map((lock) => ({ ...decodeTakenLock(lock), session })));
  }

  async #set({ session, lock: wire, ticket }: SetLockRequest, { signal }: CallContext): Promise<SetLockReplyInit> {
    const lock = { ...decodeLock(wire), session };
    this.#options.sessions.renew(session);
    if (lock.kind !== undefined) {
      await this.#record(session);
      // One that can wait does so in the table.
      if (ticket === 0 && this.#grace.isOn) await this.#grace.ended;
      // Whoever gave this up asks for what it holds next, and must not get more after that.
      if (signal.aborted) throw new CairnError("ECANCELED", `lock inode ${lock.ino}: given up`);
      this.#options.sessions.renew(session);
    }
    return { waiting: this.#table.set(lock, ticket === 0 ? undefined : ticket) === "waiting" };
  }

  async #test({ session, lock: wire }: TestLockRequest): Promise<TestLockReplyInit> {
    const lock = { ...decodeTakenLock(wire), session };
    this.#options.sessions.renew(session);
    if (this.#grace.isOn) await this.#grace.ended;
    const blocker = this.#table.test(lock);
    return { blocker: blocker && encodeLock(blocker) };
  }

  #cancel({ session, lock: wire, ticket }: SetLockRequest): LocksReplyInit {
    const { ino, space, owner, pid } = decodeLock(wire);
    this.#options.sessions.renew(session);
    this.#table.cancel(session, ticket);
    const held = this.#table.held({ session, space, owner }, ino);
    return { locks: held.map((piece) => encodeLock({ ino, space, owner, ...piece, pid })) };
  }

  /** Notes in the journal, once, that a session takes locks. */
  #record(session: number): Promise<void> {
    const recorded = this.#recorded.get(session) ?? this.#makeRecord(session);
    this.#recorded.set(session, recorded);
    return recorded;
  }

  async #makeRecord(session: number): Promise<void> {
    const { editor, room, sessions } = this.#options;
    try {
      await room();
      sessions.renew(session); // may have ended meanwhile, and must not be recorded then
      if (editor.kv.get(lockingKey(session)) !== undefined) return;
      const { index } = editor.apply({ lockingSession: { session } });
      await editor.appended(index);
    } catch (err) {
      if (!(err instanceof InvariantError)) this.#recorded.delete(session); // the next one tries again
      throw err;
    }
  }

  #decided({ session, ticket }: Waiter, refusal: CairnError | undefined): void {
    const refused = refusal && { code: refusal.code, message: refusal.message };
    // One that is not connected asks again when it is.
    this.#options.sessions.link(session)?.push(LockPush.decided, { ticket, refused });
  }

  #ended(session: number): void {
    this.#known.delete(session);
    this.#recorded.delete(session);
    this.#table.forget(session);
    this.#grace.over(session);
  }
}
