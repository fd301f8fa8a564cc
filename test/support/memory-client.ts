import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import type {
  Allocation,
  AttributeChange,
  CairnClient,
  Capacity,
  Changes,
  ChangeWatcher,
  Copied,
  Created,
  DirectoryPage,
  FileContent,
  InodeAccess,
  Metadata,
  Name,
  NewInode,
  Removed,
  Renamed,
  RenameFlags,
  Watch,
} from "../../client/contract.js";
import { type Clock, isSameTime, RealClock, type Timestamp } from "../../common/clock.js";
import { CairnError } from "../../common/errors.js";
import { GIB, MAX_BLOCK_SIZE, MAX_FILE_SIZE, MAX_NAME, MIB, ROOT_INO } from "../../common/limits.js";
import { Inode, type InodeInit, type Policy } from "../../proto/gen/types.js";
import { MemoryLocks } from "./memory-locks.js";

const { S_IFMT, S_IFDIR, S_IFREG, S_IFLNK } = constants;
const PIECE = MIB;
const MAX_SYMLINKS = 40;

interface Node {
  /** As committed. */
  inode: Inode;
  /** Children by name (Latin-1), of directories. */
  children: Map<string, number>;
  xattrs: Map<string, Buffer>;
  content: MemoryContent | undefined;
}

/** What one may make the fake do. */
export interface MemoryClientOptions {
  clock?: Clock;
  capacity?: Capacity;
  /** Awaited before every call, and every "read" of content: to delay it, or to have it fail by throwing. */
  before?: (call: string) => Promise<void> | void;
}

/** What a client hears of others, in the test's hands. */
export class MemoryWatch implements Watch {
  epoch = 1;
  /** For how long answers may be believed, ms. */
  trusted = 3_600_000;
  /** Inodes that are not cached any more, in the order in which that was said. */
  readonly forgotten: number[] = [];
  readonly #watchers: ChangeWatcher[] = [];

  trustMs(): number {
    return this.trusted;
  }

  attach(watcher: ChangeWatcher): void {
    this.#watchers.push(watcher);
  }

  forget(inos: readonly number[]): void {
    this.forgotten.push(...inos);
  }

  /** Others have changed something. */
  tell(changes: Partial<Changes>): void {
    const none = { attributes: [], contents: [], names: [], nameless: [], forgotten: [], accessed: [] };
    for (const watcher of this.#watchers) watcher.changed({ ...none, ...changes });
  }

  /** The connection is a new one. */
  reconnect(): void {
    this.epoch++;
    for (const watcher of this.#watchers) watcher.missed();
  }

  /** What is open, as a namenode would be told. */
  open(): number[] {
    return this.#watchers.flatMap((watcher) => watcher.openInodes());
  }
}

/** A cluster in memory behind the client's contract: for tests of what is built on it. */
export class MemoryClient implements CairnClient {
  readonly cluster = randomUUID();
  trashMs = 0;
  readonly policy: Policy = { replicas: 3, blockSize: MAX_BLOCK_SIZE, compression: 0 };
  readonly meta: Metadata;
  readonly watch = new MemoryWatch();
  readonly locks = new MemoryLocks();
  /** Calls of metadata so far, by name. */
  readonly calls: Record<string, number> = {};
  closed = false;
  /** The files that were asked for ahead, call by call. */
  readonly ahead: number[][] = [];
  /** Bytes of the largest read and write of a file's content so far. */
  readonly largest = { read: 0, write: 0 };
  readonly #names: MemoryMetadata;
  readonly #open = new Map<number, { content: MemoryContent; count: number }>();

  constructor(options: MemoryClientOptions = {}) {
    this.#names = new MemoryMetadata(options);
    this.meta = new Proxy(this.#names, {
      get: (target, property) => {
        const value: unknown = Reflect.get(target, property);
        if (typeof value !== "function") return value;
        if (LOCAL.has(property)) return value.bind(target) as unknown;
        return (...args: unknown[]) => {
          const name = String(property);
          this.calls[name] = (this.calls[name] ?? 0) + 1;
          return target.call(name, () => Reflect.apply(value, target, args) as unknown);
        };
      },
    });
  }

  open(inode: Inode): FileContent {
    let open = this.#open.get(inode.ino);
    if (!open) {
      const content = this.#names.content(inode.ino, () => this.#close(inode.ino), this.largest);
      open = { content, count: 0 };
      this.#open.set(inode.ino, open);
    }
    open.count++;
    return open.content;
  }

  readAhead(inodes: readonly Inode[]): void {
    this.ahead.push(inodes.map(({ ino }) => ino));
  }

  #close(ino: number): void {
    const open = this.#open.get(ino);
    if (!open) throw new Error(`close inode ${ino}, which is not open`);
    if (--open.count === 0) this.#open.delete(ino);
  }

