import { ROOT_INO } from "../../../common/limits.js";
import { silentLogger } from "../../../common/log.js";
import type { BlockManager, Effects } from "../../../namenode/contract.js";
import { JournaledEditor } from "../../../namenode/editor.js";
import { LockCalls } from "../../../namenode/locks/calls.js";
import { CLUSTER } from "../../../namenode/namespace/keys.js";
import { Reclaimer } from "../../../namenode/namespace/reclaimer.js";
import { NamespaceService } from "../../../namenode/namespace/service.js";
import { S_IFDIR, S_IFREG } from "../../../namenode/namespace/types.js";
import { Sessions } from "../../../namenode/sessions.js";
import type { Journal } from "../../../namenode/store/journal.js";
import type { Key, KeyValue } from "../../../namenode/store/kv.js";
import { MemoryStore } from "../../../namenode/store/memory.js";
import { MemoryJournal } from "../../../namenode/store/memory-journal.js";
import type { Store } from "../../../namenode/store/store.js";
import { Callbacks } from "../../../namenode/watches/callbacks.js";
import { Delegations } from "../../../namenode/watches/delegations.js";
import type { CallContext } from "../../../proto/dispatch.js";
import { Locks, Namenode } from "../../../proto/gen/services.js";
import type { CallIdInit, ExtentInit, Inode } from "../../../proto/gen/types.js";
import type { Link } from "../../../proto/link.js";
import type { ReplyOf, RequestOf } from "../../../proto/method.js";
import { ManualClock } from "../store/manual-clock.js";

type Service = typeof Namenode;
/** A request as a test writes it: the call's id is added where the method wants one. */
type Asked<K extends keyof Service> = Omit<RequestOf<Service[K]>, "call"> & { call?: CallIdInit };

export const SESSION = 77;
export const LEASE_MS = 60_000;
export const POLICY = { replicas: 3, blockSize: 64 << 20, compression: 0 } as const;
export const name = (text: string): Buffer => Buffer.from(text);

/** A connection that goes nowhere; remembers why it was closed. */
export function fakeLink(): { link: Link; closed: string[]; pushed: unknown[]; drop: () => void } {
  const closed: string[] = [];
  const pushed: unknown[] = [];
  let drop = (): void => {};
  const link = {
    isOpen: true,
    bufferedBytes: 0,
    closed: new Promise<void>((resolve) => {
      drop = resolve;
    }),
    close: (reason: string) => closed.push(reason),
    push: (_method: unknown, message: unknown) => pushed.push(message),
  };
  return { link: link as unknown as Link, closed, pushed, drop };
}

/** The part of blocks/ that names need: one datanode that has everything. */
export const fakeManager: BlockManager = {
  place: ({ replicas }) => Array.from({ length: replicas }, (_, i) => ({ id: i + 1, host: "h", port: 1, rack: "/r" })),
  locate: (block) => ({ block, replicas: [{ id: 1, host: "h", port: 1, rack: "/r" }] }),
  reportBad: () => {},
  capacity: () => ({ capacity: 300, used: 100, available: 200 }),
  replicas: () => ({ live: [1], corrupt: [], leaving: [], resting: [], absent: [] }),
};

let incarnations = 0;

/** The names of a namenode, without its network, over a store and a journal that may have a past. */
export class World {
  readonly clock = new ManualClock();
  readonly store: Store;
  readonly journal: Journal;
  readonly editor: JournaledEditor;
  readonly sessions: Sessions;
  readonly locks: LockCalls;
  readonly callbacks = new Callbacks(silentLogger, (session) => this.sessions.has(session));
  readonly delegations: Delegations;
  readonly effects: Effects[] = [];
  readonly link = fakeLink();
  #handlers!: ReturnType<NamespaceService["handlers"]>;
  #sequence = 0;

  private constructor(store: Store, journal: Journal) {
    this.store = store;
    this.journal = journal;
    this.editor = new JournaledEditor({ store, journal, clock: this.clock });
    this.sessions = new Sessions({ editor: this.editor, clock: this.clock, log: silentLogger, leaseMs: LEASE_MS });
    const tools = { editor: this.editor, sessions: this.sessions, log: silentLogger };
    this.locks = new LockCalls({ ...tools, room: () => undefined, incarnation: ++incarnations });
    this.sessions.onEnd((session) => this.callbacks.ended(session));
    this.delegations = new Delegations({
      clock: this.clock,
      log: silentLogger,
      link: (session) => this.sessions.link(session),
    });
    this.sessions.onEnd((session) => this.delegations.ended(session));
    this.editor.onApplied((edit, effects) => {
      this.effects.push(effects);
      this.callbacks.applied(edit, effects);
    });
  }

