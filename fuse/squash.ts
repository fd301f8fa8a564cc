import { CairnError } from "../common/errors.js";
import type { Inode } from "../proto/gen/types.js";
import { FileSystem, type FileSystemParts } from "./core.js";
import type { AttributeUpdate, Caller, DirectoryEntry, Opened } from "./types.js";

/** Whom everything belongs to on a mount; absent: as it is. */
export interface Owner {
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
}

/**
 * A file system whose files all appear to belong to one user, one group, or both, and whoever makes something makes it as theirs: for a
 * machine that does not share the cluster's users. The kernel checks permissions against what appears. Nothing can be given to
 * others (EPERM, as on vfat).
 */
export class SquashedFileSystem extends FileSystem {
  readonly #owner: { uid?: number; gid?: number };

  constructor(parts: FileSystemParts, { uid, gid }: Owner) {
    super(parts);
    this.#owner = { ...(uid !== undefined && { uid }), ...(gid !== undefined && { gid }) };
  }

  override async lookup(dir: number, name: Buffer, caller: Caller): Promise<Inode> {
    return this.#shown(await super.lookup(dir, name, caller));
  }

  override async mknod(dir: number, name: Buffer, mode: number, rdev: number, caller: Caller): Promise<Inode> {
    return this.#shown(await super.mknod(dir, name, mode, rdev, this.#as(caller)));
  }

  override async mkdir(dir: number, name: Buffer, mode: number, caller: Caller): Promise<Inode> {
    return this.#shown(await super.mkdir(dir, name, mode, this.#as(caller)));
  }

  override async symlink(dir: number, name: Buffer, target: Buffer, caller: Caller): Promise<Inode> {
    return this.#shown(await super.symlink(dir, name, target, this.#as(caller)));
  }

  override unlink(dir: number, name: Buffer, caller: Caller): Promise<void> {
    return super.unlink(dir, name, this.#as(caller));
  }

  override async link(ino: number, dir: number, name: Buffer, caller: Caller): Promise<Inode> {
    return this.#shown(await super.link(ino, dir, name, caller));
  }

  override async getattr(ino: number, caller: Caller): Promise<Inode> {
    return this.#shown(await super.getattr(ino, caller));
  }

  override async setattr(ino: number, update: AttributeUpdate, caller: Caller): Promise<Inode> {
    const { uid, gid, ...rest } = update;
    for (const [key, wanted] of Object.entries({ uid, gid })) {
      const only = this.#owner[key as "uid" | "gid"];
      if (wanted !== undefined && only !== undefined && wanted !== only) {
        throw new CairnError("EPERM", `give inode ${ino} to ${key} ${wanted}: on this mount everything is ${only}'s`);
      }
    }
    const change = {
      ...rest,
      ...(uid !== undefined && this.#owner.uid === undefined && { uid }),
      ...(gid !== undefined && this.#owner.gid === undefined && { gid }),
    };
    return this.#shown(await super.setattr(ino, change, caller));
  }

  override async create(
    dir: number,
    name: Buffer,
    mode: number,
    flags: number,
    caller: Caller,
  ): Promise<Opened & { existed: boolean }> {
    const opened = await super.create(dir, name, mode, flags, this.#as(caller));
    return { ...opened, inode: this.#shown(opened.inode) };
  }

  override async open(ino: number, flags: number, caller: Caller): Promise<Opened> {
    const opened = await super.open(ino, flags, caller);
    return { ...opened, inode: this.#shown(opened.inode) };
  }

  override readdir(
    handle: number,
    from: number,
    take: (entry: DirectoryEntry) => boolean,
    caller: Caller,
  ): Promise<void> {
    const shown = (entry: DirectoryEntry): DirectoryEntry => ({
      ...entry,
      attributes: () => {
        const inode = entry.attributes();
        return inode && this.#shown(inode);
      },
    });
    return super.readdir(handle, from, (entry) => take(shown(entry)), caller);
  }

  #as(caller: Caller): Caller {
    return { ...caller, ...this.#owner };
  }

  #shown(inode: Inode): Inode {
    return { ...inode, ...this.#owner };
  }
}