  /** The next flush, fsync or close of a file throws this. */
  fail(ino: number, failure: Error): void {
    this.#names.content(ino, () => {}).failure = failure;
  }

  /** Inodes without a name that are kept because somebody has them open. */
  get held(): Set<number> {
    return this.#names.held;
  }

  /** Files that are open now. */
  get openFiles(): number {
    return this.#open.size;
  }

  async close(): Promise<void> {
    for (const { content } of this.#open.values()) await content.flush();
    this.closed = true;
  }
}

/** What asks nobody. */
const LOCAL: ReadonlySet<string | symbol> = new Set(["bear", "withUnborn", "onBirth"]);

/** Names and attributes in memory. Synchronous inside: the Proxy above makes promises of it. */
class MemoryMetadata implements Metadata {
  /** Inodes without a name that are kept because somebody has them open. */
  readonly held = new Set<number>();
  readonly #nodes = new Map<number, Node>();
  readonly #clock: Clock;
  readonly #capacity: Capacity | undefined;
  readonly #before: MemoryClientOptions["before"];
  #next = ROOT_INO + 1;
  #version = 1;

  constructor(options: MemoryClientOptions) {
    this.#clock = options.clock ?? new RealClock();
    this.#capacity = options.capacity;
    this.#before = options.before;
    this.#nodes.set(ROOT_INO, this.#node(ROOT_INO, { mode: S_IFDIR | 0o755, uid: 0, gid: 0 }, ROOT_INO));
  }

  async call<T>(name: string, work: () => T): Promise<T> {
    await this.#before?.(name);
    return work();
  }

  #node(ino: number, node: NewInode, parent: number): Node {
    const now = this.#clock.timestamp();
    const target = Buffer.from(node.target ?? []);
    const directory = (node.mode & S_IFMT) === S_IFDIR;
    const inode: InodeInit = {
      ino,
      mode: node.mode,
      uid: node.uid,
      gid: node.gid,
      nlink: directory ? 2 : 1,
      size: target.length,
      rdev: node.rdev ?? 0,
      atime: now,
      mtime: now,
      ctime: now,
      allocated: 0,
      version: this.#version++,
      parent: directory ? parent : 0,
      target,
      inline: 0,
      xattrs: 0,
      policy: { replicas: 3, blockSize: MAX_BLOCK_SIZE, compression: 0 },
    };
    return { inode: received(inode), children: new Map(), xattrs: new Map(), content: undefined };
  }

