import { randomUUID } from "node:crypto";
import { type Clock, RealClock } from "../common/clock.js";
import { InvariantError } from "../common/errors.js";
import { ROOT_INO } from "../common/limits.js";
import type { Logger } from "../common/log.js";
import { readSecret } from "../common/secret.js";
import { VERSION } from "../common/version.js";
import { LinkAuth } from "../proto/auth.js";
import { Dispatcher } from "../proto/dispatch.js";
import { Locks, Namenode as NamenodeService, WatchPush } from "../proto/gen/services.js";
import { type Network, webSockets } from "../proto/network.js";
import type { LinkServer } from "../proto/server.js";
import { Blocks } from "./blocks/blocks.js";
import { Backups } from "./care/backups.js";
import { Quotas } from "./care/quotas.js";
import { recount } from "./care/recount.js";
import { Snapshots } from "./care/snapshots.js";
import { TrashExpiry } from "./care/trash.js";
import type { BlockUse } from "./contract.js";
import { JournaledEditor } from "./editor.js";
import { createHttp } from "./http/http.js";
import { LockCalls } from "./locks/calls.js";
import { CLUSTER } from "./namespace/keys.js";
import { Reclaimer } from "./namespace/reclaimer.js";
import { readBlock, readCluster } from "./namespace/records.js";
import { NamespaceService } from "./namespace/service.js";
import { SyncedPush } from "./namespace/synced-push.js";
import { S_IFDIR } from "./namespace/types.js";
import { Sessions } from "./sessions.js";
import { defaultPolicy, type NamenodeSettings } from "./settings.js";
import type { KeyValue } from "./store/kv.js";
import { openStorage, type Storage, type StorageOptions } from "./store/storage.js";
import { Callbacks } from "./watches/callbacks.js";
import { Delegations } from "./watches/delegations.js";

/** Numbers that tell one process of a namenode from the next are at most this. */
const MAX_INCARNATION = 2 ** 52;
/**
 * Numbers of inodes that every start passes over: more than may have been made by edits that the journal has lost with the power. Mounts that
 * live on may still write to those.
 */
const SKIPPED_INOS = 2 ** 17;
/** Permission bits of a new cluster's root directory. */
const ROOT_MODE = 0o755;

export interface NamenodeOptions {
  settings: NamenodeSettings;
  log: Logger;
  clock?: Clock;
  /** Makes the id of a new cluster. */
  uuid?: () => string;
  network?: Network;
  /** Opens the data folder; openStorage() unless set. */
  storage?: (options: StorageOptions) => Promise<Storage>;
  /** 0 <= random() < 1 */
  random?: () => number;
}

