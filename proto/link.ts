import type { WebSocket } from "ws";
import { type Clock, RealClock, type Timer } from "../common/clock.js";
import { CairnError, codeOf, InvariantError, messageOf } from "../common/errors.js";
import type { EndSignal } from "../common/give-up.js";
import {
  DEFAULT_DEADLINE_MS,
  LINK_HIGH_WATER,
  LINK_IDLE_MS,
  LINK_PING_MS,
  MAX_CALLS_IN_FLIGHT,
} from "../common/limits.js";
import type { Logger } from "../common/log.js";
import { type CallContext, type Dispatcher, WithBody } from "./dispatch.js";
import { decodeFrame, encodeFrame, type Frame } from "./frame.js";
import { EnvelopeKind } from "./gen/types.js";
import type { MessageBuffers } from "./message-buffers.js";
import type { AnyMethod, ReplyOf, RequestOf } from "./method.js";

const { CALL, REPLY, ERROR, PUSH, CANCEL } = EnvelopeKind;
const EMPTY = Buffer.alloc(0);
/** How often the deadlines of calls are looked at, ms. */
const DEADLINE_TICK_MS = 100;
/** Calls that may wait until fewer than MAX_CALLS_IN_FLIGHT are under way; more are refused. */
const MAX_CALLS_WAITING = 64 * 1024;
/** Longest reason in a WebSocket's close message, bytes (RFC 6455 allows 123). */
const MAX_REASON = 120;

/** Options of one call. */
export interface CallOptions {
  /** How long to wait for the reply, ms. ETIMEDOUT after that. */
  deadlineMs?: number;
  /** Raw bytes to send with the request. */
  body?: Uint8Array;
  /** Gives the call up: ECANCELED here, CallContext.signal there. */
  signal?: EndSignal | undefined;
}

/** A reply with the raw bytes sent beside it. */
export interface Reply<R> {
  readonly message: R;
  readonly body: Buffer;
}

/** Anything calls can be made through: a link, or something that keeps one connected. */
export interface Caller {
  /** Resolves to the reply; rejects with the CairnError the other side threw, ETIMEDOUT, or ENOTCONN when the link is lost. */
  call<M extends AnyMethod>(method: M, request: RequestOf<M>, options?: CallOptions): Promise<ReplyOf<M>>;
  /** As call, for replies that carry raw bytes. */
  callWithBody<M extends AnyMethod>(
    method: M,
    request: RequestOf<M>,
    options?: CallOptions,
  ): Promise<Reply<ReplyOf<M>>>;
}

interface Pending {
  readonly method: AnyMethod;
  readonly expires: number;
  readonly resolve: (reply: Reply<unknown>) => void;
  readonly reject: (err: Error) => void;
  readonly release: () => void;
}

interface WaitingCall {
  readonly method: AnyMethod;
  readonly expires: number;
  readonly go: () => void;
  readonly fail: (err: Error) => void;
}

export interface LinkOptions {
  /** Who is at the other end, for messages. */
  peer: string;
  dispatcher: Dispatcher;
  log: Logger;
  clock?: Clock;
  /** Where the memory of large messages goes when it is free. */
  buffers?: Pick<MessageBuffers, "giveBack">;
  /** Overrides of LINK_PING_MS and LINK_IDLE_MS, ms. */
  pingMs?: number;
  idleMs?: number;
}

/**
 * One WebSocket between two programs, used in both directions: many calls in flight, pushes, raw bytes beside messages.
 * Both ends may call and answer. A message that cannot be understood closes the link; the process goes on.
 */
export class Link implements Caller {
  readonly peer: string;
  /** Resolves, with the reason, when the link is closed, however that came. */
  readonly closed: Promise<CairnError>;
  readonly #ws: WebSocket;
  readonly #dispatcher: Dispatcher;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #buffers: LinkOptions["buffers"];
  readonly #pings: Timer;
  /** Runs while calls are under way or waiting: thousands of idle links must cost nothing. */
  #deadlines: Timer | undefined;
  readonly #pending = new Map<number, Pending>();
  #waitingToCall: WaitingCall[] = [];
  readonly #handling = new Map<number, AbortController | null>();
  readonly #drainWaiters: (() => void)[] = [];
  #resolveClosed!: (reason: CairnError) => void;
  #closeReason: CairnError | undefined;
  #nextId = 1;
  #lastHeard: number;
  #paused = false;

