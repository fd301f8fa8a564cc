import type { Socket } from "node:net";
import { WebSocket } from "ws";
import { type Clock, RealClock } from "../common/clock.js";
import { CairnError } from "../common/errors.js";
import { CONNECT_TIMEOUT_MS, DEFAULT_DEADLINE_MS, MAX_MESSAGE } from "../common/limits.js";
import type { Logger } from "../common/log.js";
import type { LinkAuth } from "./auth.js";
import type { Dispatcher } from "./dispatch.js";
import { receiveInPlace } from "./in-place.js";
import { type Caller, type CallOptions, Link, type Reply } from "./link.js";
import type { AnyMethod, ReplyOf, RequestOf } from "./method.js";

/** The path of the WebSocket upgrade on every daemon's port. */
export const LINK_PATH = "/link";
/** First and longest pause between attempts to connect, ms. */
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 2_000;
/** Links a pool keeps at most; the longest unused goes when more are asked for. */
const MAX_POOLED = 4096;

/** Opens one connection: connect(), or what a simulated network has in its place. */
export type Dial = (host: string, port: number, options: ConnectOptions) => Promise<Link>;

/** What every connection needs. */
export interface ConnectOptions {
  dispatcher: Dispatcher;
  auth: LinkAuth;
  log: Logger;
  clock?: Clock;
  /** Overrides of the link's ping interval and idle limit, ms. */
  pingMs?: number;
  idleMs?: number;
  /** How connections are opened; connect() unless set. */
  dial?: Dial;
  /** 0 <= random() < 1: spreads attempts to connect. */
  random?: () => number;
}

/** RFC 6455 has clients mask what they send against proxies that a browser could be made to poison. No browser here. */
const zeroMask = (mask: Buffer): void => {
  mask.fill(0);
};

/** Packets go the other way: nobody who connects gives the memory of a message back. */
const FRESH_MEMORY = { take: (length: number): Buffer => Buffer.allocUnsafeSlow(length) };

/** Opens one connection. ECONNREFUSED, ETIMEDOUT, EACCES (the secret), EPROTO (no CairnFS daemon there). */
export function connect(host: string, port: number, options: ConnectOptions): Promise<Link> {
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(`ws://${address}${LINK_PATH}`, {
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE,
      handshakeTimeout: CONNECT_TIMEOUT_MS,
      headers: options.auth.headers(),
      generateMask: zeroMask,
      skipUTF8Validation: true,
    });
    const fail = (err: CairnError) => {
      ws.on("error", () => {}); // terminate() emits one more
      ws.terminate();
      reject(err);
    };
    ws.once("error", (err: NodeJS.ErrnoException) => {
      const timedOut = /handshake has timed out/.test(err.message);
      fail(new CairnError(timedOut ? "ETIMEDOUT" : (err.code ?? "EPROTO"), `cannot connect to ${address}`, err));
    });
    ws.once("unexpected-response", (_req, res) => {
      const reason = res.headers["x-cairn-reason"] ?? `HTTP ${res.statusCode} ${res.statusMessage}`;
      res.resume();
      fail(
        new CairnError(res.statusCode === 401 ? "EACCES" : "EPROTO", `${address} refused the connection: ${reason}`),
      );
    });
    let socket: Socket | undefined;
    ws.once("upgrade", (res) => {
      socket = res.socket;
    });
    ws.once("open", () => {
      ws.removeAllListeners("error");
      ws.removeAllListeners("unexpected-response");
      if (socket !== undefined) receiveInPlace(socket, FRESH_MEMORY);
      resolve(new Link(ws, { ...options, peer: address }));
    });
  });
}

/** Shared links, one per address: no handshake per block or per call. */
export class LinkPool {
  readonly #options: ConnectOptions;
  readonly #links = new Map<string, Promise<Link>>();
  #closed = false;

  constructor(options: ConnectOptions) {
    this.#options = options;
  }

