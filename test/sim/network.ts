import { EventEmitter } from "node:events";
import type { WebSocket } from "ws";
import { CairnError } from "../../common/errors.js";
import { CONNECT_TIMEOUT_MS } from "../../common/limits.js";
import type { ConnectOptions } from "../../proto/connect.js";
import { decodeFrame } from "../../proto/frame.js";
import { EnvelopeKind as Kind } from "../../proto/gen/types.js";
import { Link } from "../../proto/link.js";
import type { Network } from "../../proto/network.js";
import type { LinkServer, Listen, ListenOptions } from "../../proto/server.js";
import type { Process } from "./machine.js";
import type { Random } from "./random.js";
import type { Time } from "./time.js";

/** Time on the wire: least, most, ms; and a byte's share. */
const LATENCY_MS = [0.05, 0.5] as const;
const BYTE_MS = 1 / 200_000;
/** A message that is delayed, as by a queue or a retransmission: how often, and at most for how long, ms. */
const DELAY_CHANCE = 0.01;
const MAX_DELAY_MS = 300;

/** Sees every message when it is sent; the method of an answer is "reply of" or "error of" what was asked. */
export type Observer = (message: { from: string; to: string; method: string; bytes: Uint8Array }) => void;

interface Listener {
  readonly process: Process;
  readonly options: ListenOptions;
  readonly links: Set<Link>;
}

/**
 * A network of machines. A connection is as TCP's: bytes come once and in order, or the connection breaks and what was under way
 * is lost; between connections anything may overtake anything. Duplicates come of retries after lost replies.
 */
export class SimNetwork {
  readonly #time: Time;
  readonly #random: Random;
  readonly #listeners = new Map<string, Listener>();
  readonly #sockets = new Set<SimSocket>();
  /** "a>b": nothing gets from machine a to machine b. */
  readonly #cut = new Set<string>();
  /** The same, until when it was last so. */
  readonly #mended = new Map<string, number>();
  #nextPort = 10_000;
  /** Probability that a message breaks its connection instead of arriving. */
  breakChance = 0;
  /** Whoever sees every message that is sent. */
  readonly observers: Observer[] = [];
  /** Messages delivered so far. */
  delivered = 0;

  constructor(time: Time, random: Random) {
    this.#time = time;
    this.#random = random;
  }

  /** The network as a process sees it. */
  for(process: Process): Network {
    return {
      dial: (host, port, options) => this.#dial(process, host, port, options),
      listen: (options) => this.#listen(process, options),
    };
  }

