import { constants } from "node:fs";
import type { CairnClient, FileContent } from "../../client/contract.js";
import { invariant } from "../../common/errors.js";
import type { Inode } from "../../proto/gen/types.js";
import type { CrashLedger, Names, Version } from "./crash-ledger.js";
import type { Time } from "./time.js";

const { S_IFREG, S_IFDIR } = constants;

/**
 * A program's view of one directory of a cluster: does what POSIX calls do through a mount, and notes in a ledger what it was
 * promised.
 */
export class CrashProgram {
  readonly #client: CairnClient;
  readonly #parent: Inode;
  readonly #ledger: CrashLedger;
  readonly #time: Time;
  /** Open files by the name that they were opened under. */
  readonly #open = new Map<string, { content: FileContent; name: string }>();

  /** @param parent the directory, which is empty */
  constructor(client: CairnClient, parent: Inode, ledger: CrashLedger, time: Time) {
    this.#client = client;
    this.#parent = parent;
    this.#ledger = ledger;
    this.#time = time;
  }

  /** open(2) with O_CREAT and O_EXCL. What the client makes by itself is promised by nothing yet. */
  async create(name: string): Promise<void> {
    const node = { mode: S_IFREG | 0o644, uid: 0, gid: 0 };
    const open = (inode: Inode) => this.#open.set(name, { content: this.#client.open(inode), name });
    const names = with_(this.#names, name, emptyVersion());
    const unborn = this.#client.meta.bear(this.#parent, Buffer.from(name), node);
    if (unborn !== undefined) {
      this.#ledger.begin(names);
      open(unborn);
    } else {
      await this.#change(names, async () =>
        open((await this.#client.meta.create(this.#dir, Buffer.from(name), node)).inode),
      );
    }
  }

  /** open(2) of a file that is there. */
  async open(name: string): Promise<void> {
    const inode = await this.#client.meta.lookup(this.#dir, Buffer.from(name));
    this.#open.set(name, { content: this.#client.open(inode), name });
  }

  /** pwrite(2). What is written may be committed at any time, and is promised by nothing yet. */
  async write(name: string, offset: number, data: Buffer): Promise<void> {
    const before = this.#version(name);
    const bytes = Buffer.alloc(Math.max(before.bytes.length, offset + data.length));
    before.bytes.copy(bytes);
    data.copy(bytes, offset);
    this.#ledger.begin(
      with_(this.#names, this.#opened(name).name, newer(before, bytes, [offset, offset + data.length])),
    );
    await this.#opened(name).content.write(offset, data);
  }

  /** ftruncate(2). */
  async truncate(name: string, size: number): Promise<void> {
    const { content, name: now } = this.#opened(name);
    const before = this.#version(name);
    const bytes = Buffer.alloc(size);
    before.bytes.copy(bytes);
    await this.#change(with_(this.#names, now, newer(before, bytes)), () => content.truncate(size));
  }

  /** fsync(2) of a file. */
  async fsync(name: string): Promise<void> {
    const { content, name: now } = this.#opened(name);
    await content.fsync();
    this.#ledger.acknowledge(this.#time.now);
    this.#ledger.sync();
    this.#ledger.syncContent(now);
  }

  /** close(2). */
  async close(name: string): Promise<void> {
    const { content } = this.#opened(name);
    this.#open.delete(name);
    await content.close();
    this.#ledger.acknowledge(this.#time.now);
  }

  /** rename(2), over what is there. */
  async rename(from: string, to: string): Promise<void> {
    const moved = this.#names.get(from);
    invariant(moved !== undefined, `${from} is there`);
    await this.#change(with_(without(this.#names, from), to, moved), async () => {
      await this.#client.meta.rename(this.#dir, Buffer.from(from), this.#dir, Buffer.from(to));
    });
    for (const file of this.#open.values()) if (file.name === from) file.name = to;
  }

  /** unlink(2). */
  async unlink(name: string): Promise<void> {
    await this.#change(without(this.#names, name), async () => {
      await this.#client.meta.unlink(this.#dir, Buffer.from(name));
    });
  }

  /** mkdir(2). */
  async mkdir(name: string): Promise<void> {
    await this.#change(with_(this.#names, name, "directory"), async () => {
      await this.#client.meta.create(this.#dir, Buffer.from(name), { mode: S_IFDIR | 0o755, uid: 0, gid: 0 });
    });
  }

  /** fsync(2) of the directory. */
  async fsyncDirectory(): Promise<void> {
    await this.#client.meta.sync();
    this.#ledger.sync();
  }

  /** Does nothing for a while. */
  sleep(ms: number): Promise<void> {
    return this.#time.sleep(ms);
  }

  get #dir(): number {
    return this.#parent.ino;
  }

  get #names(): Names {
    return this.#ledger.names;
  }

  #opened(name: string): { content: FileContent; name: string } {
    const file = this.#open.get(name);
    invariant(file !== undefined, `${name} is open`);
    return file;
  }

  #version(name: string): Version {
    const version = this.#names.get(this.#opened(name).name);
    invariant(version !== undefined && version !== "directory", `${name} is a file`);
    return version;
  }

  async #change(names: Names, act: () => Promise<unknown>): Promise<void> {
    this.#ledger.begin(names);
    await act();
    this.#ledger.acknowledge(this.#time.now);
  }
}

function emptyVersion(): Version {
  return { bytes: Buffer.alloc(0), fresh: [], isSynced: true, acknowledged: Number.POSITIVE_INFINITY };
}

/** What a version becomes by a write, or by being cut. */
function newer(before: Version, bytes: Buffer, written?: readonly [number, number]): Version {
  const fresh = [...(before.isSynced ? [] : before.fresh), ...(written === undefined ? [] : [written])];
  return { bytes, fresh, isSynced: fresh.length === 0, acknowledged: Number.POSITIVE_INFINITY };
}

function with_(names: Names, name: string, what: Version | "directory"): Names {
  return new Map([...names, [name, what]]);
}

function without(names: Names, name: string): Names {
  const rest = new Map(names);
  rest.delete(name);
  return rest;
}