  #get(ino: number): Node {
    const node = this.#nodes.get(ino);
    if (!node) throw new CairnError("ESTALE", `use inode ${ino}, which is gone`);
    return node;
  }

  #dir(ino: number): Node {
    const node = this.#get(ino);
    if ((node.inode.mode & S_IFMT) !== S_IFDIR) throw new CairnError("ENOTDIR", `use inode ${ino} as a directory`);
    return node;
  }

  #child(dir: number, name: Name): Node {
    if (name.length > MAX_NAME) throw new CairnError("ENAMETOOLONG", `look up a name of ${name.length} bytes`);
    const ino = this.#dir(dir).children.get(latin1(name));
    if (ino === undefined) throw new CairnError("ENOENT", `look up ${JSON.stringify(latin1(name))} in ${dir}`);
    return this.#get(ino);
  }

  #change(node: Node, change: Partial<Inode>): Inode {
    const ctime = this.#clock.timestamp();
    node.inode = received({ ...node.inode, ctime, ...change, version: this.#version++ });
    return node.inode;
  }

  #changeDir(dir: Node, links = 0): void {
    this.#change(dir, { mtime: this.#clock.timestamp(), nlink: dir.inode.nlink + links });
  }

  /** Takes one name from a node; the last one takes the node, unless it is to be held. */
  #drop(node: Node, hold: boolean): Inode {
    const inode = this.#change(node, { nlink: isDir(node) ? 0 : node.inode.nlink - 1 });
    if (inode.nlink === 0 && hold) this.held.add(inode.ino);
    else if (inode.nlink === 0) this.#nodes.delete(inode.ino);
    return inode;
  }

  content(ino: number, onClose: () => void, largest = { read: 0, write: 0 }): MemoryContent {
    const node = this.#get(ino);
    node.content ??= new MemoryContent(ino, this.#clock, {
      commit: (size, change) => this.#change(node, { size, allocated: size, ...change }),
      close: () => onClose(),
      read: () => this.#before?.("read"),
      largest,
    });
    return node.content;
  }

  async lookup(dir: number, name: Name): Promise<Inode> {
    return this.#child(dir, name).inode;
  }

  async resolve(path: string | Uint8Array, followLast = false): Promise<Inode> {
    const todo = latin1(Buffer.from(path)).split("/").filter(Boolean);
    const trail = [ROOT_INO];
    for (let links = 0; todo.length > 0; ) {
      const name = todo.shift()!;
      if (name === ".") continue;
      if (name === "..") {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const { inode } = this.#child(trail.at(-1)!, Buffer.from(name, "latin1"));
      if ((inode.mode & S_IFMT) === S_IFLNK && (todo.length > 0 || followLast)) {
        if (++links > MAX_SYMLINKS) throw new CairnError("ELOOP", `resolve ${String(path)}`);
        const target = latin1(inode.target);
        if (target.startsWith("/")) trail.length = 1;
        todo.unshift(...target.split("/").filter(Boolean));
      } else trail.push(inode.ino);
    }
    return this.#get(trail.at(-1)!).inode;
  }

  async getInode(ino: number): Promise<Inode> {
    return this.#get(ino).inode;
  }

  async readDirectory(dir: number, after: Name, limit: number): Promise<DirectoryPage> {
    const from = latin1(after);
    const names = this.#sorted(dir);
    let at = 0;
    for (let high = names.length; at < high; ) {
      const middle = (at + high) >> 1;
      if (names[middle]! > from) high = middle;
      else at = middle + 1;
    }
    const entries = names.slice(at, at + limit).map((name) => {
      const bytes = Buffer.from(name, "latin1");
      return { name: bytes, inode: this.#child(dir, bytes).inode };
    });
    return { entries, more: at + limit < names.length };
  }

  #listing: { dir: Node; version: number; names: string[] } | undefined;

  #sorted(dir: number): string[] {
    const node = this.#dir(dir);
    if (this.#listing?.dir !== node || this.#listing.version !== node.inode.version) {
      const names = [...node.children.keys()].sort((a, b) => (a < b ? -1 : 1));
      this.#listing = { dir: node, version: node.inode.version, names };
    }
    return this.#listing.names;
  }

  async create(dir: number, name: Name, node: NewInode, openExisting = false): Promise<Created> {
    if (name.length > MAX_NAME) throw new CairnError("ENAMETOOLONG", `create a name of ${name.length} bytes`);
    const parent = this.#dir(dir);
    const existing = parent.children.get(latin1(name));
    if (existing !== undefined) {
      const { inode } = this.#get(existing);
      if (openExisting && (inode.mode & S_IFMT) === S_IFREG) return { inode, existed: true };
      throw new CairnError("EEXIST", `create ${JSON.stringify(latin1(name))} in ${dir}`);
    }
    const made = this.#node(this.#next++, node, dir);
    this.#nodes.set(made.inode.ino, made);
    parent.children.set(latin1(name), made.inode.ino);
    this.#changeDir(parent, isDir(made) ? 1 : 0);
    return { inode: made.inode, existed: false, parent: parent.inode };
  }

  async setAttributes(ino: number, change: AttributeChange): Promise<Inode> {
    const node = this.#get(ino);
    const time = (t: Timestamp | "now") => (t === "now" ? this.#clock.timestamp() : t);
    const { mode, uid, gid, atime, mtime } = change;
    return this.#change(node, {
      ...(mode !== undefined && { mode: (node.inode.mode & S_IFMT) | mode }),
      ...(uid !== undefined && { uid }),
      ...(gid !== undefined && { gid }),
      ...(atime && { atime: time(atime) }),
      ...(mtime && { mtime: time(mtime) }),
    });
  }

  async link(ino: number, dir: number, name: Name): Promise<Inode> {
    const node = this.#get(ino);
    if (isDir(node)) throw new CairnError("EPERM", `link directory ${ino}`);
    const parent = this.#dir(dir);
    if (parent.children.has(latin1(name))) throw new CairnError("EEXIST", `link inode ${ino} to ${latin1(name)}`);
    parent.children.set(latin1(name), ino);
    this.#changeDir(parent);
    return this.#change(node, { nlink: node.inode.nlink + 1 });
  }

  async unlink(dir: number, name: Name, hold = false): Promise<Removed> {
    const node = this.#child(dir, name);
    if (isDir(node)) throw new CairnError("EISDIR", `unlink directory ${latin1(name)}`);
    this.#dir(dir).children.delete(latin1(name));
    this.#changeDir(this.#dir(dir));
    return this.#removed(dir, this.#drop(node, hold));
  }

  async rmdir(dir: number, name: Name, hold = false): Promise<Removed> {
    const node = this.#child(dir, name);
    if (!isDir(node)) throw new CairnError("ENOTDIR", `remove directory ${latin1(name)}`);
    if (node.children.size > 0) throw new CairnError("ENOTEMPTY", `remove directory ${latin1(name)}`);
    this.#dir(dir).children.delete(latin1(name));
    this.#changeDir(this.#dir(dir), -1);
    return this.#removed(dir, this.#drop(node, hold));
  }

  #removed(dir: number, { ino }: Inode): Removed {
    return { held: this.held.has(ino) ? ino : undefined, parent: this.#get(dir).inode };
  }

  async release(inos: readonly number[]): Promise<void> {
    for (const ino of inos) if (this.held.delete(ino)) this.#nodes.delete(ino);
  }

  async noteAccesses(accesses: readonly InodeAccess[]): Promise<number[]> {
    const passed: number[] = [];
    for (const { ino, atime, before } of accesses) {
      const node = this.#nodes.get(ino);
      if (node === undefined || !isSameTime(node.inode.atime, before)) passed.push(ino);
      else node.inode = received({ ...node.inode, atime });
    }
    return passed;
  }

  async rename(
    fromDir: number,
    fromName: Name,
    toDir: number,
    toName: Name,
    flags: RenameFlags = {},
  ): Promise<Renamed> {
    const node = this.#child(fromDir, fromName);
    const [source, target] = [this.#dir(fromDir), this.#dir(toDir)];
    const existing = target.children.get(latin1(toName));
    if (flags.exchange && existing === undefined) throw new CairnError("ENOENT", `exchange with ${latin1(toName)}`);
    if (flags.noReplace && existing !== undefined) throw new CairnError("EEXIST", `rename to ${latin1(toName)}`);
    if (existing === node.inode.ino) return { moved: node.inode };
    this.#checkLoop(node, target);
    const other = existing === undefined ? undefined : this.#get(existing);
    if (other && !flags.exchange) this.#checkReplace(node, other);
    source.children.delete(latin1(fromName));
    target.children.set(latin1(toName), node.inode.ino);
    let replaced: Inode | undefined;
    if (other && flags.exchange) {
      source.children.set(latin1(fromName), other.inode.ino);
      replaced = this.#change(other, isDir(other) ? { parent: fromDir } : {});
    } else if (other) replaced = this.#drop(other, flags.hold === true);
    this.#changeDir(source);
    this.#changeDir(target);
    const moved = this.#change(node, isDir(node) ? { parent: toDir } : {});
    for (const dir of new Set([source, target])) this.#change(dir, { nlink: 2 + this.#directories(dir) });
    return { moved, replaced, to: target.inode, ...(source !== target && { from: source.inode }) };
  }

  #directories(dir: Node): number {
    return [...dir.children.values()].filter((ino) => isDir(this.#get(ino))).length;
  }

  #checkLoop(node: Node, target: Node): void {
    for (let at = target; ; at = this.#get(at.inode.parent)) {
      if (at === node) throw new CairnError("EINVAL", "move a directory below itself");
      if (at.inode.ino === ROOT_INO) return;
    }
  }

  #checkReplace(node: Node, other: Node): void {
    if (isDir(node) && !isDir(other)) throw new CairnError("ENOTDIR", "rename a directory over a file");
    if (!isDir(node) && isDir(other)) throw new CairnError("EISDIR", "rename a file over a directory");
    if (other.children.size > 0) throw new CairnError("ENOTEMPTY", "rename over a directory that is not empty");
  }

  bear(): undefined {}

  withUnborn(directory: Inode): Inode {
    return directory;
  }

  onBirth(): void {}

  async setXattr(ino: number, name: Name, value: Uint8Array, mode?: "create" | "replace"): Promise<void> {
    const node = this.#get(ino);
    const has = node.xattrs.has(latin1(name));
    if (mode === "create" && has) throw new CairnError("EEXIST", `create xattr ${latin1(name)}`);
    if (mode === "replace" && !has) throw new CairnError("ENODATA", `replace xattr ${latin1(name)}`);
    node.xattrs.set(latin1(name), Buffer.from(value));
    this.#change(node, { xattrs: node.xattrs.size });
  }

  async getXattr(ino: number, name: Name): Promise<Uint8Array> {
    const value = this.#get(ino).xattrs.get(latin1(name));
    if (!value) throw new CairnError("ENODATA", `get xattr ${latin1(name)} of ${ino}`);
    return value;
  }

  async listXattrs(ino: number): Promise<Uint8Array[]> {
    return [...this.#get(ino).xattrs.keys()].map((name) => Buffer.from(name, "latin1"));
  }

  async removeXattr(ino: number, name: Name): Promise<void> {
    const node = this.#get(ino);
    if (!node.xattrs.delete(latin1(name))) throw new CairnError("ENODATA", `remove xattr ${latin1(name)}`);
    this.#change(node, { xattrs: node.xattrs.size });
  }

  async capacity(): Promise<Capacity> {
    const used = [...this.#nodes.values()].reduce((sum, { inode }) => sum + inode.allocated, 0);
    const size = 30 * GIB;
    return (
      this.#capacity ?? {
        capacity: size,
        used: used * 3,
        available: size - used * 3,
        inodes: this.#nodes.size,
        replicas: 3,
        quotas: [],
      }
    );
  }

  async sync(): Promise<void> {}
}

