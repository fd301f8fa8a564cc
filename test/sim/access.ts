import { constants } from "node:fs";
import type { CairnClient, FileContent } from "../../client/contract.js";
import type { FileSystem } from "../../fuse/core.js";

const { S_IFREG, S_IFDIR, O_RDWR, O_CREAT, O_EXCL } = constants;
/** Who everything belongs to, and does it. */
const OWNER = { uid: 0, gid: 0 };
const CALLER = { ...OWNER, pid: 1 };
const FILE_MODE = 0o644;
const DIRECTORY_MODE = 0o755;
/** Names asked for at once. */
const PAGE = 1000;

/** A file that a program has open. */
export interface OpenedFile {
  /** Bytes, by now. */
  size(): Promise<number>;
  /** Resolves to the bytes read. */
  read(offset: number, target: Buffer): Promise<number>;
  write(offset: number, data: Buffer): Promise<void>;
  flush(): Promise<void>;
  fsync(): Promise<void>;
  truncate(size: number): Promise<void>;
  /** Makes a range of bytes a hole. */
  punch(offset: number, length: number): Promise<void>;
  /** Copies from another file that was opened in the same way, by reference. Resolves to the bytes copied. */
  copyFrom(source: OpenedFile, from: number, offset: number, length: number): Promise<number>;
  /** Commits what was written, and throws what goes wrong with that. */
  close(): Promise<void>;
}

/** What making a file has come to. */
export interface MadeFile {
  readonly ino: number;
  /** Where making a file opens it. */
  readonly open: OpenedFile | undefined;
  /** Nobody knows of it but the client that made it. */
  readonly unborn: boolean;
}

/** How a program uses a cluster: through the client library, or as on a mount. */
export interface Access {
  readonly client: CairnClient;
  /** Makes a file. EEXIST. */
  create(dir: number, name: string): Promise<MadeFile>;
  /** Makes a directory, and resolves to its inode number. EEXIST. */
  mkdir(dir: number, name: string): Promise<number>;
  lookup(dir: number, name: string): Promise<number>;
  rename(dir: number, from: string, to: string): Promise<void>;
  unlink(dir: number, name: string): Promise<void>;
  /** All names in a directory, and their inodes. */
  list(dir: number): Promise<Map<string, number>>;
  open(ino: number): Promise<OpenedFile>;
  /** Commits everything, and ends. */
  close(): Promise<void>;
}

/** Each thing is a call of the client library, and nothing is remembered. */
export class LibraryAccess implements Access {
  readonly client: CairnClient;

  constructor(client: CairnClient) {
    this.client = client;
  }

  async create(dir: number, name: string): Promise<MadeFile> {
    const { inode } = await this.client.meta.create(dir, Buffer.from(name), { mode: S_IFREG | FILE_MODE, ...OWNER });
    return { ino: inode.ino, open: undefined, unborn: false };
  }

  async mkdir(dir: number, name: string): Promise<number> {
    const { inode } = await this.client.meta.create(dir, Buffer.from(name), {
      mode: S_IFDIR | DIRECTORY_MODE,
      ...OWNER,
    });
    return inode.ino;
  }

  async lookup(dir: number, name: string): Promise<number> {
    return (await this.client.meta.lookup(dir, Buffer.from(name))).ino;
  }

  async rename(dir: number, from: string, to: string): Promise<void> {
    await this.client.meta.rename(dir, Buffer.from(from), dir, Buffer.from(to));
  }

  async unlink(dir: number, name: string): Promise<void> {
    await this.client.meta.unlink(dir, Buffer.from(name));
  }

  async list(dir: number): Promise<Map<string, number>> {
    const { entries } = await this.client.meta.readDirectory(dir, Buffer.alloc(0), PAGE);
    return new Map(entries.map(({ name, inode }) => [Buffer.from(name).toString(), inode.ino]));
  }

  async open(ino: number): Promise<OpenedFile> {
    return new LibraryFile(this.client.open(await this.client.meta.getInode(ino)));
  }

  close(): Promise<void> {
    return this.client.close();
  }
}

class LibraryFile implements OpenedFile {
  readonly content: FileContent;

  constructor(content: FileContent) {
    this.content = content;
  }

  async size(): Promise<number> {
    return this.content.size;
  }

  read(offset: number, target: Buffer): Promise<number> {
    return this.content.read(offset, target);
  }

  write(offset: number, data: Buffer): Promise<void> {
    return this.content.write(offset, data);
  }

  flush(): Promise<void> {
    return this.content.flush();
  }

