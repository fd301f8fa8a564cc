import type {
  AttributeChange,
  BirthWatcher,
  CairnClient,
  Changes,
  ChangeWatcher,
  Created,
  DirectoryPage,
  InodeAccess,
  Metadata,
  Name,
  NewInode,
  Removed,
  Renamed,
  RenameFlags,
  Watch,
} from "../client/contract.js";
import { CairnError, codeOf } from "../common/errors.js";
import { ROOT_INO } from "../common/limits.js";
import type { Inode } from "../proto/gen/types.js";
import { isDirectory } from "./inode.js";

/**
 * The client of a cluster seen from one directory of it: this directory is the root, and has the root's number. There is no way out:
 * its parent is itself, and names are "." and ".." nowhere but in paths, which are refused. Symlinks on the way to the directory are
 * followed. ENOENT, ENOTDIR; EINVAL for a path that is not absolute or goes up.
 */
export async function subtree(client: CairnClient, path: string): Promise<CairnClient> {
  if (!path.startsWith("/") || path.split("/").includes("..")) {
    throw new CairnError("EINVAL", `mount ${path}: not an absolute path without ".."`);
  }
  const top = await client.meta.resolve(path, true).catch((err: unknown) => {
    throw new CairnError(codeOf(err), `mount ${path} of the cluster`, err);
  });
  if (!isDirectory(top)) throw new CairnError("ENOTDIR", `mount ${path} of the cluster: it is not a directory`);
  if (top.ino === ROOT_INO) return client;
  return {
    meta: new SubtreeMetadata(client.meta, top.ino, path),
    watch: new SubtreeWatch(client.watch, top.ino),
    locks: client.locks, // on files, whose numbers are the same
    cluster: client.cluster,
    policy: client.policy,
    trashMs: client.trashMs,
    open: (inode) => client.open(inode),
    readAhead: (inodes) => client.readAhead(inodes),
    close: () => client.close(),
  };
}

/** What is told of changes, with the number of one directory and the root's in each other's place. */
class SubtreeWatch implements Watch {
  readonly #watch: Watch;
  readonly #top: number;

  constructor(watch: Watch, top: number) {
    this.#watch = watch;
    this.#top = top;
  }

  get epoch(): number {
    return this.#watch.epoch;
  }

  trustMs(): number {
    return this.#watch.trustMs();
  }

  attach(watcher: ChangeWatcher): void {
    this.#watch.attach({
      changed: (changes) => watcher.changed(this.#shown(changes)),
      missed: () => watcher.missed(),
      openInodes: () => watcher.openInodes().map((ino) => this.#ino(ino)),
    });
  }

  forget(inos: readonly number[]): void {
    this.#watch.forget(inos.map((ino) => this.#ino(ino)));
  }

  #ino(ino: number): number {
    return ino === ROOT_INO ? this.#top : ino;
  }

  #shown({ attributes, contents, names, nameless, forgotten, accessed }: Changes): Changes {
    const number = (ino: number) => (ino === this.#top ? ROOT_INO : ino);
    return {
      attributes: attributes.map(number),
      contents: contents.map(number),
      names: names.map(({ dir, name }) => ({ dir: number(dir), name })),
      nameless: nameless.map(number),
      forgotten: forgotten.map(number),
      accessed: accessed.map(({ ino, atime }) => ({ ino: number(ino), atime })),
    };
  }
}

/** Metadata calls with the number of one directory and the root's in each other's place. */
class SubtreeMetadata implements Metadata {
  readonly #meta: Metadata;
  readonly #top: number;
  readonly #path: string;

  constructor(meta: Metadata, top: number, path: string) {
    this.#meta = meta;
    this.#top = top;
    this.#path = path;
  }

  async lookup(dir: number, name: Name): Promise<Inode> {
    return this.#shown(await this.#meta.lookup(this.#ino(dir), name));
  }

