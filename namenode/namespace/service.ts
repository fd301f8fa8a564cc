import type { Clock } from "../../common/clock.js";
import { CairnError } from "../../common/errors.js";
import { MAX_ACCESSES, MAX_BLOCKS_PAGE, MAX_INODE_NUMBERS } from "../../common/limits.js";
import type { Handler } from "../../proto/dispatch.js";
import type { Namenode } from "../../proto/gen/services.js";
import type {
  CallId,
  CallRecord,
  CapacityReplyInit,
  CreateReplyInit,
  CreateRequest,
  GetCapacityRequest,
  Inode,
  InodeInit,
  InodeReplyInit,
  OpenSessionReplyInit,
  OpenSessionRequest,
  Policy,
  SyncJournalReplyInit,
  TakeInodeNumbersReplyInit,
  TakeInodeNumbersRequest,
  UnlinkReplyInit,
} from "../../proto/gen/types.js";

import type { Link } from "../../proto/link.js";
import type { BlockManager, Editor } from "../contract.js";
import type { LockCalls } from "../locks/calls.js";
import { MAX_PENDING, type Sessions } from "../sessions.js";
import type { Callbacks } from "../watches/callbacks.js";
import type { Delegations } from "../watches/delegations.js";
import { BlockCalls } from "./block-calls.js";
import { checkCall, checkLabel, id, inRange } from "./checks.js";
import { noteAccesses } from "./operations/accesses.js";
import { removeXattr, setAttributes, setXattr } from "./operations/attributes.js";
import { commit, getExtents, readInlineBlock } from "./operations/content.js";
import { type Context, known } from "./operations/context.js";
import { heldBy, release, resume } from "./operations/held.js";
import { link as addLink, create, unlink } from "./operations/names.js";
import { clone, fallocate } from "./operations/ranges.js";
import { getXattr, listXattrs, lookup, readDirectory, walk } from "./operations/reads.js";
import { rename } from "./operations/rename.js";
import { checkNewNumber } from "./operations/snapshots.js";

import { quotasAbove, quotasOn } from "./quotas.js";
import { readBlock, readCall, readCluster, readDentry, readInode } from "./records.js";

import { inodeAt, mayChange } from "./snapshots/places.js";
import { isDirectory } from "./types.js";

export interface ServiceOptions {
  editor: Editor;
  /** Undefined when an edit may be made now; else resolves when one may. */
  room: () => Promise<void> | undefined;
  clock: Clock;
  sessions: Sessions;
  /** Told of every session that is opened. */
  locks: Pick<LockCalls, "opened">;
  /** Told what clients are told. */
  callbacks: Callbacks;
  delegations: Delegations;
  manager: BlockManager;
  /** The cluster's default policy: what directories leave open. */
  policy: Policy;
  /** New inodes have numbers from here on at least; the next ones unless given. */
  inosFrom?: number;
  /** The last edit when this process began; that of now unless given. */
  beganIndex?: number;
  /** Blocks of at most so many bytes are to be committed inline; 0: none. */
  inlineBytes: number;
  /** How long the trash keeps what is removed, ms; 0: there is none. */
  trashMs: number;
  /** How long a session lasts without a sign of life, ms. */
  leaseMs: number;
  /** Of this software, for people. */
  version: string;
}

/** Inodes that a client may say it has open: two tables of handles. */
const MAX_OPEN = 131_072;

/** The service that clients call: checks who calls and how often, and leaves the rest to operations/. */
export class NamespaceService {
  readonly #editor: Editor;
  readonly #options: ServiceOptions;
  readonly #context: Context;
  readonly #blocks: BlockCalls;
  readonly #cluster: string;
  /** Edits up to here are known to be in the journal. */
  #appended: number;
  readonly #beganIndex: number;