  /** The open link to an address, or a new one. Rejects as connect() does; ENOTCONN when the pool is closed. */
  async get(host: string, port: number): Promise<Link> {
    if (this.#closed) throw new CairnError("ENOTCONN", `no link to ${host}:${port}: closed here`);
    const key = `${host} ${port}`;
    const known = this.#links.get(key);
    if (known !== undefined) {
      this.#links.delete(key);
      this.#links.set(key, known); // the last used comes last
      const link = await known;
      if (link.isOpen) return link;
      if (this.#links.get(key) !== known) return this.get(host, port);
    }
    const opening = (this.#options.dial ?? connect)(host, port, this.#options);
    this.#links.set(key, opening);
    this.#shrink();
    try {
      const link = await opening;
      void link.closed.then(() => this.#forget(key, opening));
      return link;
    } catch (err) {
      this.#forget(key, opening);
      throw err;
    }
  }

  /** Closes every link, for good. */
  async close(): Promise<void> {
    this.#closed = true;
    const all = [...this.#links.values()];
    this.#links.clear();
    for (const opening of all) await opening.then((link) => link.close()).catch(() => undefined);
  }

  #forget(key: string, opening: Promise<Link>): void {
    if (this.#links.get(key) === opening) this.#links.delete(key);
  }

  #shrink(): void {
    if (this.#links.size <= MAX_POOLED) return;
    const [key, oldest] = this.#links.entries().next().value as [string, Promise<Link>];
    this.#links.delete(key);
    void oldest.then((link) => link.close("too many links")).catch(() => undefined);
  }
}

export interface PersistentLinkOptions extends ConnectOptions {
  host: string;
  port: number;
  /**
   * Run on every new connection before calls of others go over it (OpenSession, Register). When it rejects with a
   * `fatal` error the link gives up for good; with any other the connection is dropped and tried again.
   */
  onConnect?: (link: Link) => Promise<void>;
  /** Told of every connection that was lost or could not be made. */
  onDisconnect?: (reason: Error) => void;
  /** Whether an error of onConnect is final. */
  fatal?: (err: Error) => boolean;
}

/** A caller that keeps one link to an address: connects, and connects again with backoff, until closed. */
export class PersistentLink implements Caller {
  readonly #options: PersistentLinkOptions;
  readonly #clock: Clock;
  #link: Link | undefined;
  #waiters: { resolve: (link: Link) => void; reject: (err: Error) => void }[] = [];
  #closed: Error | undefined;
  #lastError: Error | undefined;
  /** Ends the pause between two attempts. */
  #wake: (() => void) | undefined;

  constructor(options: PersistentLinkOptions) {
    this.#options = options;
    this.#clock = options.clock ?? new RealClock();
    void this.#run();
  }

  /** The link, when it is up now. */
  get link(): Link | undefined {
    return this.#link?.isOpen ? this.#link : undefined;
  }

  /** Resolves to the link once it is up. ETIMEDOUT after deadlineMs; the fatal error when the link gave up. */
  ready(deadlineMs = DEFAULT_DEADLINE_MS): Promise<Link> {
    const link = this.link;
    if (link !== undefined) return Promise.resolve(link);
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => {
      const waiter = {
        resolve: (up: Link) => {
          timer.clear();
          resolve(up);
        },
        reject: (err: Error) => {
          timer.clear();
          reject(err);
        },
      };
      const timer = this.#clock.after(deadlineMs, () => {
        this.#waiters = this.#waiters.filter((w) => w !== waiter);
        const { host, port } = this.#options;
        reject(
          new CairnError("ETIMEDOUT", `no connection to ${host}:${port} within ${deadlineMs} ms`, this.#lastError),
        );
      });
      this.#waiters.push(waiter);
    });
  }

  async call<M extends AnyMethod>(method: M, request: RequestOf<M>, options?: CallOptions): Promise<ReplyOf<M>> {
    return (await this.callWithBody(method, request, options)).message;
  }

  /** Waits for the link within the call's deadline. A call that was under way when the link broke rejects with ENOTCONN. */
  async callWithBody<M extends AnyMethod>(
    method: M,
    request: RequestOf<M>,
    options: CallOptions = {},
  ): Promise<Reply<ReplyOf<M>>> {
    const up = this.link;
    if (up !== undefined) return up.callWithBody(method, request, options);
    const deadlineMs = options.deadlineMs ?? DEFAULT_DEADLINE_MS;
    const started = this.#clock.monotonic();
    const link = await this.ready(deadlineMs);
    const left = Math.max(1, deadlineMs - (this.#clock.monotonic() - started));
    return link.callWithBody(method, request, { ...options, deadlineMs: left });
  }

  /** Closes for good. */
  close(): void {
    this.#end(new CairnError("ENOTCONN", `the link to ${this.#options.host}:${this.#options.port} was closed here`));
    this.#link?.close();
  }

  #end(reason: Error): void {
    this.#closed ??= reason;
    this.#wake?.();
    for (const w of this.#waiters.splice(0)) w.reject(this.#closed);
  }

  async #run(): Promise<void> {
    const { host, port, onConnect, onDisconnect, fatal, dial = connect, random = Math.random } = this.#options;
    let pause = BACKOFF_FIRST_MS;
    while (this.#closed === undefined) {
      try {
        const link = await dial(host, port, this.#options);
        try {
          await onConnect?.(link);
        } catch (err) {
          link.close("refused");
          if (fatal?.(err as Error)) this.#end(err as Error);
          throw err;
        }
        if (this.#closed !== undefined) {
          link.close();
          return;
        }
        this.#link = link;
        pause = BACKOFF_FIRST_MS;
        for (const w of this.#waiters.splice(0)) w.resolve(link);
        this.#lastError = await link.closed;
        this.#link = undefined;
      } catch (err) {
        this.#lastError = err as Error;
      }
      if (this.#closed !== undefined) return;
      onDisconnect?.(this.#lastError);
      await this.#pause(pause * (0.5 + random() / 2));
      pause = Math.min(pause * 2, BACKOFF_MAX_MS);
    }
  }
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(ms, resolve);
      this.#wake = () => {
        timer.clear();
        resolve();
      };
    });
  }
}