  /** Absolute symlinks lead from the cluster's root. */
  async resolve(path: string | Uint8Array, followLast?: boolean): Promise<Inode> {
    const whole = Buffer.concat([Buffer.from(this.#path), Buffer.from("/"), Buffer.from(path as Uint8Array)]);
    return this.#shown(await this.#meta.resolve(whole, followLast));
  }

  async getInode(ino: number): Promise<Inode> {
    return this.#shown(await this.#meta.getInode(this.#ino(ino)));
  }

  async readDirectory(dir: number, after: Name, limit: number): Promise<DirectoryPage> {
    const page = await this.#meta.readDirectory(this.#ino(dir), after, limit);
    const entries = page.entries.map(({ name, inode }) => ({ name, inode: this.#shown(inode) }));
    return { entries, more: page.more, unwatched: page.unwatched ?? false };
  }

  async create(dir: number, name: Name, node: NewInode, openExisting?: boolean): Promise<Created> {
    const { inode, existed, parent } = await this.#meta.create(this.#ino(dir), name, node, openExisting);
    return { inode: this.#shown(inode), existed, parent: parent && this.#shown(parent) };
  }

  bear(parent: Inode, name: Name, node: NewInode): Inode | undefined {
    const inode = this.#meta.bear({ ...parent, ino: this.#ino(parent.ino) }, name, node);
    return inode && this.#shown(inode);
  }

  withUnborn(directory: Inode): Inode {
    if (directory.ino !== ROOT_INO) return this.#meta.withUnborn(directory);
    return { ...this.#meta.withUnborn({ ...directory, ino: this.#top }), ino: ROOT_INO };
  }

  onBirth(watcher: BirthWatcher): void {
    const number = (ino: number) => (ino === this.#top ? ROOT_INO : ino);
    this.#meta.onBirth({
      born: (inode, dir, parent) => watcher.born(this.#shown(inode), number(dir), parent && this.#shown(parent)),
      stillborn: (ino, dir, name) => watcher.stillborn(ino, number(dir), name),
    });
  }

  async setAttributes(ino: number, change: AttributeChange): Promise<Inode> {
    return this.#shown(await this.#meta.setAttributes(this.#ino(ino), change));
  }

  async link(ino: number, dir: number, name: Name): Promise<Inode> {
    return this.#meta.link(ino, this.#ino(dir), name);
  }

  async unlink(dir: number, name: Name, hold?: boolean): Promise<Removed> {
    return this.#removed(await this.#meta.unlink(this.#ino(dir), name, hold));
  }

  async rmdir(dir: number, name: Name, hold?: boolean): Promise<Removed> {
    return this.#removed(await this.#meta.rmdir(this.#ino(dir), name, hold));
  }

  #removed({ held, parent }: Removed): Removed {
    return { held, parent: parent && this.#shown(parent) };
  }

  release(inos: readonly number[]): Promise<void> {
    return this.#meta.release(inos.map((ino) => this.#ino(ino)));
  }

  async noteAccesses(accesses: readonly InodeAccess[]): Promise<number[]> {
    const passed = await this.#meta.noteAccesses(accesses.map((access) => ({ ...access, ino: this.#ino(access.ino) })));
    return passed.map((ino) => this.#number(ino));
  }

  async rename(fromDir: number, fromName: Name, toDir: number, toName: Name, flags?: RenameFlags): Promise<Renamed> {
    const renamed = await this.#meta.rename(this.#ino(fromDir), fromName, this.#ino(toDir), toName, flags);
    const { moved, replaced, from, to } = renamed;
    const shown = (inode: Inode | undefined) => inode && this.#shown(inode);
    return { moved: this.#shown(moved), replaced: shown(replaced), from: shown(from), to: shown(to) };
  }

  setXattr(ino: number, name: Name, value: Uint8Array, mode?: "create" | "replace"): Promise<void> {
    return this.#meta.setXattr(this.#ino(ino), name, value, mode);
  }

  getXattr(ino: number, name: Name): Promise<Uint8Array> {
    return this.#meta.getXattr(this.#ino(ino), name);
  }

  listXattrs(ino: number): Promise<Uint8Array[]> {
    return this.#meta.listXattrs(this.#ino(ino));
  }

  removeXattr(ino: number, name: Name): Promise<void> {
    return this.#meta.removeXattr(this.#ino(ino), name);
  }

  capacity(ino?: number): ReturnType<Metadata["capacity"]> {
    return this.#meta.capacity(ino && this.#ino(ino));
  }

  sync(): Promise<void> {
    return this.#meta.sync();
  }

  /** The cluster's number of an inode of the mount. */
  #ino(ino: number): number {
    return ino === ROOT_INO ? this.#top : ino;
  }

  /** An inode as the mount sees it. */
  #shown(inode: Inode): Inode {
    const ino = this.#number(inode.ino);
    return { ...inode, ino, parent: ino === ROOT_INO ? ROOT_INO : this.#number(inode.parent) };
  }

  /** The mount's number of an inode of the cluster. */
  #number(ino: number): number {
    return ino === this.#top ? ROOT_INO : ino;
  }
}