  /** @param options the editor has replayed its journal, and the store is formatted */
  constructor(options: ServiceOptions) {
    const { editor, room, clock, sessions, callbacks, manager, policy } = options;
    this.#editor = editor;
    this.#options = options;
    this.#context = {
      kv: editor.kv,
      editor,
      clock,
      mayHaveOpen: (ino, except) => callbacks.mayHaveOpen(ino, except),
      inosFrom: options.inosFrom ?? 0,
      defaults: policy,
    };
    this.#blocks = new BlockCalls(editor, room, sessions, manager);
    this.#cluster = readCluster(editor.kv).cluster;
    this.#appended = editor.lastIndex;
    this.#beganIndex = options.beganIndex ?? editor.lastIndex;
  }

  /** For Dispatcher.serve(Namenode, …). */
  handlers(): { [K in keyof typeof Namenode]: Handler<(typeof Namenode)[K]> } {
    const { kv } = this.#editor;
    const { manager, sessions, callbacks, delegations } = this.#options;
    const ctx = this.#context;
    const blocks = this.#blocks;
    const again = ({ ino, index }: CallRecord): InodeReplyInit & { inode: Inode } => ({ inode: known(kv, ino), index });
    return {
      openSession: (request, context) => this.#open(request, context.link),
      keepAlive: ({ session }) => {
        sessions.renew(session);
        return { syncedIndex: this.#editor.syncedIndex };
      },
      closeSession: ({ session }) => {
        sessions.end(session);
        return {};
      },

      lookup: ({ dir, name }, { link }) =>
        this.#undelegated(link, [dir], () => {
          // Also that there is no such name is something to be told of when it changes.
          if (mayChange(dir)) callbacks.told(link, dir);
          return this.#settled(this.#told(link, { inode: lookup(kv, dir, name) }));
        }),
      walk: ({ dir, names }, { link }) =>
        this.#undelegated(link, this.#onTheWay(dir, names), () => this.#settled({ inodes: walk(kv, dir, names) })),
      getInode: ({ ino }, { link }) => this.#settled(this.#told(link, { inode: inodeAt(kv, ino) })),
      readDirectory: ({ dir, after, limit }, { link }) =>
        this.#undelegated(link, [dir], () => {
          const page = readDirectory(kv, dir, after, limit);
          if (mayChange(dir)) callbacks.told(link, dir);
          const { entries = [] } = page;
          if (!callbacks.hasRoom(link, entries.length)) return this.#settled({ ...page, unwatched: true });
          for (const entry of entries) this.#told(link, entry);
          return this.#settled(page);
        }),
      getXattr: ({ ino, name }) => this.#settled({ value: getXattr(kv, ino, name) }),
      listXattrs: ({ ino }) => this.#settled({ names: listXattrs(kv, ino) }),
      readInlineBlock: ({ block }) => this.#settled(readInlineBlock(kv, block)),
      getExtents: (request, { link }) => this.#settled(this.#told(link, getExtents(kv, request, manager))),

      create: (request, { link }) =>
        this.#undelegated(link, [request.dir], () =>
          this.#once<CreateReplyInit>(
            request.call,
            (record) => this.#told(link, { ...again(record), existed: false }, request.dir),
            () => this.#delegate(link, request, this.#told(link, create(ctx, request), request.dir)),
          ),
        ),
      setAttributes: (request, { link }) =>
        this.#undelegated(link, request.policy === null ? [] : [request.ino], () =>
          this.#once(request.call, again, () => this.#told(link, setAttributes(ctx, request))),
        ),
      link: (request, { link }) =>
        this.#undelegated(link, [request.dir], () =>
          this.#once(request.call, again, () => this.#told(link, addLink(ctx, request), request.dir)),
        ),
      unlink: (request, { link }) =>
        this.#undelegated(link, this.#withTarget(request.dir, request.name, request.directory), () =>
          this.#once<UnlinkReplyInit>(
            request.call,
            ({ ino }) => ({ held: heldBy(kv, request.call.session, ino) }),
            () => {
              const reply = unlink(ctx, request);
              callbacks.told(link, request.dir);
              return reply;
            },
          ),
        ),
      rename: (request, { link }) =>
        this.#undelegated(link, [request.fromDir, ...this.#withTarget(request.toDir, request.toName, true)], () =>
          this.#once(
            request.call,
            ({ ino, index, replaced }) => ({ moved: known(kv, ino), replaced: readInode(kv, replaced) ?? null, index }),
            () => {
              const reply = rename(ctx, request);
              callbacks.told(link, request.fromDir);
              this.#told(link, { inode: reply.moved }, request.toDir);
              return reply;
            },
          ),
        ),
      release: ({ session, inos }) => {
        inRange(inos.length, 0, MAX_BLOCKS_PAGE, "inodes to release");
        return this.#repeatable(session, () => release(ctx, { session, inos }));
      },
      noteAccesses: (request) => {
        inRange(request.accesses.length, 0, MAX_ACCESSES, "inodes that were read");
        return this.#repeatable(request.session, () => noteAccesses(ctx, request));
      },
      setXattr: (request) => this.#once(request.call, again, () => setXattr(ctx, request)),
      removeXattr: (request) => this.#once(request.call, again, () => removeXattr(ctx, request)),
      takeInodeNumbers: (request) => this.#takeNumbers(request),
      returnDelegations: ({ session, dirs }) => {
        inRange(dirs.length, 0, MAX_BLOCKS_PAGE, "directories given back");
        sessions.renew(session);
        delegations.returned(session, dirs);
        return {};
      },
      commit: (request, { link }) =>
        this.#undelegated(link, request.birth === null ? [] : [request.birth.dir], () =>
          this.#once(request.call, again, () => {
            const done = commit(ctx, request, (session, block) => sessions.generation(session, block));
            sessions.release(
              request.call.session,
              request.blocks.map(({ block }) => block.id),
            );
            return this.#told(link, done, request.birth?.dir);
          }),
        ),

      fallocate: (request) => this.#once(request.call, again, () => fallocate(ctx, request, manager)),
      clone: (request) =>
        this.#once(
          request.call,
          (record) => ({ ...again(record), copied: record.copied }),
          () => clone(ctx, request),
        ),

      allocateBlocks: (request) => blocks.allocate(request),
      recoverBlock: (request) => blocks.recover(request),
      abandonBlocks: (request) => blocks.abandon(request),
      reportBadReplica: (request) => blocks.reportBad(request),
      syncJournal: ({ index }) => this.#sync(index),
      getCapacity: (request) => this.#capacity(request),
    };
  }

  /** Makes a change once per CallId: a repeated call is answered from the record of the first, wherever its reply was lost. */
  async #once<R>(call: CallId, repeat: (record: CallRecord) => R, act: () => R): Promise<R> {
    checkCall(call);
    const full = this.#options.room();
    if (full !== undefined) await full;
    this.#options.sessions.renew(call.session);
    const record = readCall(this.#editor.kv, call.session, call.sequence);
    return this.#settled(record === undefined ? act() : repeat(record));
  }

  /** Notes that a client is told of an inode, and of names in a directory. */
  #told<R extends { inode: InodeInit }>(link: Link, reply: R, dir?: number): R {
    const { callbacks, delegations } = this.#options;
    const { ino = 0 } = reply.inode;
    if (!mayChange(ino)) return reply;
    if (dir === undefined) callbacks.told(link, ino);
    else callbacks.told(link, dir, ino);
    // What another makes in a directory without having said so yet is to be seen in its times soon.
    if (delegations.size > 0) void delegations.recall(ino, callbacks.sessionOf(link));
    return reply;
  }

  /** Acts once no other client makes names in these directories by itself. */
  #undelegated<R>(link: Link, dirs: readonly number[], act: () => R): R | Promise<Awaited<R>> {
    const { callbacks, delegations } = this.#options;
    if (delegations.size === 0) return act();
    const session = callbacks.sessionOf(link);
    const recalls = dirs.map((dir) => delegations.recall(dir, session)).filter((recall) => recall !== undefined);
    return recalls.length === 0 ? act() : (Promise.all(recalls).then(act) as Promise<Awaited<R>>);
  }

  /** Delegates the directory in which something was made, and the one that was made, if the client wants it and nobody else looks. */
  #delegate(link: Link, { dir, delegate }: CreateRequest, reply: CreateReplyInit): CreateReplyInit {
    const { callbacks, delegations } = this.#options;
    const session = callbacks.sessionOf(link);
    if (!delegate || session === undefined || quotasAbove(this.#editor.kv, dir).length > 0) return reply;
    const made = isDirectory({ mode: reply.inode.mode ?? 0 }) ? [reply.inode.ino ?? 0] : [];
    const delegated = [dir, ...made].filter(
      (at) => !callbacks.isWatchedByOthers(at, session) && delegations.grant(at, session),
    );
    return { ...reply, delegated };
  }

  /** A directory, and the one that a name in it stands for. */
  #withTarget(dir: number, name: Uint8Array, directory: boolean): number[] {
    if (!directory || this.#options.delegations.size === 0) return [dir];
    const target = readDentry(this.#editor.kv, dir, name);
    return target === undefined ? [dir] : [dir, target.ino];
  }

  /** The directories in which the names of a path are looked for. */
  #onTheWay(dir: number, names: readonly Uint8Array[]): number[] {
    if (this.#options.delegations.size === 0) return [];
    const dirs = [dir];
    for (const name of names) {
      const next = readDentry(this.#editor.kv, dirs.at(-1)!, name);
      if (next === undefined) break;
      dirs.push(next.ino);
    }
    return dirs;
  }

  /** Given out when the edit is on the disk, so that not even a loss of power makes a number come twice. */
  async #takeNumbers({ session, count }: TakeInodeNumbersRequest): Promise<TakeInodeNumbersReplyInit> {
    inRange(count, 1, MAX_INODE_NUMBERS, "inode numbers to take");
    const full = this.#options.room();
    if (full !== undefined) await full;
    this.#options.sessions.renew(session);
    const first = Math.max(readCluster(this.#editor.kv).nextIno, this.#context.inosFrom);
    checkNewNumber(first + count - 1);
    const { index } = this.#editor.apply({ reserveInodes: { next: first + count } });
    await this.#editor.synced(index);
    return { first };
  }

  /** Holds an answer back until the edits it may show are safe from the death of this process. */
  #settled<R>(reply: R): R | Promise<R> {
    const { lastIndex } = this.#editor;
    if (lastIndex <= this.#appended) return reply;
    return this.#editor.appended(lastIndex).then(() => {
      if (lastIndex > this.#appended) this.#appended = lastIndex;
      return reply;
    });
  }

  /** Makes a change that may be done twice, so that it needs no record. */
  async #repeatable<R>(session: number, act: () => R): Promise<R> {
    const full = this.#options.room();
    if (full !== undefined) await full;
    this.#options.sessions.renew(session);
    return this.#settled(act());
  }

  #open(request: OpenSessionRequest, connection: Link): OpenSessionReplyInit {
    const { kv } = this.#editor;
    const { session, name, host, pending } = request;
    id(session, "session");
    checkLabel(name, "session name");
    checkLabel(host, "host");
    inRange(pending.length, 0, MAX_PENDING, "pending blocks");
    const { nextBlock } = readCluster(kv);
    for (const block of pending) inRange(block.id, 1, nextBlock - 1, "pending block");
    const { sessions, callbacks, locks, leaseMs, policy, inlineBytes, trashMs, version } = this.#options;
    const begun = sessions.open(session, name, connection, pending, (block) => readBlock(kv, block) !== undefined);
    if (request.watch) {
      inRange(request.open.length, 0, MAX_OPEN, "open inodes");
      callbacks.open(session, connection, resume(this.#context, session, request.open));
    } else callbacks.ended(session);
    const { syncedIndex } = this.#editor;
    const opened = { cluster: this.#cluster, leaseMs, policy, syncedIndex, version, inlineBytes, trashMs, begun };
    return { ...opened, beganIndex: this.#beganIndex, ...locks.opened(request) };
  }

  async #sync(index: number): Promise<SyncJournalReplyInit> {
    const { lastIndex } = this.#editor;
    if (index > lastIndex) throw new CairnError("EIO", `edit ${index} is lost: the journal ends at ${lastIndex}`);
    const { lostAfter, lostUntil } = readCluster(this.#editor.kv);
    if (index > lostAfter && index < lostUntil)
      throw new CairnError("EIO", `edit ${index} is lost: the namenode was restored from a backup without it`);
    await this.#editor.synced(index === 0 ? lastIndex : index);
    return { syncedIndex: this.#editor.syncedIndex };
  }

  #capacity({ ino }: GetCapacityRequest): CapacityReplyInit {
    inRange(ino, 0, Number.MAX_SAFE_INTEGER, "inode");
    const { files, directories } = readCluster(this.#editor.kv);
    const { manager, policy } = this.#options;
    const quotas = quotasOn(this.#editor.kv, ino);
    return { ...manager.capacity(), inodes: files + directories, replicas: policy.replicas, quotas };
  }
}
