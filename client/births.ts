import { type Clock, isLater, type Timer, type Timestamp } from "../common/clock.js";
import { CairnError, codeOf, messageOf } from "../common/errors.js";
import { MAX_DELEGATIONS, MAX_INODE_NUMBERS } from "../common/limits.js";
import type { Logger } from "../common/log.js";
import { SNAPSHOTS } from "../common/snapshots.js";
import { Namenode } from "../proto/gen/services.js";
import { type Birth, type CreateReply, Inode, type InodeReply } from "../proto/gen/types.js";
import type { AnyMethod, RequestOf } from "../proto/method.js";
import { inheritPolicy } from "../proto/policy.js";
import type { BirthWatcher, Name, NewInode } from "./contract.js";
import type { Session } from "./session.js";

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const PERMISSIONS = 0o7777;
/** When fewer numbers than this are left, more are asked for. */
const FEW_NUMBERS = MAX_INODE_NUMBERS / 2;
/** Files that the namenode does not know of yet, at most; further ones are made by it. */
const MAX_UNBORN = 1024;
/** A file that the namenode does not know of is brought after this long, ms, whether or not it has content by then. */
const DELIVER_MS = 500;
/** What a program that makes a file is told as it is; of all else it can make nothing at so late a time (EIO). */
const NO_ROOM = new Set(["ENOSPC", "EDQUOT"]);
/** Files brought at a time. */
const DELIVERIES = 16;

/** A file that this client has made by itself. */
interface Unborn {
  readonly ino: number;
  readonly birth: Birth;
  /** When it was made. */
  readonly time: Timestamp;
  /** The call under way that brings it; resolves when it is over, however. */
  delivery: Promise<void> | undefined;
}

/** Reads that concern what is unborn only if they name it. */
const READS: ReadonlySet<AnyMethod> = new Set<AnyMethod>([
  Namenode.lookup,
  Namenode.getInode,
  Namenode.readDirectory,
  Namenode.getExtents,
  Namenode.getXattr,
  Namenode.listXattrs,
]);
/** Calls that have to do with no name and no file. */
const UNRELATED: ReadonlySet<AnyMethod> = new Set<AnyMethod>([
  Namenode.allocateBlocks,
  Namenode.recoverBlock,
  Namenode.abandonBlocks,
  Namenode.reportBadReplica,
  Namenode.readInlineBlock,
  Namenode.getCapacity,
  Namenode.noteAccesses,
  Namenode.takeInodeNumbers,
  Namenode.returnDelegations,
]);

/**
 * Files that this client has made by itself, in directories that the namenode has delegated to it: a file is born, for everybody
 * else, with its first commit, which saves a round trip for each. Whatever else this client asks the namenode about such a file
 * or directory, and whatever else it changes, comes after the births.
 */
export class Births {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** Directories in which files may be made, the one delegated last at the end. */
  readonly #delegated = new Set<number>();
  readonly #unborn = new Map<number, Unborn>();
  /** Directory → its unborn files, in the order of making. */
  readonly #byDirectory = new Map<number, Set<Unborn>>();
  /** Inode → why it could not be born. Until whoever writes to it is told. */
  readonly #failed = new Map<number, unknown>();
  readonly #watchers: BirthWatcher[] = [];
  /** Directories that are being given back, by calls. */
  readonly #returns = new Set<readonly number[]>();
  /** Creates under way: of each, the directories that have been, or are being, given back since it was made. */
  readonly #asked = new Set<Set<number>>();
  #numbers = { next: 0, end: 0 };
  #asking = false;
  #timer: Timer | undefined;

