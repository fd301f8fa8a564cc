import type { Clock } from "../../common/clock.js";
import { CairnError, codeOf, errnoNumber, InvariantError, messageOf } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import type { Caller } from "../types.js";
import { MAX_REQUEST, Opcode, opcodeName } from "./abi.js";
import { Buffers } from "./buffers.js";
import type { FuseDevice, RequestSink } from "./device.js";
import { newReply, seal } from "./reply.js";
import { decodeHeader, decodeInterrupt, type Header, RequestReader } from "./request.js";

/** Requests of at least this size keep the buffer they were read into; smaller ones are copied out of it, bytes. */
const LARGE = 16_384;
/** Large requests under way, at most: 64 MiB. Then no further requests are read. */
const MAX_LARGE = 64;
/** Requests under way, at most. Then no further ones are read. */
const MAX_REQUESTS = 4096;
/** How long a request may go on after its program was interrupted, ms. Signals that do not end a program come often, too. */
const INTERRUPT_GRACE_MS = 1000;

/** Serves a request: resolves to its reply, the header still to be filled in. Anything else is an empty one, or it is answered already. */
export type Handler = (request: Request) => Promise<unknown>;

/** Operations by opcode; those that are missing are ENOSYS. */
export type Handlers = ReadonlyMap<number, Handler>;

/** Operations the kernel expects no reply to. */
const SILENT: ReadonlySet<number> = new Set([Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT]);

/** One request of the kernel under way. */
export class Request {
  readonly header: Header;
  /** Reads what comes after the header. */
  readonly body: RequestReader;
  readonly #send: (reply: Buffer) => boolean;
  #answered: boolean;
  #interrupted = false;
  /** Made when it is asked for: few requests are interrupted. */
  #controller: AbortController | undefined;

  constructor(header: Header, bytes: Buffer, send: (reply: Buffer) => boolean) {
    this.header = header;
    this.body = new RequestReader(bytes);
    this.#send = send;
    this.#answered = SILENT.has(header.opcode);
  }

  /** The inode that it is about. */
  get ino(): number {
    return this.header.ino;
  }

  get caller(): Caller {
    return this.header.caller;
  }

  /** Aborted when the program was interrupted: who waits for something that may never come is to stop. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#interrupted) this.#controller.abort();
    return this.#controller.signal;
  }

  /** The program was interrupted. */
  interrupt(): void {
    this.#interrupted = true;
    this.#controller?.abort();
  }

  /** Sends the reply, unless one was sent. False when nobody waits for it any more: what it hands over must be taken back. */
  answer(reply: Buffer, error = 0): boolean {
    if (this.#answered) return false;
    this.#answered = true;
    return this.#send(seal(reply, this.header.unique, error));
  }

  /** Sends an error, unless a reply was sent. */
  fail(code: string): boolean {
    return this.answer(newReply(0), -(errnoNumber(code) ?? errnoNumber("EIO")!));
  }
}

/** What of the device a dialogue needs. */
export type Kernel = Pick<FuseDevice, "write" | "resume">;

/**
 * The dialogue with the kernel: reads requests, has them served, many at a time, and answers each once. Memory is bounded: when
 * too much is under way, the kernel's queue waits.
 */
export class Connection implements RequestSink {
  /** Resolves when the mount has gone. */
  readonly ended: Promise<void>;
  readonly #device: Kernel;
  readonly #handlers: Handlers;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #requests = new Map<number, Request>();
  readonly #large = new Buffers(MAX_REQUEST, MAX_LARGE + 1);
  #buffer: Buffer;
  #paused = false;
  #end!: () => void;

  constructor(device: Kernel, handlers: Handlers, options: { clock: Clock; log: Logger }) {
    this.#device = device;
    this.#handlers = handlers;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#buffer = this.#large.take();
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  next(): Buffer {
    return this.#buffer;
  }

  request(read: Buffer): boolean {
    const keep = read.length >= LARGE;
    const bytes = keep ? read : Buffer.from(read);
    const buffer = this.#buffer;
    if (keep) this.#buffer = this.#large.take();
    void this.#serve(bytes, keep ? buffer : undefined);
    this.#paused = this.#isFull;
    return !this.#paused;
  }

  closed(err: CairnError | undefined): void {
    if (err) this.#log.error(`the mount is lost: ${err.message}`);
    this.#end();
  }

  /** @param kept the buffer that the bytes are in, to be given back */
  async #serve(bytes: Buffer, kept: Buffer | undefined): Promise<void> {
    try {
      await this.#handle(bytes);
    } finally {
      if (kept !== undefined) this.#large.give(kept);
      this.#resume();
    }
  }

  async #handle(bytes: Buffer): Promise<void> {
    let header: Header;
    try {
      header = decodeHeader(bytes);
    } catch (err) {
      // It cannot be answered: nobody knows whose it is.
      this.#log.error(messageOf(err));
      return;
    }
    const request = new Request(header, bytes, (reply) => this.#send(reply, header));
    if (header.opcode === Opcode.INTERRUPT) {
      this.#interrupt(decodeInterrupt(request.body));
      return;
    }
    const handler = this.#handlers.get(header.opcode);
    if (handler === undefined) {
      request.fail("ENOSYS");
      return;
    }
    this.#requests.set(header.unique, request);
    try {
      const reply = await handler(request);
      request.answer(Buffer.isBuffer(reply) ? reply : newReply(0));
    } catch (err) {
      if (err instanceof InvariantError) throw err;
      this.#note(err, header);
      request.fail(codeOf(err));
    } finally {
      this.#requests.delete(header.unique);
    }
  }

  /** The kernel waits for the reply, whatever befalls the program: one that does not come soon is given up. */
  #interrupt(unique: number): void {
    const request = this.#requests.get(unique);
    if (request === undefined) return;
    request.interrupt();
    this.#clock.after(INTERRUPT_GRACE_MS, () => request.fail("EINTR"));
  }

  #send(reply: Buffer, header: Header): boolean {
    try {
      return this.#device.write(reply);
    } catch (err) {
      // The kernel has answered the program with EIO.
      this.#log.error({ operation: opcodeName(header.opcode) }, messageOf(err));
      return false;
    }
  }

  #note(err: unknown, header: Header): void {
    if (err instanceof CairnError && codeOf(err) !== "EIO") return;
    const stack = err instanceof CairnError ? {} : { stack: (err as Error).stack };
    this.#log.error({ operation: opcodeName(header.opcode), ...stack }, messageOf(err));
  }

  #resume(): void {
    if (!this.#paused || this.#isFull) return;
    this.#paused = false;
    this.#device.resume();
  }

  get #isFull(): boolean {
    return this.#large.left === 0 || this.#requests.size >= MAX_REQUESTS;
  }
}