  fsync(): Promise<void> {
    return this.content.fsync();
  }

  async truncate(size: number): Promise<void> {
    await this.content.truncate(size);
  }

  async punch(offset: number, length: number): Promise<void> {
    await this.content.allocate(offset, length, { zero: true, keepSize: true });
  }

  async copyFrom(source: OpenedFile, from: number, offset: number, length: number): Promise<number> {
    const { copied } = await this.content.copyFrom((source as LibraryFile).content, from, offset, length);
    return copied;
  }

  close(): Promise<void> {
    return this.content.close();
  }
}

/** As the kernel does it for programs on a mount, whose caches, and whose way of making files, are in between. */
export class MountAccess implements Access {
  readonly client: CairnClient;
  readonly #fs: FileSystem;
  /** Files that the mount has made by itself, the last one. */
  #unborn: number | undefined;

  constructor(client: CairnClient, fs: FileSystem) {
    this.client = client;
    this.#fs = fs;
    const { meta } = client;
    const bear = meta.bear.bind(meta);
    meta.bear = (...of) => {
      const made = bear(...of);
      if (made !== undefined) this.#unborn = made.ino;
      return made;
    };
  }

  async create(dir: number, name: string): Promise<MadeFile> {
    const flags = O_RDWR | O_CREAT | O_EXCL;
    const { handle, inode } = await this.#fs.create(dir, Buffer.from(name), FILE_MODE, flags, CALLER);
    return { ino: inode.ino, open: new MountedFile(this.#fs, handle), unborn: this.#unborn === inode.ino };
  }

  async mkdir(dir: number, name: string): Promise<number> {
    return (await this.#fs.mkdir(dir, Buffer.from(name), DIRECTORY_MODE, CALLER)).ino;
  }

  async lookup(dir: number, name: string): Promise<number> {
    return (await this.#fs.lookup(dir, Buffer.from(name), CALLER)).ino;
  }

  rename(dir: number, from: string, to: string): Promise<void> {
    return this.#fs.rename({ dir, name: Buffer.from(from) }, { dir, name: Buffer.from(to) }, {}, CALLER);
  }

  unlink(dir: number, name: string): Promise<void> {
    return this.#fs.unlink(dir, Buffer.from(name), CALLER);
  }

  async list(dir: number): Promise<Map<string, number>> {
    const names = new Map<string, number>();
    const handle = await this.#fs.opendir(dir, CALLER);
    try {
      const take = ({ name, ino }: { name: Buffer; ino: number }) => names.set(name.toString(), ino) !== undefined;
      await this.#fs.readdir(handle, 0, take, CALLER);
    } finally {
      this.#fs.releasedir(handle);
    }
    names.delete(".");
    names.delete("..");
    return names;
  }

  async open(ino: number): Promise<OpenedFile> {
    const { handle } = await this.#fs.open(ino, O_RDWR, CALLER);
    return new MountedFile(this.#fs, handle);
  }

  async close(): Promise<void> {
    try {
      await this.#fs.flushAll();
    } finally {
      await this.client.close();
    }
  }
}

class MountedFile implements OpenedFile {
  readonly #fs: FileSystem;
  readonly handle: number;

  constructor(fs: FileSystem, handle: number) {
    this.#fs = fs;
    this.handle = handle;
  }

  async size(): Promise<number> {
    return (await this.#fs.getattrOfHandle(this.handle, CALLER)).size;
  }

  read(offset: number, target: Buffer): Promise<number> {
    return this.#fs.read(this.handle, offset, target, CALLER);
  }

  write(offset: number, data: Buffer): Promise<void> {
    return this.#fs.write(this.handle, offset, data, CALLER);
  }

  flush(): Promise<void> {
    return this.#fs.flush(this.handle, CALLER);
  }

  fsync(): Promise<void> {
    return this.#fs.fsync(this.handle, CALLER);
  }

  async truncate(size: number): Promise<void> {
    await this.#fs.setattrOfHandle(this.handle, { size }, CALLER);
  }

  punch(offset: number, length: number): Promise<void> {
    return this.#fs.fallocate(this.handle, offset, length, { zero: true, keepSize: true }, CALLER);
  }

  copyFrom(source: OpenedFile, from: number, offset: number, length: number): Promise<number> {
    const { handle } = source as MountedFile;
    return this.#fs.copyRange({ handle, offset: from }, { handle: this.handle, offset }, length, CALLER);
  }

  async close(): Promise<void> {
    try {
      await this.#fs.flush(this.handle, CALLER);
    } finally {
      await this.#fs.release(this.handle);
    }
  }
}
