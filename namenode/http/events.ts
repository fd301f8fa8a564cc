import type { ServerResponse } from "node:http";
import type { Clock, Timer } from "../../common/clock.js";
import { InvariantError } from "../../common/errors.js";
import { KIB } from "../../common/limits.js";
import type { Logger } from "../../common/log.js";
import type { Status } from "./status.js";

/** Listeners at one time; a further one is turned away. */
export const MAX_LISTENERS = 64;
/** The status is looked at this often while somebody listens, ms. */
export const BEAT_MS = 1_000;
/** One listener is sent this much per second on average: a status of 1,000 datanodes then goes out every few seconds. */
export const LISTENER_BYTES_PER_S = 128 * KIB;
/** When nothing changes, a listener hears at least this often that the namenode is there, ms. */
export const HEARTBEAT_MS = 5_000;
/** A listener that has not taken what was sent for this long is dropped, ms. It may come again. */
export const SLOW_MS = 15_000;

interface Listener {
  readonly res: ServerResponse;
  /** The state that was sent last, and when (monotonic ms). */
  sent: string;
  sentAt: number;
  /** No further status before this moment (monotonic ms). */
  notBefore: number;
}

/**
 * Live updates as Server-Sent Events: `status` events carry the whole Status as JSON, `heartbeat` events the namenode's clock.
 * A status is encoded once for all, and sent only when something changed. A listener that cannot follow misses
 * states in between, so that at most one status is queued for each.
 */
export class EventStream {
  readonly #status: () => Status;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #listeners = new Set<Listener>();
  #timer: Timer | undefined;

  constructor(status: () => Status, clock: Clock, log: Logger) {
    this.#status = status;
    this.#clock = clock;
    this.#log = log;
  }

  /** Listeners now. */
  get size(): number {
    return this.#listeners.size;
  }

  /** Whether a further listener would be turned away. */
  get full(): boolean {
    return this.#listeners.size >= MAX_LISTENERS;
  }

  /** Sends the status now, and whenever it changes, until the connection ends. The response's head has been written. */
  add(res: ServerResponse): void {
    const listener: Listener = { res, sent: "", sentAt: 0, notBefore: 0 };
    this.#send(listener, encode(this.#status()));
    this.#listeners.add(listener);
    res.once("close", () => this.#remove(listener));
    this.#timer ??= this.#clock.every(BEAT_MS, () => this.#tryBeat());
  }

  #remove(listener: Listener): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0) return;
    this.#timer?.clear();
    this.#timer = undefined;
  }

  #tryBeat(): void {
    try {
      this.#beat();
    } catch (err) {
      if (err instanceof InvariantError) throw err;
      this.#log.error({ err }, "no status for the listeners of /api/events");
      for (const { res } of this.#listeners) res.destroy();
    }
  }

  #beat(): void {
    const status = encode(this.#status());
    const now = this.#clock.monotonic();
    for (const listener of this.#listeners) {
      const { res, sent, sentAt, notBefore } = listener;
      if (res.writableLength > 0) {
        if (now - sentAt >= SLOW_MS) res.destroy();
      } else if (sent !== status.state) {
        if (now >= notBefore) this.#send(listener, status);
      } else if (now - sentAt >= HEARTBEAT_MS) {
        listener.sentAt = now;
        res.write(`event: heartbeat\ndata: ${status.nowMs}\n\n`);
      }
    }
  }

  #send(listener: Listener, { state, message }: Encoded): void {
    listener.sent = state;
    listener.sentAt = this.#clock.monotonic();
    listener.notBefore = listener.sentAt + (message.length * 1000) / LISTENER_BYTES_PER_S;
    listener.res.write(message);
  }
}

interface Encoded {
  nowMs: number;
  /** Everything but the time: equal when nothing changed. */
  state: string;
  message: Buffer;
}

function encode(status: Status): Encoded {
  const { nowMs, ...rest } = status;
  const state = JSON.stringify(rest);
  return { nowMs, state, message: Buffer.from(`event: status\ndata: {"nowMs":${nowMs},${state.slice(1)}\n\n`) };
}