/** What a file's content does to its client. */
interface MemoryHooks {
  commit: (size: number, change: Partial<Inode>) => Inode;
  close: () => void;
  read: () => Promise<void> | void;
  /** Bytes of the largest read and write. */
  largest: { read: number; write: number };
}

/** A file's bytes in pieces of 1 MiB, so that it may be sparse. Writes are seen at once; the inode learns of them at flush. */
class MemoryContent implements FileContent {
  readonly ino: number;
  size = 0;
  dirtyMtime: Timestamp | undefined;
  /** Changed with what is unflushed. */
  #changed: Partial<Inode> = {};
  /** Thrown by the next flush, fsync or close. */
  failure: Error | undefined;
  readonly #clock: Clock;
  readonly #hooks: MemoryHooks;
  readonly #pieces = new Map<number, Buffer>();

  constructor(ino: number, clock: Clock, hooks: MemoryHooks) {
    this.ino = ino;
    this.#clock = clock;
    this.#hooks = hooks;
  }

  get dirty(): boolean {
    return this.dirtyMtime !== undefined;
  }

  setAttributes({ mode, uid, gid, atime, mtime }: AttributeChange): boolean {
    if (!this.dirty) return false;
    const time = (t: Timestamp | "now") => (t === "now" ? this.#clock.timestamp() : t);
    this.#changed = {
      ...this.#changed,
      ...(mode !== undefined && { mode: S_IFREG | mode }),
      ...(uid !== undefined && { uid }),
      ...(gid !== undefined && { gid }),
      ...(atime && { atime: time(atime) }),
      ...(mtime && { mtime: time(mtime) }),
    };
    return true;
  }