  constructor(ws: WebSocket, options: LinkOptions) {
    this.#ws = ws;
    this.peer = options.peer;
    this.#dispatcher = options.dispatcher;
    this.#log = options.log;
    this.#clock = options.clock ?? new RealClock();
    this.#buffers = options.buffers;
    this.#lastHeard = this.#clock.monotonic();
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    ws.binaryType = "nodebuffer";
    ws.on("message", (data, isBinary) => this.#onMessage(data as Buffer, isBinary));
    ws.on("pong", () => this.#heard());
    ws.on("ping", () => this.#heard());
    ws.on("error", (err) => this.#onClose(new CairnError("ENOTCONN", `link to ${this.peer} failed`, err)));
    ws.on("close", (code, reason) =>
      this.#onClose(
        new CairnError("ENOTCONN", `link to ${this.peer} closed (${code}${reason.length ? ` ${reason}` : ""})`),
      ),
    );
    const idleMs = options.idleMs ?? LINK_IDLE_MS;
    this.#pings = this.#clock.every(options.pingMs ?? LINK_PING_MS, () => this.#ping(idleMs));
  }

  /** Whether calls can be made now. */
  get isOpen(): boolean {
    return this.#closeReason === undefined;
  }

  /** Bytes handed to this link that the kernel has not taken yet. */
  get bufferedBytes(): number {
    return this.#ws.bufferedAmount;
  }

  async call<M extends AnyMethod>(method: M, request: RequestOf<M>, options?: CallOptions): Promise<ReplyOf<M>> {
    return (await this.callWithBody(method, request, options)).message;
  }

  async callWithBody<M extends AnyMethod>(
    method: M,
    request: RequestOf<M>,
    options: CallOptions = {},
  ): Promise<Reply<ReplyOf<M>>> {
    const deadlineMs = options.deadlineMs ?? DEFAULT_DEADLINE_MS;
    const expires = this.#clock.monotonic() + deadlineMs;
    while (this.#pending.size >= MAX_CALLS_IN_FLIGHT && this.isOpen) await this.#callSlot(method, expires);
    if (this.bufferedBytes > LINK_HIGH_WATER) await this.drained();
    if (this.#closeReason !== undefined) throw this.#lost(method.name);
    if (options.signal?.aborted) {
      this.#waitingToCall.shift()?.go(); // the place that this call was woken for is still free
      throw new CairnError("ECANCELED", `${method.name} to ${this.peer}: given up`);
    }
    const id = this.#nextId;
    this.#nextId = this.#nextId === 0xffffffff ? 1 : this.#nextId + 1;
    const message = method.request.encode(request).finish();
    const frame = encodeFrame({ kind: CALL, id, method: method.name, message, deadlineMs }, options.body);
    return new Promise<Reply<unknown>>((resolve, reject) => {
      const onAbort = () => {
        this.#settle(id)?.reject(new CairnError("ECANCELED", `${method.name} to ${this.peer}: given up`));
        if (this.isOpen) this.sendFrame(encodeFrame({ kind: CANCEL, id }));
      };
      options.signal?.addEventListener("abort", onAbort, { once: true });
      const release = () => options.signal?.removeEventListener("abort", onAbort);
      this.#pending.set(id, { method, expires, resolve, reject, release });
      this.#watchDeadlines();
      this.sendFrame(frame);
    }) as Promise<Reply<ReplyOf<M>>>;
  }

  /** Sends a message that expects no reply. Senders of many must respect bufferedBytes, or await drained(). */
  push<M extends AnyMethod>(method: M, message: RequestOf<M>, body?: Uint8Array): void {
    this.sendFrame(
      encodeFrame({ kind: PUSH, method: method.name, message: method.request.encode(message).finish() }, body),
    );
  }

  /**
   * Sends an encoded message (frame.ts) as it is. The buffer must not change until it has left. No-op once closed.
   * @param onSent called once, when the kernel has it or it will not be sent any more
   */
  sendFrame(frame: Buffer, onSent?: () => void): void {
    if (this.#closeReason !== undefined) {
      onSent?.();
      return;
    }
    this.#ws.send(frame, SEND_OPTIONS, () => {
      onSent?.();
      this.#onSent();
    });
  }

  /** Resolves when at most half of LINK_HIGH_WATER is queued (at once if so already), or when the link is closed. */
  drained(): Promise<void> {
    if (this.bufferedBytes <= LINK_HIGH_WATER / 2 || !this.isOpen) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push(resolve));
  }

  /** Says good-bye and closes. Calls in flight fail with ENOTCONN. */
  close(reason = "closed here"): void {
    if (this.#closeReason !== undefined) return;
    this.#ws.close(1000, closeReason(reason));
    this.#onClose(new CairnError("ENOTCONN", `link to ${this.peer}: ${reason}`));
  }

  /** Drops the connection without a good-bye. */
  terminate(reason: string): void {
    this.#ws.terminate();
    this.#onClose(new CairnError("ENOTCONN", `link to ${this.peer}: ${reason}`));
  }

  /** Takes back the memory of a message that came over this link, for CallContext. */
  recycle(raw: Buffer): void {
    this.#buffers?.giveBack(raw);
  }

  readonly #onSent = (): void => {
    if (this.#drainWaiters.length > 0 && this.bufferedBytes <= LINK_HIGH_WATER / 2) {
      for (const wake of this.#drainWaiters.splice(0)) wake();
    }
  };

  #heard(): void {
    this.#lastHeard = this.#clock.monotonic();
  }

  #ping(idleMs: number): void {
    if (this.#closeReason !== undefined) return;
    const silence = this.#clock.monotonic() - this.#lastHeard;
    // A link that we stopped reading ourselves (back-pressure) is not idle.
    if (silence > idleMs && !this.#paused) this.terminate(`nothing heard for ${Math.round(silence)} ms`);
    else this.#ws.ping();
  }

  #watchDeadlines(): void {
    this.#deadlines ??= this.#clock.every(DEADLINE_TICK_MS, () => this.#expire());
  }

  #expire(): void {
    if (this.#pending.size === 0) {
      this.#deadlines?.clear();
      this.#deadlines = undefined;
      return;
    }
    const now = this.#clock.monotonic();
    for (const [id, call] of this.#pending) {
      if (call.expires > now) continue;
      this.#settle(id)?.reject(new CairnError("ETIMEDOUT", `${call.method.name} to ${this.peer}: no reply in time`));
      this.sendFrame(encodeFrame({ kind: CANCEL, id }));
    }
    const late = this.#waitingToCall.filter(({ expires }) => expires <= now);
    if (late.length === 0) return;
    this.#waitingToCall = this.#waitingToCall.filter(({ expires }) => expires > now);
    for (const { method, fail } of late) {
      fail(new CairnError("ETIMEDOUT", `${method.name} to ${this.peer}: too many calls are under way`));
    }
  }

  #callSlot(method: AnyMethod, expires: number): Promise<void> {
    if (this.#waitingToCall.length >= MAX_CALLS_WAITING) {
      throw new CairnError("EAGAIN", `${method.name} to ${this.peer}: too many calls are waiting`);
    }
    return new Promise((go, fail) => this.#waitingToCall.push({ method, expires, go, fail }));
  }

  /** Takes a call out of those in flight. */
  #settle(id: number): Pending | undefined {
    const call = this.#pending.get(id);
    if (call === undefined) return undefined;
    this.#pending.delete(id);
    call.release();
    this.#waitingToCall.shift()?.go();
    return call;
  }

