import type { Clock, Timer } from "../common/clock.js";
import { CairnError, messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import type { Block } from "../proto/gen/types.js";
import type { Link } from "../proto/link.js";
import type { Editor } from "./contract.js";
import {
  callsFrom,
  heldBy,
  heldFrom,
  LOCKING,
  lockingKey,
  sessionOfCall,
  sessionOfHeld,
  sessionOfLocking,
} from "./namespace/keys.js";
import type { Key, RangeOptions } from "./store/kv.js";

/** Sessions at a time, at most. */
const MAX_SESSIONS = 20_000;
/** Pending blocks of one session, at most: every one is a block being written. */
export const MAX_PENDING = 16_384;
/** Leases are looked at this many times per lease. */
const SWEEPS_PER_LEASE = 10;

/** A client: its lease, its connection, and the blocks that it is writing. */
interface Session {
  readonly id: number;
  name: string;
  /** Undefined while it is not connected, and before it came back after a restart. */
  link: Link | undefined;
  /** When the lease runs out, by the monotonic clock, ms. */
  expires: number;
  /** Block id → the newest generation stamp it has. */
  readonly pending: Map<number, number>;
}

export interface SessionsOptions {
  editor: Editor;
  clock: Clock;
  log: Logger;
  /** Without a sign of life for this long a session ends, ms. */
  leaseMs: number;
}

/**
 * The clients of the namenode. A session outlives its connection by its lease. When it ends, the records of its calls go, with
 * the nameless inodes it had open (calls took their names, so there are records), and its pending blocks are nobody's. Sessions are not in the store: after a restart those with records are given a
 * lease to come back in, as are those that had locks.
 */
export class Sessions {
  readonly #editor: Editor;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #leaseMs: number;
  readonly #sessions = new Map<number, Session>();
  /** Pending block → its session. */
  readonly #holders = new Map<number, Session>();
  readonly #endListeners: ((session: number) => void)[] = [];
  #sweeper: Timer | undefined;
  #lastSweep = 0;

  constructor({ editor, clock, log, leaseMs }: SessionsOptions) {
    this.#editor = editor;
    this.#clock = clock;
    this.#log = log;
    this.#leaseMs = leaseMs;
  }

  /** How many there are. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Starts to watch the leases; expects the sessions of before a restart. After the replay. */
  start(): void {
    for (const id of this.#recorded(callsFrom, sessionOfCall)) this.#expect(id);
    for (const id of this.#recorded(heldFrom, sessionOfHeld)) this.#expect(id);
    for (const [key] of this.#editor.kv.range(LOCKING)) this.#expect(sessionOfLocking(key));
    const interval = this.#leaseMs / SWEEPS_PER_LEASE;
    this.#lastSweep = this.#clock.monotonic();
    this.#sweeper = this.#clock.every(interval, () => this.#sweep(interval));
  }

  close(): void {
    this.#sweeper?.clear();
  }

  /** Whether there is a session, connected or not. */
  has(id: number): boolean {
    return this.#sessions.has(id);
  }

  /** The sessions there are. */
  ids(): IterableIterator<number> {
    return this.#sessions.keys();
  }

  /** Called with every session that has ended. */
  onEnd(listener: (session: number) => void): void {
    this.#endListeners.push(listener);
  }

  /** A session's connection, while it has one. */
  link(id: number): Link | undefined {
    return this.#sessions.get(id)?.link;
  }

  /** The connections of all sessions that have one. */
  *links(): IterableIterator<Link> {
    for (const { link } of this.#sessions.values()) if (link?.isOpen) yield link;
  }

  /**
   * Opens a session, or resumes it over a new connection: it holds the given blocks from now on, but for those that have
   * been committed. ENOBUFS when there are too many sessions; EINVAL for a block that was never given out or is another's.
   * @returns whether it begins: nothing was known of such a session
   */
  open(id: number, name: string, link: Link, pending: readonly Block[], isCommitted: (id: number) => boolean): boolean {
    for (const block of pending) {
      const holder = this.#holders.get(block.id);
      if (holder !== undefined && holder.id !== id) {
        throw new CairnError("EINVAL", `block ${block.id} is pending in another session`);
      }
    }
    if (!this.#sessions.has(id) && this.#sessions.size >= MAX_SESSIONS) {
      throw new CairnError("ENOBUFS", `the namenode has ${MAX_SESSIONS} sessions already`);
    }
    const begun = !this.#sessions.has(id);
    const session = this.#sessions.get(id) ?? this.#add(id, name);
    session.name = name;
    session.link = link;
    this.#renew(session);
    // What the client does not name, it never heard of: the reply that gave it out was lost.
    this.#dropPending(session);
    for (const block of pending) if (!isCommitted(block.id)) this.#hold(session, block.id, block.generation);
    void link.closed.then(() => {
      if (session.link === link) session.link = undefined;
    });
    this.#log.debug({ session: id, client: name, pending: session.pending.size }, "session opened");
    return begun;
  }

  /** Renews a lease. ENOTCONN when there is no such session (any more): the client must open it again. */
  renew(id: number): void {
    this.#renew(this.#require(id));
  }

  /** Ends a session. */
  end(id: number): void {
    const session = this.#sessions.get(id);
    if (session !== undefined) this.#end(session);
  }

  /** Blocks that a session has been given, all with the same generation stamp. ENOBUFS when it holds too many. */
  hold(id: number, blocks: readonly number[], generation: number): void {
    const session = this.#require(id);
    if (session.pending.size + blocks.length > MAX_PENDING) {
      throw new CairnError("ENOBUFS", `session ${id} is writing ${session.pending.size} blocks already`);
    }
    for (const block of blocks) this.#hold(session, block, generation);
  }

  /** A session's block has a new generation stamp. */
  restamp(id: number, block: number, generation: number): void {
    const { pending } = this.#require(id);
    if (!pending.has(block)) throw notHeld(id, block);
    pending.set(block, generation);
  }

  /** Blocks are pending no longer, if the session held them: they were committed or given up. */
  release(id: number, blocks: Iterable<number>): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    for (const block of blocks) if (session.pending.delete(block)) this.#holders.delete(block);
  }

  /** The newest generation stamp of a block that a session holds; undefined when it does not. */
  generation(id: number, block: number): number | undefined {
    return this.#sessions.get(id)?.pending.get(block);
  }

  /** Whether any session holds a block. */
  isPending(block: number): boolean {
    return this.#holders.has(block);
  }

  #require(id: number): Session {
    const session = this.#sessions.get(id);
    if (session === undefined) throw new CairnError("ENOTCONN", `session ${id} is not open at this namenode`);
    return session;
  }

  /** The sessions with keys of a kind. One key of each is read, however many there are: nobody should wait for a start. */
  *#recorded(keysFrom: (session: number) => RangeOptions, sessionOf: (key: Key) => number): Generator<number> {
    for (let from = 0; ; ) {
      const next = this.#editor.kv.range(keysFrom(from)).next();
      if (next.done) return;
      const id = sessionOf(next.value[0]);
      yield id;
      from = id + 1;
    }
  }

  /** A session of before a restart may come back. */
  #expect(id: number): void {
    if (!this.#sessions.has(id)) this.#add(id, "a session of before the restart");
  }

  #add(id: number, name: string): Session {
    const session: Session = { id, name, link: undefined, expires: 0, pending: new Map() };
    this.#renew(session);
    this.#sessions.set(id, session);
    return session;
  }

  #renew(session: Session): void {
    session.expires = this.#clock.monotonic() + this.#leaseMs;
  }

  #hold(session: Session, block: number, generation: number): void {
    session.pending.set(block, generation);
    this.#holders.set(block, session);
  }

  #dropPending(session: Session): void {
    for (const block of session.pending.keys()) this.#holders.delete(block);
    session.pending.clear();
  }

  #sweep(interval: number): void {
    const now = this.#clock.monotonic();
    const late = now - this.#lastSweep - interval;
    this.#lastSweep = now;
    for (const session of this.#sessions.values()) {
      // While this process stood still it heard nobody: that time does not count against the clients.
      if (late > interval) session.expires += late;
      if (session.expires > now) continue;
      this.#log.info({ session: session.id, client: session.name }, "a session's lease has run out");
      try {
        this.#end(session);
      } catch (err) {
        if (!(err instanceof CairnError)) throw err;
        this.#log.warn({ session: session.id, err: messageOf(err) }, "cannot end a session yet");
        return;
      }
    }
  }

  #end(session: Session): void {
    if (this.#isRecorded(session.id)) this.#editor.apply({ forgetSession: { session: session.id } });
    this.#dropPending(session);
    this.#sessions.delete(session.id);
    for (const listener of this.#endListeners) listener(session.id);
    // A client that is alive after all finds its connection gone, and opens the session again.
    session.link?.close("the session has ended");
  }

  /** Whether the store knows of a session. */
  #isRecorded(id: number): boolean {
    const { kv } = this.#editor;
    const call = kv.range(callsFrom(id)).next();
    if (!call.done && sessionOfCall(call.value[0]) === id) return true;
    return kv.get(lockingKey(id)) !== undefined || !kv.range(heldBy(id)).next().done;
  }
}

/** The error for a block that a session does not hold. */
export function notHeld(session: number, block: number): CairnError {
  return new CairnError("ESTALE", `block ${block} is not pending in session ${session}`);
}