  willRead(): void {}

  async read(offset: number, target: Buffer): Promise<number> {
    await this.#hooks.read();
    const length = Math.max(0, Math.min(target.length, this.size - offset));
    this.#hooks.largest.read = Math.max(this.#hooks.largest.read, length);
    for (let done = 0; done < length; ) {
      const { piece, start, count } = this.#at(offset + done, length - done);
      if (piece) piece.copy(target, done, start, start + count);
      else target.fill(0, done, done + count);
      done += count;
    }
    return length;
  }

  async write(offset: number | undefined, data: Buffer): Promise<void> {
    const at = offset ?? this.size;
    this.#hooks.largest.write = Math.max(this.#hooks.largest.write, data.length);
    if (at + data.length > MAX_FILE_SIZE) throw new CairnError("EFBIG", `write inode ${this.ino} at ${at}`);
    for (let done = 0; done < data.length; ) {
      const { index, piece, start, count } = this.#at(at + done, data.length - done);
      const into = piece ?? Buffer.alloc(PIECE);
      if (!piece) this.#pieces.set(index, into);
      data.copy(into, start, done, done + count);
      done += count;
    }
    this.size = Math.max(this.size, at + data.length);
    this.dirtyMtime = this.#clock.timestamp();
    delete this.#changed.mtime;
  }