  /** Replays what the journal has, formats an empty store, and opens session SESSION. */
  static async open(past: { store?: Store; journal?: Journal } = {}): Promise<World> {
    const world = new World(past.store ?? new MemoryStore(), past.journal ?? new MemoryJournal({ syncIntervalMs: 0 }));
    const { editor, clock, sessions } = world;
    const reclaimer = new Reclaimer(editor, clock, silentLogger);
    await editor.replay();
    if (editor.kv.get(CLUSTER) === undefined) {
      const time = clock.timestamp();
      const root = { ino: ROOT_INO, mode: S_IFDIR | 0o755, nlink: 2, parent: ROOT_INO, policy: {} };
      editor.apply({ format: { cluster: "c", root: { ...root, atime: time, mtime: time, ctime: time } } });
    }
    sessions.start();
    for (const session of sessions.ids()) world.callbacks.expect(session);
    world.locks.start();
    reclaimer.start();
    const service = new NamespaceService({
      editor,
      room: () => editor.room(),
      clock,
      sessions,
      locks: world.locks,
      callbacks: world.callbacks,
      delegations: world.delegations,
      manager: fakeManager,
      policy: POLICY,
      inlineBytes: 16,
      trashMs: 0,
      leaseMs: LEASE_MS,
      version: "test",
    });
    world.#handlers = service.handlers();
    await world.call("openSession", { session: SESSION, name: "test", host: "h" });
    return world;
  }

  get kv(): KeyValue {
    return this.editor.kv;
  }

  /** The id of the next call. */
  nextCall(): CallIdInit {
    this.#sequence += 1;
    return { session: SESSION, sequence: this.#sequence, doneBelow: this.#sequence };
  }

  /** Makes a call as if over the wire: request and reply are encoded and decoded. */
  async call<K extends keyof Service>(
    key: K,
    request: Asked<K>,
    link: Link = this.link.link,
  ): Promise<ReplyOf<Service[K]>> {
    const method = Namenode[key];
    const init = { call: this.nextCall(), ...request };
    const received = method.request.decode(method.request.encode(init as never).finish());
    const handler = this.#handlers[key] as (request: unknown, context: CallContext) => unknown;
    const reply = await handler(received, { link } as CallContext);
    return method.reply.decode(method.reply.encode(reply as never).finish()) as ReplyOf<Service[K]>;
  }

  /** As call(), of the service for locks. */
  async lockCall<K extends keyof typeof Locks>(
    key: K,
    request: RequestOf<(typeof Locks)[K]>,
    signal = new AbortController().signal,
  ): Promise<ReplyOf<(typeof Locks)[K]>> {
    const method = Locks[key];
    const received = method.request.decode(method.request.encode(request as never).finish());
    const handler = this.locks.handlers()[key] as (request: unknown, context: CallContext) => unknown;
    const reply = await handler(received, { signal } as CallContext);
    return method.reply.decode(method.reply.encode(reply as never).finish()) as ReplyOf<(typeof Locks)[K]>;
  }

  /** The errno name that a call fails with; "ok" when it does not. */
  async code<K extends keyof Service>(key: K, request: Asked<K>): Promise<string> {
    try {
      await this.call(key, request);
      return "ok";
    } catch (err) {
      const { code } = err as { code?: string };
      if (code === undefined) throw err;
      return code;
    }
  }

  async mkdir(dir: number, text: string): Promise<Inode> {
    return (await this.call("create", { dir, name: name(text), mode: S_IFDIR | 0o755 })).inode;
  }

  async mkfile(dir: number, text: string): Promise<Inode> {
    return (await this.call("create", { dir, name: name(text), mode: S_IFREG | 0o644 })).inode;
  }

  async inode(ino: number): Promise<Inode> {
    return (await this.call("getInode", { ino })).inode;
  }

  /** Allocates a block and commits it with extents over it. @returns the block's id */
  async write(
    ino: number,
    length: number,
    extents: Omit<ExtentInit, "block">[] = [{ offset: 0, length, blockOffset: 0 }],
  ): Promise<number> {
    const id = await this.allocate();
    await this.call("commit", {
      ino,
      replicas: 3,
      blocks: [{ block: { id, generation: 1, length }, datanodes: [1] }],
      extents: extents.map((e) => ({ ...e, block: id })),
    });
    return id;
  }

  /** A new pending block. */
  async allocate(): Promise<number> {
    const request = { session: SESSION, count: 1, replicas: 3, blockSize: 1 << 20, host: "h" };
    return (await this.call("allocateBlocks", request)).blocks[0]!.block.id;
  }

  /** A file's extents, each as [offset, length, block, offset in block]. */
  async extents(ino: number, offset = 0, length = 2 ** 40): Promise<number[][]> {
    const { extents } = await this.call("getExtents", { ino, offset, length });
    return extents.map((e) => [e.offset, e.length, e.block, e.blockOffset]);
  }

  /** Ids of all blocks that were freed so far, in order. */
  freed(): number[] {
    return this.effects.flatMap((e) => e.freed ?? []).map((b) => b.id);
  }
}

/** Everything in a store. */
export function dump(kv: KeyValue): [Key, string][] {
  return Array.from(kv.range({ gte: "", lt: "\xff" }), ([key, value]) => [key, Buffer.from(value).toString("hex")]);
}