/** A namenode: everything from the data folder to the port. */
export class Namenode {
  readonly #options: Required<NamenodeOptions>;
  /** What close() does, last first. */
  readonly #closers: (() => unknown)[] = [];
  #server: LinkServer | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: NamenodeOptions) {
    this.#options = {
      clock: new RealClock(),
      uuid: randomUUID,
      network: webSockets,
      storage: openStorage,
      random: Math.random,
      ...options,
    };
  }

  /** The port it listens on; undefined before the start. */
  get port(): number | undefined {
    return this.#server?.port;
  }

  /**
   * Opens the data folder (an empty one becomes a new cluster), brings the store up to the journal, and serves. Rejects,
   * with everything closed again, when the folder is in use (EBUSY), the port is taken (EADDRINUSE), a setting is wrong (EINVAL).
   */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (err) {
      // After a broken invariant nothing more may reach the disk.
      if (!(err instanceof InvariantError)) await this.close();
      throw err;
    }
  }

  /** Stops serving, then brings everything to the disk and closes it. Once, however often it is called. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #start(): Promise<void> {
    const { settings, log, clock, network, random } = this.#options;
    const began = clock.monotonic();
    const secret = readSecret(settings.secretFile);
    const storage = await this.#options.storage({
      folder: settings.dataDir,
      clock,
      log,
      syncIntervalMs: settings.journalSync === "always" ? 0 : settings.journalSync,
    });
    this.#closers.push(() => storage.close());
    const editor = new JournaledEditor({ ...storage, clock, syncReplies: settings.journalSync === "always" });
    this.#closers.push(() => editor.close());
    const sessions = new Sessions({ editor, clock, log, leaseMs: settings.leaseMs });
    const incarnation = 1 + Math.floor(this.#options.random() * MAX_INCARNATION);
    const locks = new LockCalls({ editor, room: () => editor.room(), sessions, log, incarnation });
    const about = { version: VERSION, startedMs: clock.now() };
    const backups = new Backups({ store: storage.store, clock, log, version: VERSION });
    this.#closers.push(() => backups.close());
    const counting = { store: storage.store, editor, clock, log };
    const quotas = new Quotas({ ...counting, room: () => editor.room() });
    this.#closers.push(() => quotas.close());
    const delegations = new Delegations({ clock, log, link: (session) => sessions.link(session) });
    sessions.onEnd((session) => delegations.ended(session));
    this.#closers.push(() => delegations.close());
    const snapshots = new Snapshots({ kv: editor.kv, editor, clock, room: () => editor.room(), delegations });
    const blocks = new Blocks({
      care: {
        backup: (request, { link }) => backups.backup(request, link),
        recount: async () => {
          await quotas.recount();
          return recount(counting);
        },
        setQuota: (request) => quotas.set(request),
        getQuotas: (request) => quotas.get(request),
        createSnapshot: (request) => snapshots.create(request),
        deleteSnapshot: (request) => snapshots.delete(request),
        listSnapshots: (request) => snapshots.list(request),
      },
      kv: editor.kv,
      editor,
      room: () => editor.room(),
      use: blockUse(editor.kv, sessions),
      settings,
      clock,
      log,
      random,
      about: () => ({ ...about, sessions: sessions.size }),
    });
    const reclaimer = new Reclaimer(editor, clock, log);
    const push = new SyncedPush(clock, () => sessions.links());
    editor.onSynced((index) => push.synced(index));
    const callbacks = new Callbacks(log, (session) => sessions.has(session));
    sessions.onEnd((session) => callbacks.ended(session));
    editor.onApplied((edit, effects) => callbacks.applied(edit, effects));
    this.#closers.push(() => callbacks.close());

    const replayed = await editor.replay();
    const isNew = editor.kv.get(CLUSTER) === undefined;
    if (isNew) await this.#format(editor);
    const { cluster, nextIno } = readCluster(editor.kv);
    const origin = { beganIndex: editor.lastIndex, inosFrom: isNew ? 0 : nextIno + SKIPPED_INOS };

    sessions.start();
    for (const session of sessions.ids()) callbacks.expect(session);
    locks.start();
    this.#closers.push(() => sessions.close());
    reclaimer.start();
    this.#closers.push(() => reclaimer.close());
    this.#closers.push(() => push.close());
    blocks.start();
    this.#closers.push(() => blocks.close());

    const trash = new TrashExpiry({
      editor,
      room: () => editor.room(),
      clock,
      log,
      trashMs: settings.trashMs,
      mayHaveOpen: (ino, except) => callbacks.mayHaveOpen(ino, except),
    });
    trash.start();
    quotas.start();
    this.#closers.push(() => trash.close());

    const service = new NamespaceService({
      editor,
      room: () => editor.room(),
      clock,
      sessions,
      locks,
      callbacks,
      delegations,
      manager: blocks,
      policy: defaultPolicy(settings),
      ...origin,
      inlineBytes: settings.inlineBytes,
      trashMs: settings.trashMs,
      leaseMs: settings.leaseMs,
      version: VERSION,
    });
    const dispatcher = new Dispatcher()
      .serve(NamenodeService, service.handlers())
      .serve(Locks, locks.handlers())
      .take(WatchPush, { forget: ({ inos }, { link }) => callbacks.forget(link, inos) });
    blocks.register(dispatcher);
    const server = await network.listen({
      host: settings.host,
      port: settings.port,
      dispatcher,
      auth: new LinkAuth(secret),
      secret,
      log,
      clock,
      onHttp: createHttp({ status: () => blocks.status(), log, clock }),
    });
    this.#server = server;
    this.#closers.push(() => server.close("the namenode is shutting down"));
    const ms = Math.round(clock.monotonic() - began);
    log.info({ host: server.host, port: server.port, cluster, index: editor.lastIndex, replayed, ms }, "serving");
  }

  /** Makes an empty store a cluster. Its id must not be lost once a datanode has heard it: waits for the disk. */
  async #format(editor: JournaledEditor): Promise<void> {
    const { clock, log, uuid } = this.#options;
    const time = clock.timestamp();
    const cluster = uuid();
    const { index } = editor.apply({
      time,
      format: {
        cluster,
        root: {
          ino: ROOT_INO,
          mode: S_IFDIR | ROOT_MODE,
          uid: process.getuid?.() ?? 0,
          gid: process.getgid?.() ?? 0,
          nlink: 2,
          atime: time,
          mtime: time,
          ctime: time,
          parent: ROOT_INO,
          policy: {},
        },
      },
    });
    await editor.synced(index);
    log.info({ cluster }, "made a new cluster");
  }

  async #close(): Promise<void> {
    for (const closer of this.#closers.reverse()) await closer();
  }
}

/** Names in the eyes of blocks/. */
function blockUse(kv: KeyValue, sessions: Sessions): BlockUse {
  return {
    committed: (id) => {
      const record = readBlock(kv, id);
      return record && { generation: record.generation, length: record.length, wanted: record.replicas };
    },
    isPending: (id) => sessions.isPending(id),
  };
}
