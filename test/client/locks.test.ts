import { expect } from "chai";
import type { LostLocks } from "../../client/contract.js";
import { SessionLocks } from "../../client/locks.js";
import type { Session } from "../../client/session.js";
import { CairnError, codeOf } from "../../common/errors.js";
import { LAST_BYTE } from "../../common/lock.js";
import { silentLogger } from "../../common/log.js";
import { type CallContext, Dispatcher } from "../../proto/dispatch.js";
import { LockPush } from "../../proto/gen/services.js";
import type { OpenSessionReply } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import { encodeLock, type FileLock, type TakenLock } from "../../proto/lock.js";
import type { AnyMethod } from "../../proto/method.js";
import { World } from "../namenode/namespace/world.js";
import { FakeClock } from "../support/fake-clock.js";
import { until } from "../support/until.js";

/** A client of the namenode of a World, without a network: what gets through is the test's to say. */
class Client {
  readonly id: number;
  readonly clock = new FakeClock();
  readonly lost: LostLocks[] = [];
  readonly locks: SessionLocks;
  world: World;
  /** What is sent does not arrive. */
  isDown = false;
  /** What is sent arrives, and its reply is lost. */
  losesReplies = false;
  #incarnation = 0;
  readonly #dispatcher = new Dispatcher();
  readonly #listeners: ((reply: OpenSessionReply) => void)[] = [];
  readonly #blocked: (() => void)[] = [];
  readonly #session = {
    id: 0,
    locks: (): TakenLock[] => [],
    call: (method: AnyMethod, request: unknown, signal?: AbortSignal) => this.#call(method, request, signal),
    onOpened: (listener: (reply: OpenSessionReply) => void) => this.#listeners.push(listener),
  };

  private constructor(world: World, id: number) {
    this.world = world;
    this.id = id;
    this.#session.id = id;
    const session = this.#session as unknown as Session;
    this.locks = new SessionLocks({ session, dispatcher: this.#dispatcher, clock: this.clock, log: silentLogger });
    this.locks.onLost((places) => this.lost.push(...places));
  }

  static async open(world: World, id: number): Promise<Client> {
    const client = new Client(world, id);
    await client.connect(world);
    return client;
  }

  /** Connects, to this namenode from now on. */
  async connect(world = this.world): Promise<void> {
    this.world = world;
    this.isDown = false;
    this.losesReplies = false;
    const link = {
      isOpen: true,
      closed: new Promise(() => {}),
      close: () => {},
      push: (_method: unknown, message: object) => {
        if (this.isDown || this.losesReplies) return;
        this.#dispatcher.pushes.get(LockPush.decided.name)!.handler({ refused: null, ...message }, {} as CallContext);
      },
    } as unknown as Link;
    const locks = this.#session.locks().map(encodeLock);
    const request = { session: this.id, name: "n", host: "h", incarnation: this.#incarnation, locks };
    const reply = await world.call("openSession", request, link);
    this.#incarnation = reply.incarnation;
    for (const listener of this.#listeners) listener(reply);
    for (const go of this.#blocked.splice(0)) go();
  }

  async #call(method: AnyMethod, request: unknown, signal?: AbortSignal): Promise<unknown> {
    for (;;) {
      while (this.isDown) await new Promise<void>((go) => this.#blocked.push(go));
      if (signal?.aborted) throw new CairnError("ECANCELED", "given up");
      const key = method.name.replace("Locks.", "");
      const name = (key[0]!.toLowerCase() + key.slice(1)) as "setLock";
      const reply = await this.world.lockCall(name, request as never, signal);
      if (!this.losesReplies) return reply;
      await new Promise<void>((go) => this.#blocked.push(go));
    }
  }

  set(kind: FileLock["kind"], how: { wait?: boolean; signal?: AbortSignal } = {}, more: Partial<FileLock> = {}) {
    const lock: FileLock = { ...FILE, owner: BigInt(this.id), kind, first: 0n, last: LAST_BYTE, pid: this.id, ...more };
    return this.locks.set(lock, how).then(() => "locked", codeOf);
  }

  /** What the namenode says this client's owner has of the file. */
  async held(more: Partial<FileLock> = {}): Promise<string[]> {
    const lock: FileLock = {
      ...FILE,
      owner: BigInt(this.id),
      kind: "exclusive",
      first: 0n,
      last: LAST_BYTE,
      pid: 1,
      ...more,
    };
    const request = { session: this.id, lock: encodeLock(lock), ticket: 0 };
    const { locks } = await this.world.lockCall("cancelLock", request);
    return locks.map(
      ({ mode, first }) => `${mode === 1 ? "shared" : "exclusive"} ${Buffer.from(first).readBigUInt64BE()}`,
    );
  }
}

const FILE = { ino: 9, space: "range" } as const;
const FLOCK = { space: "whole" } as const;

describe("locks of a client", () => {
  let world: World;
  let a: Client;
  let b: Client;
  beforeEach(async () => {
    world = await World.open();
    a = await Client.open(world, 1);
    b = await Client.open(world, 2);
  });

  /** Lets everything that can go on do so. */
  const settle = async () => {
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  const restart = () => World.open({ journal: world.journal });

  it("are taken, refused, waited for and given up", async () => {
    expect(await a.set("exclusive")).to.equal("locked");
    expect(await b.set("shared")).to.equal("EAGAIN");
    const waiting = b.set("shared", { wait: true });
    await settle();
    expect(await a.set(undefined)).to.equal("locked");
    expect(await waiting).to.equal("locked");
    const lock: TakenLock = { ...FILE, owner: 1n, kind: "exclusive", first: 0n, last: 5n, pid: 1 };
    expect(await a.locks.test(lock)).to.deep.include({ kind: "shared", owner: 2n, pid: 2 });
    expect(b.locks.holds({ ...FILE, owner: 2n })).to.equal(true);
    await b.set(undefined);
    expect(b.locks.holds({ ...FILE, owner: 2n })).to.equal(false);
  });

  it("report deadlocks to who waits", async () => {
    await a.set("exclusive");
    await b.set("exclusive", {}, { ino: 10 });
    const waiting = a.set("exclusive", { wait: true }, { ino: 10 });
    await settle();
    expect(await b.set("exclusive", { wait: true })).to.equal("EDEADLK");
    await b.set(undefined, {}, { ino: 10 });
    expect(await waiting).to.equal("locked");
  });

  it("are waited for no longer when the program is interrupted", async () => {
    await a.set("exclusive");
    const ctrlC = new AbortController();
    const waiting = b.set("exclusive", { wait: true, signal: ctrlC.signal });
    await settle();
    ctrlC.abort();
    expect(await waiting).to.equal("EINTR");
    await a.set(undefined);
    expect(await b.held()).to.deep.equal([]);
    expect(b.locks.holds({ ...FILE, owner: 2n })).to.equal(false);
  });

  it("are held when the interrupt comes too late", async () => {
    await a.set("exclusive");
    const ctrlC = new AbortController();
    b.losesReplies = false;
    const waiting = b.set("exclusive", { wait: true, signal: ctrlC.signal });
    await settle();
    b.losesReplies = true; // the push of the grant gets lost
    await a.set(undefined);
    b.losesReplies = false;
    ctrlC.abort();
    expect(await waiting).to.equal("locked");
    expect(await b.held()).to.deep.equal(["exclusive 0"]);
  });

  it("are given back later when an interrupt finds the namenode away", async () => {
    expect(await b.set("shared", {}, { last: 9n })).to.equal("locked");
    await a.set("shared", {}, { first: 5n });
    const ctrlC = new AbortController();
    const waiting = b.set("exclusive", { wait: true, signal: ctrlC.signal });
    await settle();
    b.isDown = true;
    await a.set(undefined); // b is served, and does not hear of it
    ctrlC.abort();
    await settle();
    b.clock.advance(10_000);
    expect(await waiting).to.equal("EINTR");
    expect(await b.held()).to.deep.equal(["exclusive 0"]);
    const next = b.set("shared", { wait: true }, { first: 100n });
    await b.connect();
    expect(await next).to.equal("locked");
    expect(await b.held()).to.deep.equal(["shared 0", "shared 100"]);
    expect(await a.set("exclusive", {}, { first: 10n, last: 99n })).to.equal("locked");
  });

  it("keep their place, and are had, over a lost connection", async () => {
    await a.set("exclusive");
    const waiting = b.set("exclusive", { wait: true });
    await settle();
    const third = await Client.open(world, 3);
    const later = third.set("exclusive", { wait: true });
    await settle();
    b.isDown = true;
    await a.set(undefined);
    await b.connect();
    expect(await waiting).to.equal("locked");
    await b.set(undefined);
    expect(await later).to.equal("locked");
  });

  it("are what a namenode that is started again is told", async () => {
    await a.set("exclusive", {}, { last: 9n });
    await a.set("shared", {}, { first: 5n, last: 6n });
    await a.set("exclusive", {}, FLOCK);
    const waiting = b.set("exclusive", { wait: true });
    await settle();
    const after = await restart();
    const third = await Client.open(after, 3);
    const tried = third.set("exclusive", {}, { first: 7n, last: 7n });
    const free = third.set("shared", {}, { first: 5n, last: 6n });
    await Promise.all([a.connect(after), b.connect(after)]);
    expect(await tried).to.equal("EAGAIN");
    expect(await free).to.equal("locked");
    expect(await a.held()).to.deep.equal(["exclusive 0", "shared 5", "exclusive 7"]);
    expect(await a.held(FLOCK)).to.deep.equal(["exclusive 0"]);
    expect(a.lost).to.deep.equal([]);
    await Promise.all([a.set(undefined), third.set(undefined)]);
    expect(await waiting).to.equal("locked");
  });

  it("that were being given up are not claimed again", async () => {
    await a.set("exclusive");
    a.losesReplies = true;
    const unlocking = a.set(undefined);
    await settle();
    expect(await b.set("exclusive")).to.equal("locked");
    const after = await restart();
    await b.connect(after);
    await a.connect(after);
    expect(await unlocking).to.equal("locked");
    expect(a.lost).to.deep.equal([]);
    expect(await b.held()).to.deep.equal(["exclusive 0"]);
  });

  it("are lost with the session, and it is said whose", async () => {
    await a.set("exclusive");
    await a.set("shared", {}, { ino: 10, owner: 77n });
    await world.call("closeSession", { session: a.id });
    expect(await b.set("exclusive")).to.equal("locked");
    await a.connect();
    expect(a.lost).to.deep.equal([
      { ino: 9, space: "range", owner: 1n, exclusive: true },
      { ino: 10, space: "range", owner: 77n, exclusive: false },
    ]);
    expect(await a.set("shared")).to.equal("EAGAIN");
    await until(() => !a.locks.holds({ ...FILE, owner: 1n }), { what: "the lost lock to be forgotten" });
  });
});