  #at(offset: number, length: number): { index: number; piece: Buffer | undefined; start: number; count: number } {
    const index = Math.floor(offset / PIECE);
    const start = offset - index * PIECE;
    return { index, piece: this.#pieces.get(index), start, count: Math.min(length, PIECE - start) };
  }

  async truncate(size: number): Promise<Inode> {
    if (size > MAX_FILE_SIZE) throw new CairnError("EFBIG", `truncate inode ${this.ino} to ${size}`);
    for (const [index, piece] of this.#pieces) {
      if (index * PIECE >= size) this.#pieces.delete(index);
      else if (size < (index + 1) * PIECE) piece.fill(0, size - index * PIECE);
    }
    this.size = size;
    delete this.#changed.mtime;
    return this.#commit(this.#clock.timestamp());
  }

  async settle(): Promise<void> {
    const { failure } = this;
    this.failure = undefined;
    await this.flush();
    this.failure = failure;
  }

  /** The bytes stay here, but are not committed. */
  discard(): void {
    if (!this.dirty) return;
    this.dirtyMtime = undefined;
    this.#changed = {};
    this.failure = new CairnError("EIO", `inode ${this.ino} was discarded`);
  }

  async seek(offset: number, kind: "data" | "hole"): Promise<number> {
    if (offset >= this.size) throw new CairnError("ENXIO", `seek ${kind} at ${offset}`);
    for (let at = offset; at < this.size; at = (Math.floor(at / PIECE) + 1) * PIECE) {
      if (this.#pieces.has(Math.floor(at / PIECE)) === (kind === "data")) return at;
    }
    if (kind === "data") throw new CairnError("ENXIO", `seek data at ${offset}`);
    return this.size;
  }

  async allocate(offset: number, length: number, { zero, keepSize }: Allocation): Promise<Inode> {
    const end = offset + length;
    if (end > MAX_FILE_SIZE) throw new CairnError("EFBIG", `allocate up to ${end} of inode ${this.ino}`);
    if (zero) {
      for (const [index, piece] of this.#pieces) {
        if (index * PIECE >= offset && (index + 1) * PIECE <= end) this.#pieces.delete(index);
        else piece.fill(0, clamp(offset - index * PIECE), clamp(end - index * PIECE));
      }
    }
    if (!keepSize) this.size = Math.max(this.size, end);
    delete this.#changed.mtime;
    return this.#commit(this.#clock.timestamp());
  }

  async copyFrom(source: FileContent, from: number, offset: number, length: number): Promise<Copied> {
    const buffer = Buffer.alloc(Math.max(0, Math.min(length, source.size - from)));
    const copied = await source.read(from, buffer);
    await this.write(offset, buffer.subarray(0, copied));
    return { copied, inode: this.#commit(this.#clock.timestamp()) };
  }

  async flush(): Promise<void> {
    const { failure, dirtyMtime } = this;
    this.failure = undefined;
    if (failure) throw failure;
    if (dirtyMtime) this.#commit(dirtyMtime);
  }

  #commit(mtime: Timestamp): Inode {
    const change = { mtime, ...this.#changed };
    this.dirtyMtime = undefined;
    this.#changed = {};
    return this.#hooks.commit(this.size, change);
  }

  async fsync(): Promise<void> {
    await this.flush();
  }

  attributes(committed: Inode): Inode {
    const mtime = this.dirtyMtime;
    return mtime ? { ...committed, size: this.size, mtime, ctime: mtime, ...this.#changed } : committed;
  }

  refreshed(): void {}

  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      this.#hooks.close();
    }
  }
}

/** An inode as a client receives it: what is zero is on its prototype. */
function received(inode: InodeInit): Inode {
  return Inode.decode(Inode.encode(inode).finish());
}

function clamp(n: number): number {
  return Math.max(0, Math.min(n, PIECE));
}

function isDir({ inode }: Node): boolean {
  return (inode.mode & S_IFMT) === S_IFDIR;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}
