import { randomBytes } from "node:crypto";
import type { Clock, Timer } from "../common/clock.js";
import { CairnError, codeOf, messageOf, wrap } from "../common/errors.js";
import type { EndSignal } from "../common/give-up.js";
import { DEFAULT_DEADLINE_MS } from "../common/limits.js";
import type { Logger } from "../common/log.js";
import type { LinkAuth } from "../proto/auth.js";
import { type Dial, PersistentLink } from "../proto/connect.js";
import type { Dispatcher } from "../proto/dispatch.js";
import { ClientPush, Namenode, WatchPush } from "../proto/gen/services.js";
import type { Block, CallIdInit, OpenSessionReply, Policy } from "../proto/gen/types.js";
import type { Link } from "../proto/link.js";
import { encodeLock, type TakenLock } from "../proto/lock.js";
import type { AnyMethod, ReplyOf, RequestOf } from "../proto/method.js";
import { Births } from "./births.js";
import { Patience } from "./patience.js";
import { SessionWatch } from "./watch.js";

/** KeepAlive is sent this many times per lease. */
const RENEWALS_PER_LEASE = 3;
/** Errors after which a call is made again: its reply may have been lost, or the namenode is away. */
const TRANSIENT = new Set(["ENOTCONN", "ETIMEDOUT", "ECONNREFUSED", "ECONNRESET", "EPIPE"]);
/** Errors of a machine that is starting itself: the network, or the names of other machines, are not there yet. */
const STARTING = new Set(["ENETUNREACH", "ENETDOWN", "EHOSTUNREACH", "EHOSTDOWN", "EADDRNOTAVAIL", "EAI_AGAIN"]);

export interface SessionOptions {
  host: string;
  port: number;
  /** Who this is, for people. */
  name: string;
  /** This machine, for placement. */
  hostName: string;
  auth: LinkAuth;
  dispatcher: Dispatcher;
  log: Logger;
  clock: Clock;
  dial: Dial;
  /** 0 <= random() < 1 */
  random: () => number;
  /** Random, and no other client's; made by crypto unless set. */
  id?: number;
  /** Whether the namenode is to tell of changes by others. */
  watch: boolean;
  /** How long the first connection may take, ms. */
  startPatienceMs: number;
  /** Called once when the namenode is not there at the start, and is waited for. */
  waiting?: (why: Error) => void;
  /** How long a call outlasts the loss of the namenode, ms. */
  patienceMs: number;
}

/** What a call that changes something needs beside its own id. */
export type Unnumbered<M> = Omit<RequestOf<M>, "call">;

/**
 * This client's session with the namenode: one link that is opened again whenever it breaks, and calls that outlast its
 * loss. A call that changes something carries an id, so that however often it is sent, it is done once.
 */
export class Session {
  /** Random, kept over reconnections. */
  readonly id: number;
  /** Blocks allocated to this session and not yet committed: told to a namenode that may have forgotten them. */
  readonly pending = new Map<number, Block>();
  /** How far the namenode's answers may be believed. */
  readonly watch: SessionWatch;
  /** Files that this client makes by itself. */
  readonly births: Births;
  /** What this client has locked for certain: told to a namenode that was started since. */
  locks: () => TakenLock[] = () => [];
  readonly #options: SessionOptions;
  readonly #link: PersistentLink;
  readonly #unfinished = new Set<number>();
  readonly #openListeners: ((reply: OpenSessionReply) => void)[] = [];
  #nextSequence = 1;
  #opened: OpenSessionReply | undefined;
  /** How often the session has ended at the namenode. */
  #life = 0;
  /** Whether it has changed something since, so that the namenode has records of it. */
  #hasChanged = false;
  /** When the last call was sent that was answered, by the monotonic clock, ms: the session's lease runs from then, or later. */
  #heard = 0;
  #synced = 0;
  #highest = 0;
  /** Something that was answered is lost, and no sync has said so yet. */
  #hasLost = false;
  readonly #lossListeners: ((after: number) => void)[] = [];
  #keepAlive: Timer | undefined;
  #closed = false;
  #giveUp: ((err: Error) => void) | undefined;