  #lost(method: string): CairnError {
    return new CairnError("ENOTCONN", `${method} to ${this.peer}`, this.#closeReason);
  }

  #onClose(reason: CairnError): void {
    if (this.#closeReason !== undefined) return;
    this.#closeReason = reason;
    this.#pings.clear();
    this.#deadlines?.clear();
    for (const [, call] of this.#pending) {
      call.release();
      call.reject(this.#lost(call.method.name));
    }
    this.#pending.clear();
    for (const waiter of this.#waitingToCall.splice(0)) waiter.fail(reason);
    for (const controller of this.#handling.values()) controller?.abort(reason);
    this.#handling.clear();
    for (const wake of this.#drainWaiters.splice(0)) wake();
    this.#resolveClosed(reason);
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    this.#heard();
    if (this.#closeReason !== undefined) return;
    try {
      if (!isBinary) throw new Error("a text message");
      const frame = decodeFrame(data);
      switch (frame.envelope.kind) {
        case CALL:
          return this.#onCall(frame);
        case REPLY:
        case ERROR:
          return this.#onReply(frame);
        case PUSH:
          return this.#onPush(frame);
        case CANCEL:
          return this.#onCancel(frame.envelope.id);
        default:
          throw new Error(`unknown kind of message ${frame.envelope.kind}`);
      }
    } catch (err) {
      if (err instanceof InvariantError) throw err;
      this.#log.warn({ peer: this.peer, err: messageOf(err) }, "closing a link that sent something unacceptable");
      this.#ws.close(1008, closeReason(messageOf(err)));
      this.#onClose(new CairnError("EPROTO", `link to ${this.peer} closed: bad message`, err));
    }
  }

  #onCall({ envelope, body, raw }: Frame): void {
    const { id } = envelope;
    const entry = this.#dispatcher.calls.get(envelope.method);
    if (entry === undefined) return this.#sendError(id, new CairnError("ENOSYS", `unknown method ${envelope.method}`));
    const request = entry.method.request.decode(envelope.message);
    if (this.#handling.has(id)) throw new Error(`call id ${id} is in use`);
    this.#handling.set(id, null);
    if (this.#handling.size >= MAX_CALLS_IN_FLIGHT && !this.#paused) {
      this.#paused = true;
      this.#ws.pause();
    }
    const context = new Context(this, envelope.deadlineMs, body, raw, () => this.#signalOf(id));
    try {
      const answer = entry.handler(request, context);
      if (answer instanceof Promise) {
        answer.then(
          (late) => this.#answer(id, entry.method, late),
          (err) => this.#fail(id, err),
        );
      } else this.#answer(id, entry.method, answer);
    } catch (err) {
      this.#fail(id, err);
    }
  }

  /** The signal of a call being handled: aborted already when nobody waits for it any more. */
  #signalOf(id: number): AbortSignal {
    const known = this.#handling.get(id);
    if (known === undefined) return AbortSignal.abort();
    if (known !== null) return known.signal;
    const controller = new AbortController();
    this.#handling.set(id, controller);
    return controller.signal;
  }

  #onCancel(id: number): void {
    if (!this.#handling.has(id)) return; // answered meanwhile
    this.#signalOf(id);
    this.#handling.get(id)?.abort();
  }

  #answer(id: number, method: AnyMethod, answer: unknown): void {
    const { message, body, onSent } = answer instanceof WithBody ? answer : { message: answer };
    if (!this.#handled(id)) return onSent?.();
    let frame: Buffer;
    try {
      frame = encodeFrame({ kind: REPLY, id, message: method.reply.encode(message).finish() }, body);
    } catch (err) {
      onSent?.();
      return this.#sendError(id, err);
    }
    this.sendFrame(frame, onSent);
  }

  #fail(id: number, err: unknown): void {
    if (err instanceof InvariantError) {
      // Thrown outside of any promise, so that the process's last handler sees it.
      queueMicrotask(() => {
        throw err;
      });
    }
    if (this.#handled(id)) this.#sendError(id, err);
  }

  #sendError(id: number, err: unknown): void {
    if (!(err instanceof CairnError)) this.#log.error({ peer: this.peer, err }, "a call failed unexpectedly");
    this.sendFrame(encodeFrame({ kind: ERROR, id, error: { code: codeOf(err), message: messageOf(err) } }));
  }

  /** Ends the handling of a call; false when nobody waits any more. */
  #handled(id: number): boolean {
    if (!this.#handling.delete(id)) return false;
    if (this.#paused && this.#handling.size <= MAX_CALLS_IN_FLIGHT / 2) {
      this.#paused = false;
      this.#heard();
      this.#ws.resume();
    }
    return true;
  }

  #onReply({ envelope, body }: Frame): void {
    const call = this.#settle(envelope.id);
    if (call === undefined) return; // given up or expired meanwhile
    if (envelope.kind === ERROR) {
      const { code, message } = envelope.error ?? { code: "EIO", message: "an error without a text" };
      call.reject(new CairnError(code, message));
      return;
    }
    try {
      call.resolve({ message: call.method.reply.decode(envelope.message), body });
    } catch (err) {
      call.reject(new CairnError("EPROTO", `${call.method.name} to ${this.peer}: undecodable reply`, err));
      throw err;
    }
  }

  #onPush({ envelope, body, raw }: Frame): void {
    const entry = this.#dispatcher.pushes.get(envelope.method);
    if (entry === undefined) throw new Error(`unknown push ${envelope.method}`);
    const message = entry.method.request.decode(envelope.message);
    entry.handler(message, new Context(this, 0, body, raw, () => AbortSignal.abort()));
  }
}

/** A reason as a WebSocket's close message can carry it: short, and nothing but ASCII. */
function closeReason(text: string): string {
  return text.slice(0, MAX_REASON).replace(/[^\x20-\x7e]/g, "?");
}

const SEND_OPTIONS = { binary: true, compress: false, fin: true };

class Context implements CallContext {
  readonly link: Link;
  readonly deadlineMs: number;
  readonly body: Buffer;
  readonly raw: Buffer;
  readonly #makeSignal: () => AbortSignal;
  #signal: AbortSignal | undefined;

  constructor(link: Link, deadlineMs: number, body: Buffer, raw: Buffer, makeSignal: () => AbortSignal) {
    this.link = link;
    this.deadlineMs = deadlineMs;
    this.body = body;
    this.raw = raw;
    this.#makeSignal = makeSignal;
  }

  get signal(): AbortSignal {
    this.#signal ??= this.#makeSignal();
    return this.#signal;
  }

  recycle(): void {
    this.link.recycle(this.raw);
  }
}

/** No bytes. */
export const NO_BODY = EMPTY;
