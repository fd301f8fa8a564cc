import type { Link } from "./link.js";
import type { AnswerOf, AnyMethod, ReceivedOf, ServiceTable } from "./method.js";

/** What a handler gets beside the request. */
export interface CallContext {
  /** The link it came over: for pushes back, and as the key of per-connection state. */
  readonly link: Link;
  /** Raw bytes sent with the request. Shares memory with the received message; keep a copy if it is kept. */
  readonly body: Buffer;
  /** The whole WebSocket message, to be passed on unchanged with Link.sendFrame. */
  readonly raw: Buffer;
  /** Aborted when the caller gave up or the link closed. Made only when asked for. */
  readonly signal: AbortSignal;
  /** How long the caller waits from now, ms. */
  readonly deadlineMs: number;
  /** Says that nobody will look at `body` and `raw` any more: their memory may be used for another message. Need not be called. */
  recycle(): void;
}

/** A reply with raw bytes beside it. */
export class WithBody<R> {
  readonly message: R;
  readonly body: Uint8Array;
  /** Called once, when the reply has left this process or will not any more: its memory is free. */
  readonly onSent: (() => void) | undefined;

  constructor(message: R, body: Uint8Array, onSent?: () => void) {
    this.message = message;
    this.body = body;
    this.onSent = onSent;
  }
}

type Answer<R> = R | WithBody<R>;
/** Answers a call, at once or later. What it throws becomes the caller's CairnError. */
export type Handler<M> = (
  request: ReceivedOf<M>,
  context: CallContext,
) => Answer<AnswerOf<M>> | Promise<Answer<AnswerOf<M>>>;
/** Takes a push, at once. What it throws closes the link: a push has no other way to say no. */
export type PushHandler<M> = (message: ReceivedOf<M>, context: CallContext) => void;

export interface Entry {
  readonly method: AnyMethod;
  readonly handler: (request: unknown, context: CallContext) => unknown;
}

/** Which handler answers which method. Shared by all links of a server. */
export class Dispatcher {
  readonly calls = new Map<string, Entry>();
  readonly pushes = new Map<string, Entry>();

  /** Answers every call of a service. */
  serve<S extends ServiceTable>(service: S, handlers: { [K in keyof S]: Handler<S[K]> }): this {
    for (const [key, method] of Object.entries(service)) {
      this.calls.set(method.name, { method, handler: handlers[key as keyof S] as Entry["handler"] });
    }
    return this;
  }

  /** Takes every push of a service. */
  take<S extends ServiceTable>(service: S, handlers: { [K in keyof S]: PushHandler<S[K]> }): this {
    for (const [key, method] of Object.entries(service)) {
      this.pushes.set(method.name, { method, handler: handlers[key as keyof S] as Entry["handler"] });
    }
    return this;
  }
}
