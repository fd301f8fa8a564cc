import type { Timestamp } from "../common/clock.js";
import { Namenode } from "../proto/gen/services.js";
import type { Inode, SetAttributesRequestInit } from "../proto/gen/types.js";
import type {
  AttributeChange,
  BirthWatcher,
  Capacity,
  Created,
  DirectoryPage,
  InodeAccess,
  Metadata,
  Name,
  NewInode,
  Removed,
  Renamed,
  RenameFlags,
} from "./contract.js";
import { resolvePath } from "./resolve.js";
import type { Session, Unnumbered } from "./session.js";

/** Metadata over a session: each function is one call. */
export class SessionMetadata implements Metadata {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async lookup(dir: number, name: Name): Promise<Inode> {
    return (await this.#session.call(Namenode.lookup, { dir, name })).inode;
  }

  resolve(path: string | Uint8Array, followLast = true): Promise<Inode> {
    return resolvePath(this.#session, path, followLast);
  }

  async getInode(ino: number): Promise<Inode> {
    return (await this.#session.call(Namenode.getInode, { ino })).inode;
  }

  readDirectory(dir: number, after: Name, limit: number): Promise<DirectoryPage> {
    return this.#session.call(Namenode.readDirectory, { dir, after, limit });
  }

  async create(dir: number, name: Name, node: NewInode, openExisting = false): Promise<Created> {
    const request = { dir, name, ...node, openExisting, delegate: this.#session.watch.wanted };
    const make = () => this.#session.change(Namenode.create, request);
    const { inode, existed, parent } = await this.#session.births.delegating(make);
    return { inode, existed, parent: parent ?? undefined };
  }

  bear(parent: Inode, name: Name, node: NewInode): Inode | undefined {
    return this.#session.births.bear(parent, name, node);
  }

  withUnborn(directory: Inode): Inode {
    return this.#session.births.over(directory);
  }

  onBirth(watcher: BirthWatcher): void {
    this.#session.births.attach(watcher);
  }

  async setAttributes(ino: number, change: AttributeChange): Promise<Inode> {
    const { atime, mtime, ...rest } = change;
    const request: Omit<SetAttributesRequestInit, "call"> = { ino, ...rest };
    if (atime === "now") request.atimeNow = true;
    else if (atime !== undefined) request.atime = atime satisfies Timestamp;
    if (mtime === "now") request.mtimeNow = true;
    else if (mtime !== undefined) request.mtime = mtime satisfies Timestamp;
    return (await this.#session.change(Namenode.setAttributes, request)).inode;
  }

  async link(ino: number, dir: number, name: Name): Promise<Inode> {
    return (await this.#session.change(Namenode.link, { ino, dir, name })).inode;
  }

  unlink(dir: number, name: Name, hold = false): Promise<Removed> {
    return this.#remove({ dir, name, hold, directory: false });
  }

  rmdir(dir: number, name: Name, hold = false): Promise<Removed> {
    return this.#remove({ dir, name, hold, directory: true });
  }

  async #remove(request: Unnumbered<typeof Namenode.unlink>): Promise<Removed> {
    const { held, parent } = await this.#session.change(Namenode.unlink, request);
    return { held: held === 0 ? undefined : held, parent: parent ?? undefined };
  }

  async release(inos: readonly number[]): Promise<void> {
    await this.#session.call(Namenode.release, { session: this.#session.id, inos: [...inos] });
  }

  async noteAccesses(accesses: readonly InodeAccess[]): Promise<number[]> {
    const request = { session: this.#session.id, accesses: [...accesses] };
    return (await this.#session.call(Namenode.noteAccesses, request)).passed;
  }

  async rename(
    fromDir: number,
    fromName: Name,
    toDir: number,
    toName: Name,
    flags: RenameFlags = {},
  ): Promise<Renamed> {
    const request = { fromDir, fromName, toDir, toName, ...flags };
    const { moved, replaced, from, to } = await this.#session.change(Namenode.rename, request);
    return { moved, replaced: replaced ?? undefined, from: from ?? undefined, to: to ?? undefined };
  }

  async setXattr(ino: number, name: Name, value: Uint8Array, mode?: "create" | "replace"): Promise<void> {
    const request = { ino, name, value, create: mode === "create", replace: mode === "replace" };
    await this.#session.change(Namenode.setXattr, request);
  }

  async getXattr(ino: number, name: Name): Promise<Uint8Array> {
    return (await this.#session.call(Namenode.getXattr, { ino, name })).value;
  }

  async listXattrs(ino: number): Promise<Uint8Array[]> {
    return (await this.#session.call(Namenode.listXattrs, { ino })).names;
  }

  async removeXattr(ino: number, name: Name): Promise<void> {
    await this.#session.change(Namenode.removeXattr, { ino, name });
  }

  capacity(ino = 0): Promise<Capacity> {
    return this.#session.call(Namenode.getCapacity, { ino });
  }

  async sync(): Promise<void> {
    await this.#session.sync();
    this.#session.checkLoss();
  }
}