  /** Nothing gets from one machine to another (in this direction), until mend(). What is under way waits. */
  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
  }

  /** Breaks all connections between two machines, with what is under way. */
  break(a: string, b: string): void {
    for (const socket of [...this.#sockets]) {
      if (socket.process.machine.name === a && socket.peer.process.machine.name === b) socket.break();
    }
  }

  /** Undoes all cuts. What waited goes on. */
  mend(): void {
    for (const cut of this.#cut) this.#mended.set(cut, this.#time.now);
    this.#cut.clear();
    for (const socket of [...this.#sockets]) socket.pump();
  }

  isCut(from: string, to: string): boolean {
    return this.#cut.has(`${from}>${to}`);
  }

  /** Whether something that connects two machines has done so since some time, ms, and nothing was cut meanwhile. */
  isConnected(a: string, b: string, since: number): boolean {
    for (const way of [`${a}>${b}`, `${b}>${a}`])
      if (this.#cut.has(way) || (this.#mended.get(way) ?? Number.NEGATIVE_INFINITY) >= since) return false;
    for (const { process, peer, isOpen, since: opened } of this.#sockets)
      if (process.machine.name === a && peer.process.machine.name === b && isOpen && peer.isOpen && opened <= since)
        return true;
    return false;
  }

  latency(bytes: number): number {
    const [least, most] = LATENCY_MS;
    const spike = this.#random.chance(DELAY_CHANCE) ? this.#random.next() * MAX_DELAY_MS : 0;
    return least + this.#random.next() * (most - least) + bytes * BYTE_MS + spike;
  }

  later(ms: number, fn: () => void): void {
    this.#time.after(ms, fn);
  }

  /** Whether a message is to break its connection. */
  breaks(): boolean {
    return this.breakChance > 0 && this.#random.chance(this.breakChance);
  }

  forget(socket: SimSocket): void {
    this.#sockets.delete(socket);
  }

  #dial(process: Process, host: string, port: number, options: ConnectOptions): Promise<Link> {
    const address = `${host}:${port}`;
    return new Promise((resolve, reject) => {
      const refuse = (code: string) => process.run(() => reject(new CairnError(code, `cannot connect to ${address}`)));
      const attempt = () => {
        const listener = this.#listeners.get(address);
        const here = process.machine.name;
        if (listener === undefined && !this.isCut(here, host)) return refuse("ECONNREFUSED");
        const unreachable =
          listener === undefined || !listener.process.machine.on || this.isCut(here, host) || this.isCut(host, here);
        if (unreachable) return this.later(CONNECT_TIMEOUT_MS, () => refuse("ETIMEDOUT"));
        if (!process.alive) return;
        const [ours, theirs] = this.#pair(process, listener.process);
        listener.process.run(() => {
          const { dispatcher, log, clock, onLink } = listener.options;
          const link = new Link(theirs.asWebSocket(), {
            peer: here,
            dispatcher,
            log,
            buffers,
            ...(clock && { clock }),
          });
          listener.links.add(link);
          void link.closed.then(() => listener.links.delete(link));
          onLink?.(link);
        });
        this.later(this.latency(200), () =>
          process.run(() => resolve(new Link(ours.asWebSocket(), { ...options, buffers, peer: address }))),
        );
      };
      this.later(this.latency(200), attempt);
    });
  }

  #pair(a: Process, b: Process): [SimSocket, SimSocket] {
    const [left, right] = [new SimSocket(this, a, this.#time.now), new SimSocket(this, b, this.#time.now)];
    left.peer = right;
    right.peer = left;
    for (const socket of [left, right]) {
      this.#sockets.add(socket);
      socket.process.onDeath((powerLoss) => socket.die(powerLoss));
    }
    return [left, right];
  }

  readonly #listen = async (process: Process, options: Parameters<Listen>[0]): Promise<LinkServer> => {
    if (!process.alive) return new Promise(() => {}); // it has died on its way here
    const { name } = process.machine;
    const port = options.port || this.#nextPort++;
    const address = `${name}:${port}`;
    const listener: Listener = { process, options, links: new Set() };
    if (this.#listeners.has(address)) throw new CairnError("EADDRINUSE", `cannot listen on ${address}`);
    this.#listeners.set(address, listener);
    process.onDeath(() => this.#listeners.delete(address));
    return {
      host: name,
      port,
      links: listener.links,
      close: async (reason) => {
        this.#listeners.delete(address);
        for (const link of [...listener.links]) link.close(reason);
      },
    };
  };
}

/** Memory that is given back is used for something else at once: whoever still looks at it is found out. */
const buffers = { giveBack: (message: Buffer) => void message.fill(0xdb) };

interface Message {
  readonly data: Buffer | "ping" | "pong";
  readonly close?: { readonly code: number; readonly reason: string };
}

/** One end of a connection: what Link needs of a WebSocket. */
class SimSocket extends EventEmitter {
  peer!: SimSocket;
  readonly process: Process;
  /** When it was opened, ms. */
  readonly since: number;
  binaryType = "nodebuffer";
  bufferedAmount = 0;
  readonly #network: SimNetwork;
  /** Sent, and not delivered. */
  #queue: Message[] = [];
  /** Calls that were not answered yet: the methods, by number. */
  readonly #asked = new Map<number, string>();
  #busy = false;
  #open = true;
  /** Delivered while the reader did not read. */
  #unread: Message[] = [];
  #paused = false;

  constructor(network: SimNetwork, process: Process, since: number) {
    super();
    this.#network = network;
    this.process = process;
    this.since = since;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  asWebSocket(): WebSocket {
    return this as unknown as WebSocket;
  }

  send(data: Buffer, _options: unknown, sent: () => void): void {
    if (!this.#open || !this.process.alive) return sent();
    this.#show(data);
    this.#enqueue({ data: Buffer.from(data) });
    this.#network.later(0.01, () => this.process.run(sent));
  }

  ping(): void {
    if (this.#open && this.process.alive) this.#enqueue({ data: "ping" });
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    for (const message of this.#unread.splice(0)) this.#receive(message);
  }

  close(code: number, reason: string): void {
    if (!this.#open) return;
    this.#enqueue({ data: "ping", close: { code, reason } });
    this.#end(1000, "");
  }

  terminate(): void {
    if (!this.#open) return;
    this.#queue = [];
    this.#reset();
    this.#end(1006, "");
  }

  /** The process has died. Its kernel says so to the peer, unless the power went. */
  die(powerLoss: boolean): void {
    if (!this.#open) return;
    this.#open = false;
    this.#queue = [];
    this.#network.forget(this);
    if (!powerLoss) this.#reset();
  }

  /** Sends on what waits, if it may. */
  pump(): void {
    const [message] = this.#queue;
    const { peer } = this;
    if (this.#busy || message === undefined) return;
    if (this.#network.isCut(this.process.machine.name, peer.process.machine.name)) return;
    this.#busy = true;
    const size = typeof message.data === "string" ? 10 : message.data.length;
    this.#network.later(this.#network.latency(size), () => {
      this.#busy = false;
      if (this.#queue[0] !== message) return this.pump(); // reset meanwhile
      if (this.#network.isCut(this.process.machine.name, peer.process.machine.name)) return;
      if (this.#network.breaks()) return this.break();
      this.#queue.shift();
      this.bufferedAmount -= size;
      this.#network.delivered++;
      peer.#receive(message);
      if (!this.#open && this.#queue.length === 0) this.#network.forget(this);
      else this.pump();
    });
  }

  #enqueue(message: Message): void {
    this.#queue.push(message);
    this.bufferedAmount += typeof message.data === "string" ? 10 : message.data.length;
    this.pump();
  }

  #receive(message: Message): void {
    this.process.run(() => {
      if (!this.#open) return;
      if (this.#paused) {
        this.#unread.push(message);
        return;
      }
      const { data, close } = message;
      if (close) return this.#end(close.code, close.reason);
      if (data === "ping") {
        this.#enqueue({ data: "pong" });
        this.emit("ping");
      } else if (data === "pong") this.emit("pong");
      else this.emit("message", data, true);
    });
  }

  /** The connection breaks, with all that is under way in both directions. */
  break(): void {
    this.#queue = [];
    this.peer.#queue = [];
    this.#reset();
    this.process.run(() => this.#end(1006, ""));
  }

  /** The other end hears, some time later, that there is nobody any more. */
  #reset(): void {
    const { peer } = this;
    this.#network.later(this.#network.latency(0), () => {
      if (!this.#network.isCut(this.process.machine.name, peer.process.machine.name)) {
        peer.process.run(() => peer.#end(1006, ""));
      }
    });
  }

  #end(code: number, reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.#queue.length === 0) this.#network.forget(this);
    this.emit("close", code, Buffer.from(reason));
  }

  #show(data: Buffer): void {
    const { kind, id, method, message } = decodeFrame(data).envelope;
    if (kind === Kind.CALL) this.#asked.set(id, method);
    const asked = this.peer.#asked.get(id);
    if (kind === Kind.REPLY || kind === Kind.ERROR) this.peer.#asked.delete(id);
    const what = method || `${kind === Kind.REPLY ? "reply" : kind === Kind.ERROR ? "error" : "cancel"} of ${asked}`;
    const { name: from } = this.process.machine;
    const { name: to } = this.peer.process.machine;
    for (const observer of this.#network.observers) observer({ from, to, method: what, bytes: message });
  }
}