  private constructor(options: SessionOptions) {
    this.#options = options;
    const { host, port, auth, log, clock, dial, random } = options;
    this.id = options.id ?? Number(randomBytes(8).readBigUInt64LE() >> 12n) + 1;
    this.watch = new SessionWatch(clock, options.watch, (inos) =>
      this.#link.link?.push(WatchPush.forget, { inos: [...inos] }),
    );
    const dispatcher = options.dispatcher.take(ClientPush, {
      synced: ({ syncedIndex }) => this.#noteSynced(syncedIndex),
      changed: (changes) => this.watch.changed(changes),
      recall: ({ dirs }) => this.births.recall(dirs),
    });
    this.births = new Births(this, clock, log);
    this.#link = new PersistentLink({
      host,
      port,
      dispatcher,
      auth,
      log,
      clock,
      dial,
      random,
      onConnect: (link) => this.#open(link),
      onDisconnect: (reason) => this.#onDisconnect(reason),
    });
  }

  /**
   * Opens a session. ECONNREFUSED and the like name the address when the namenode cannot be reached within the start's
   * patience; EACCES, at once, when the cluster secret is wrong; EPROTO when something else answers there.
   */
  static async connect(options: SessionOptions): Promise<Session> {
    const session = new Session(options);
    const { host, port, startPatienceMs } = options;
    let lastError: Error | undefined;
    const refused = new Promise<never>((_resolve, reject) => {
      session.#giveUp = (err) => {
        if (!TRANSIENT.has(codeOf(err)) && !STARTING.has(codeOf(err))) reject(err);
        else if (lastError === undefined) options.waiting?.(err);
        lastError = err;
      };
    });
    try {
      await Promise.race([session.#link.ready(startPatienceMs), refused]);
    } catch (err) {
      session.#link.close();
      throw wrap(lastError ?? err, `no namenode at ${host}:${port}`);
    } finally {
      session.#giveUp = undefined;
    }
    return session;
  }

  /** The cluster's id. */
  get cluster(): string {
    return this.#reply.cluster;
  }

  /** The cluster's default policy. */
  get policy(): Policy {
    return this.#reply.policy;
  }

  /** How long the trash keeps what is removed, ms; 0: there is none. */
  get trashMs(): number {
    return this.#reply.trashMs;
  }

  /** Blocks of at most so many bytes are to be committed inline. */
  get inlineBytes(): number {
    return this.#reply.inlineBytes;
  }

  /** Called whenever the session has been opened again, before any other call is made over the new connection. */
  onOpened(listener: (reply: OpenSessionReply) => void): void {
    this.#openListeners.push(listener);
  }

  /**
   * A call that changes nothing, or may be done twice. Repeated until the patience ends.
   * @param signal when it is aborted the call is not sent any more, and ECANCELED
   */
  call<M extends AnyMethod>(method: M, request: RequestOf<M>, signal?: EndSignal): Promise<ReplyOf<M>> {
    return this.#repeat(method, request, false, signal);
  }

  /** @param once whether the namenode is to remember that it has done it: it forgets that with the session */
  async #repeat<M extends AnyMethod>(
    method: M,
    request: RequestOf<M>,
    once: boolean,
    signal?: EndSignal,
  ): Promise<ReplyOf<M>> {
    const births = this.births.before(method, request);
    if (births !== undefined) await births;
    const patience = new Patience(this.#options.clock, this.#options.patienceMs);
    let life: number | undefined;
    for (;;) {
      if (this.#closed) throw new CairnError("ENOTCONN", `${method.name}: the client is closed`);
      if (signal?.aborted) throw new CairnError("ECANCELED", `${method.name}: given up`);
      try {
        const left = () => Math.max(1, Math.min(DEFAULT_DEADLINE_MS, patience.left));
        const link = this.#link.link ?? (await this.#link.ready(left()));
        if (once && life !== undefined && life !== this.#life) throw forgotten(method.name);
        life = this.#life;
        const [sent, { epoch }] = [this.#options.clock.monotonic(), this.watch];
        const reply: ReplyOf<M> = await link.call(method, request, { deadlineMs: left(), signal });
        this.#answered(sent, epoch);
        this.#note(reply);
        return reply;
      } catch (err) {
        if (this.#closed || !TRANSIENT.has(codeOf(err)) || !(await patience.again())) throw err;
        this.#options.log.debug({ method: method.name, err: messageOf(err) }, "trying a call again");
      }
    }
  }

  /**
   * A call that changes something: as call(), and done once. Of one that was given up it is not known whether it was done. EIO, and that is
   * not known either: the session ended, and with it what the namenode remembers, after the call had been sent.
   */
  async change<M extends AnyMethod>(method: M, request: Unnumbered<M>, signal?: EndSignal): Promise<ReplyOf<M>> {
    const sequence = this.#nextSequence++;
    this.#unfinished.add(sequence);
    try {
      // The set keeps the order of insertion: its first is the lowest that has no reply yet.
      const doneBelow = this.#unfinished.values().next().value ?? sequence;
      const call: CallIdInit = { session: this.id, sequence, doneBelow };
      const reply = await this.#repeat(method, { ...request, call } as RequestOf<M>, true, signal);
      this.#hasChanged = true;
      return reply;
    } finally {
      this.#unfinished.delete(sequence);
    }
  }

  /**
   * Called with an index when the namenode's machine has lost its power: edits above it that this client has the reply of are lost. Before
   * any other call is made over the new connection.
   */
  onLoss(listener: (after: number) => void): void {
    this.#lossListeners.push(listener);
  }

  /** Throws, once, EIO if anything that this client was answered is lost. */
  checkLoss(): void {
    if (!this.#hasLost) return;
    this.#hasLost = false;
    throw new CairnError("EIO", "changes of a moment ago are lost: the namenode's machine has lost its power");
  }

  /** Resolves when every edit this client has the reply of is on the namenode's disk. */
  async sync(): Promise<void> {
    await this.births.deliver();
    const index = this.#highest;
    if (index <= this.#synced) return;
    this.#noteSynced((await this.call(Namenode.syncJournal, { index })).syncedIndex);
  }

  /** Ends the session. What is still under way fails with ENOTCONN. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await this.births.deliver();
    this.births.close();
    this.#closed = true;
    this.#keepAlive?.clear();
    try {
      await this.#link.link?.call(Namenode.closeSession, { session: this.id }, { deadlineMs: 1_000 });
    } catch (err) {
      this.#options.log.debug({ err: messageOf(err) }, "the session ends with its lease");
    }
    this.#link.close();
  }

  get #reply(): OpenSessionReply {
    if (this.#opened === undefined) throw new CairnError("ENOTCONN", "the session is not open yet");
    return this.#opened;
  }

  async #open(link: Link): Promise<void> {
    const { name, hostName, clock, log, host, port } = this.#options;
    const pending = [...this.pending.values()];
    const { wanted: watch } = this.watch;
    const sent = clock.monotonic();
    const [locks, incarnation] = [this.locks().map(encodeLock), this.#opened?.incarnation ?? 0];
    const session = { session: this.id, name, host: hostName, pending, incarnation, locks };
    const request = { ...session, watch, open: this.watch.open() };
    const reply = await link.call(Namenode.openSession, request);
    const before = this.#opened?.cluster ?? reply.cluster;
    if (before !== reply.cluster) {
      throw new CairnError(
        "EPERM",
        `${host}:${port} is now the namenode of cluster ${reply.cluster}, not of ${before}`,
      );
    }
    if (this.#opened !== undefined && this.#opened.incarnation !== reply.incarnation) this.#restarted(reply);
    if (reply.begun && this.#opened !== undefined && this.#mayHaveEnded(this.#opened, reply, sent)) {
      this.#life++;
      this.#hasChanged = false;
    }
    this.#heard = sent;
    this.#opened = reply;
    this.watch.connected(sent, reply.leaseMs);
    this.#noteSynced(reply.syncedIndex);
    this.#keepAlive?.clear();
    this.#keepAlive = clock.every(Math.max(1, reply.leaseMs / RENEWALS_PER_LEASE), () => void this.#renew());
    for (const listener of this.#openListeners) listener(reply);
    log.info({ namenode: link.peer, session: this.id, pending: pending.length }, "connected to the namenode");
  }

  /**
   * Whether a session that the namenode knows nothing of has ended there. One that was started anew knows a session by its records, and has
   * none of one that had changed nothing. Of another it has none if the lease ran out before it was started.
   */
  #mayHaveEnded({ incarnation, leaseMs }: OpenSessionReply, reply: OpenSessionReply, now: number): boolean {
    return incarnation === reply.incarnation || (this.#hasChanged && now - this.#heard >= leaseMs);
  }

  #answered(sent: number, epoch: number): void {
    this.#heard = Math.max(this.#heard, sent);
    this.watch.answered(sent, epoch);
  }

  async #renew(): Promise<void> {
    const link = this.#link.link;
    if (link === undefined) return; // opening the session again renews it
    try {
      const [sent, { epoch }] = [this.#options.clock.monotonic(), this.watch];
      this.#noteSynced((await link.call(Namenode.keepAlive, { session: this.id })).syncedIndex);
      this.#answered(sent, epoch);
    } catch (err) {
      if (this.#closed || !link.isOpen || codeOf(err) === "ETIMEDOUT") return;
      this.#options.log.warn({ err: messageOf(err) }, "the session has ended at the namenode; opening it again");
      link.close("the session has ended");
    }
  }

  #onDisconnect(reason: Error): void {
    if (this.#giveUp !== undefined) this.#giveUp(reason);
    else if (!this.#closed) this.#options.log.warn({ err: messageOf(reason) }, "no connection to the namenode");
  }

  /** The namenode has been started again. */
  #restarted({ beganIndex }: OpenSessionReply): void {
    if (beganIndex === 0 || beganIndex >= this.#highest) return; // one that does not say it, or nothing is lost
    this.#options.log.error(
      { beganIndex, highest: this.#highest },
      "the namenode has lost its power, and with it changes that it had answered",
    );
    this.#highest = beganIndex;
    this.#hasLost = true;
    for (const listener of this.#lossListeners) listener(beganIndex);
  }

  /** Replies to changes carry the index of their edit. */
  #note(reply: unknown): void {
    const index = (reply as { index?: unknown }).index;
    if (typeof index === "number" && index > this.#highest) this.#highest = index;
  }

  #noteSynced(index: number): void {
    if (index > this.#synced) this.#synced = index;
  }
}

function forgotten(method: string): CairnError {
  return new CairnError(
    "EIO",
    `${method}: the session ended before the reply came: it is not known whether it was done`,
  );
}