  constructor(session: Session, clock: Clock, log: Logger) {
    this.#session = session;
    this.#clock = clock;
    this.#log = log;
    session.onOpened(() => {
      // A namenode that was started since has delegated nothing; one that was not will see them come back.
      const dirs = [...this.#delegated];
      this.#delegated.clear();
      if (dirs.length > 0) void this.#giveBack(dirs);
    });
  }

  /** Has one told what becomes of the files that are made here. */
  attach(watcher: BirthWatcher): void {
    this.#watchers.push(watcher);
  }

  /**
   * Makes a create that asks for delegations, and takes those that it is answered with: but for directories that are given back meanwhile.
   * Nobody knows which the namenode heard of first; one that it has delegated all the same is used from the next create there on.
   */
  async delegating(create: () => Promise<CreateReply>): Promise<CreateReply> {
    const returned = new Set([...this.#returns].flat());
    this.#asked.add(returned);
    try {
      const reply = await create();
      this.#granted(reply.delegated.filter((dir) => !returned.has(dir)));
      return reply;
    } finally {
      this.#asked.delete(returned);
    }
  }

  #granted(dirs: readonly number[]): void {
    if (dirs.length === 0) return;
    for (const dir of dirs) this.#delegated.add(dir);
    if (this.#delegated.size > MAX_DELEGATIONS / 2) {
      const oldest = [...this.#delegated].slice(0, MAX_DELEGATIONS / 4);
      for (const dir of oldest) this.#delegated.delete(dir);
      void this.#giveBack(oldest);
    }
    this.#stockUp();
  }

  /**
   * Makes a regular file under a name that does not exist, if that can be done here and now.
   * @param parent the directory, as it is known to be
   */
  bear(parent: Inode, name: Name, node: NewInode): Inode | undefined {
    const dir = parent.ino;
    if (!this.#delegated.has(dir) || this.#session.watch.trustMs() === 0) return undefined;
    if ((node.mode & S_IFMT) !== S_IFREG || node.policy !== undefined || this.#unborn.size >= MAX_UNBORN)
      return undefined;
    const { next, end } = this.#numbers;
    if (Buffer.from(name).toString("latin1") === SNAPSHOTS) return undefined; // for the namenode to refuse
    if (next === end) return undefined;
    this.#numbers.next++;
    this.#stockUp();
    const time = this.#clock.timestamp();
    const birth = { dir, name: Buffer.from(name), mode: node.mode & PERMISSIONS, uid: node.uid, gid: node.gid };
    const unborn: Unborn = { ino: next, birth, time, delivery: undefined };
    this.#unborn.set(next, unborn);
    const siblings = this.#byDirectory.get(dir) ?? new Set();
    this.#byDirectory.set(dir, siblings.add(unborn));
    this.#deliverSoon();
    // Filled in afterwards, so that all of them have one shape (docs/performance.md).
    const inode = { ...NEW_FILE };
    inode.ino = next;
    inode.mode = node.mode;
    inode.uid = node.uid;
    inode.gid = node.gid;
    inode.atime = inode.mtime = inode.ctime = time;
    inode.parent = dir;
    inode.policy = inheritPolicy(parent.policy, this.#session.policy);
    return inode;
  }

  /** Whether the namenode does not know of a file yet, as far as is known here. */
  has(ino: number): boolean {
    return this.#unborn.has(ino) || this.#failed.has(ino);
  }

  /** Has the namenode know of a file. Throws, once, why it could not be made. */
  async bring(ino: number): Promise<void> {
    const unborn = this.#unborn.get(ino);
    if (unborn !== undefined) await this.#deliver(unborn);
    this.#check(ino);
  }

  /**
   * Makes a commit of a file that may be unborn, and brings its birth along. When that fails, the birth comes by itself, later. Throws what
   * the commit throws, or, once, why the file could not be made.
   * @param commit takes the birth; undefined when the file is born
   */
  async along(ino: number, commit: (birth: Birth | undefined) => Promise<InodeReply>): Promise<InodeReply> {
    let unborn = this.#unborn.get(ino);
    while (unborn?.delivery !== undefined) {
      await unborn.delivery;
      unborn = this.#unborn.get(ino);
    }
    this.#check(ino);
    if (unborn === undefined) return commit(undefined);
    const born = unborn;
    const done = commit(born.birth);
    born.delivery = done.then(
      ({ inode, parent }) => this.#born(born, inode, parent),
      () => {
        born.delivery = undefined;
        this.#deliverSoon();
      },
    );
    await born.delivery;
    return done;
  }

  #check(ino: number): void {
    const failure = this.#failed.get(ino);
    if (failure === undefined) return;
    this.#failed.delete(ino);
    throw failure;
  }

  #deliverSoon(): void {
    this.#timer ??= this.#clock.after(DELIVER_MS, () => {
      this.#timer = undefined;
      void this.deliver();
    });
  }

  /** What must be brought before a call is made; undefined: nothing. */
  before<M extends AnyMethod>(method: M, request: RequestOf<M>): Promise<void> | undefined {
    if (this.#unborn.size === 0 || UNRELATED.has(method)) return undefined;
    const { dir, ino = 0, birth } = request as { dir?: number; ino?: number; birth?: unknown };
    if (method === Namenode.create && ino !== 0) return undefined;
    if (method === Namenode.commit) return birth === undefined && this.#unborn.has(ino) ? this.deliver() : undefined;
    if (READS.has(method) && !this.#concerns(dir ?? ino)) return undefined;
    return this.deliver();
  }

  /** Resolves when the namenode knows of every file made so far; what goes wrong is told to whoever writes to the file. */
  async deliver(dirs?: readonly number[]): Promise<void> {
    const chosen =
      dirs === undefined ? [...this.#unborn.values()] : dirs.flatMap((dir) => [...(this.#byDirectory.get(dir) ?? [])]);
    const queue = chosen.values();
    await Promise.all(
      Array.from({ length: Math.min(DELIVERIES, chosen.length) }, async () => {
        for (const unborn of queue) await this.#deliver(unborn);
      }),
    );
  }

  /** Others are about to use directories. */
  recall(dirs: readonly number[]): void {
    for (const dir of dirs) this.#delegated.delete(dir);
    void this.#giveBack(dirs);
  }

  /** A directory with the names that the namenode does not know of yet. */
  over(directory: Inode): Inode {
    const unborn = this.#byDirectory.get(directory.ino);
    if (unborn === undefined) return directory;
    let { mtime, ctime } = directory;
    for (const { time } of unborn) {
      if (isLater(time, mtime)) mtime = time;
      if (isLater(time, ctime)) ctime = time;
    }
    return { ...directory, size: directory.size + unborn.size, mtime, ctime };
  }

  /** Nothing is brought any more. After deliver(). */
  close(): void {
    this.#timer?.clear();
  }

  /** Whether a number is of an unborn file, or of a directory that has one. */
  #concerns(ino: number): boolean {
    return this.#unborn.has(ino) || this.#byDirectory.has(ino);
  }

  /** Resolves when a file is born, or is known not to be. A commit under way may fail, and bring it no further. */
  async #deliver(unborn: Unborn): Promise<void> {
    while (this.#unborn.has(unborn.ino)) {
      unborn.delivery ??= this.#create(unborn);
      await unborn.delivery;
    }
  }

  async #create(unborn: Unborn): Promise<void> {
    const { ino, birth } = unborn;
    try {
      const request = { ...birth, ino, mode: S_IFREG | birth.mode };
      const { inode, parent } = await this.#session.change(Namenode.create, request);
      this.#born(unborn, inode, parent);
    } catch (err) {
      this.#lost(unborn, err);
    }
  }

  #born(unborn: Unborn, inode: Inode, parent: Inode | null): void {
    this.#forget(unborn);
    for (const watcher of this.#watchers) watcher.born(inode, unborn.birth.dir, parent ?? undefined);
  }

  #lost(unborn: Unborn, err: unknown): void {
    const { ino, birth } = unborn;
    this.#forget(unborn);
    if (this.#failed.size >= MAX_UNBORN) this.#failed.delete(this.#failed.keys().next().value!);
    const code = NO_ROOM.has(codeOf(err)) ? codeOf(err) : "EIO";
    this.#failed.set(ino, new CairnError(code, `the file that was to be inode ${ino} could not be made`, err));
    this.#log.warn(
      { ino, dir: birth.dir, err: messageOf(err) },
      "a file that was made here could not be made at the namenode",
    );
    for (const watcher of this.#watchers) watcher.stillborn(ino, birth.dir, birth.name);
  }

  #forget(unborn: Unborn): void {
    const { dir } = unborn.birth;
    this.#unborn.delete(unborn.ino);
    const siblings = this.#byDirectory.get(dir);
    siblings?.delete(unborn);
    if (siblings?.size === 0) this.#byDirectory.delete(dir);
  }

  async #giveBack(dirs: readonly number[]): Promise<void> {
    for (const asked of this.#asked) for (const dir of dirs) asked.add(dir);
    this.#returns.add(dirs);
    try {
      await this.deliver(dirs);
      await this.#session.call(Namenode.returnDelegations, { session: this.#session.id, dirs: [...dirs] });
    } catch (err) {
      // It takes them itself, in a while.
      this.#log.debug({ err: messageOf(err) }, "giving back directories failed");
    } finally {
      this.#returns.delete(dirs);
    }
  }

  #stockUp(): void {
    const { next, end } = this.#numbers;
    if (this.#asking || end - next >= FEW_NUMBERS) return;
    this.#asking = true;
    const count = MAX_INODE_NUMBERS;
    this.#session
      .call(Namenode.takeInodeNumbers, { session: this.#session.id, count })
      .then(({ first }) => {
        // Those that are left, FEW_NUMBERS at most, are given up: there are plenty.
        this.#numbers = { next: first, end: first + count };
      })
      .catch((err: unknown) => this.#log.debug({ err: messageOf(err) }, "no numbers for new files"))
      .finally(() => {
        this.#asking = false;
      });
  }
}

/** What a new file has, its number and what it was made with aside. */
const NEW_FILE = Inode.decode(
  Inode.encode({
    ino: 1,
    nlink: 1,
    atime: { sec: 0, nsec: 0 },
    mtime: { sec: 0, nsec: 0 },
    ctime: { sec: 0, nsec: 0 },
    policy: { replicas: 1, blockSize: 1, compression: 0 },
  }).finish(),
);
