import { randomBytes } from "node:crypto";
import { createReadStream, type Stats } from "node:fs";
import { lstat, opendir, readlink, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import type { CairnClient, NewInode } from "../../client/contract.js";
import { CairnError, wrap } from "../../common/errors.js";
import type { Inode } from "../../proto/gen/types.js";
import { isDirectory } from "./format.js";
import { join, normalize, split } from "./paths.js";
import type { Progress } from "./progress.js";
import { parallel, resolveIfAny } from "./walk.js";

/** Bytes read from the local file at a time. */
const PIECE = 1 << 20;
/** Files of one folder that are copied at the same time: hides the round trips of small ones. */
const PARALLEL_FILES = 8;
/** Mode of what is read from standard input. */
const STDIN_MODE = 0o100666;

export interface PutOptions {
  readonly recursive?: boolean;
  /** Replace what is there. */
  readonly force?: boolean;
  /** Keep mode, owner and times. */
  readonly preserve?: boolean;
}

/** `cairn fs put`: copies local files ("-": standard input) into the file system; into `remote` when that is a folder. */
export async function put(
  client: CairnClient,
  locals: readonly string[],
  remote: string,
  options: PutOptions,
  progress: Progress,
): Promise<void> {
  const target = normalize(remote);
  const existing = await resolveIfAny(client, target, true);
  const into = existing !== undefined && isDirectory(existing);
  if (!into && (locals.length > 1 || remote.endsWith("/"))) {
    throw new CairnError(existing === undefined ? "ENOENT" : "ENOTDIR", `cannot put into ${target}: it is no folder`);
  }
  const copy = new Upload(client, options, progress);
  for (const local of locals) {
    if (into) await copy.any(Buffer.from(local), existing.ino, Buffer.from(basename(resolve(local))));
    else {
      const { parent, name } = split(target);
      const folder = await client.meta.resolve(parent, true);
      await copy.any(Buffer.from(local), folder.ino, name);
    }
  }
}

class Upload {
  readonly #client: CairnClient;
  readonly #options: PutOptions;
  readonly #progress: Progress;
  readonly #umask = process.umask();

  constructor(client: CairnClient, options: PutOptions, progress: Progress) {
    this.#client = client;
    this.#options = options;
    this.#progress = progress;
  }

  /** Copies whatever a local path is to a name in a folder. */
  async any(local: Buffer, dir: number, name: Buffer): Promise<void> {
    if (local.toString() === "-") return this.#stdin(dir, name);
    try {
      // As cp does: what is named is followed, what is found below it is taken as it is.
      await this.#node(local, await stat(local), dir, name);
    } catch (err) {
      throw wrap(err, `cannot put ${local}`);
    }
  }

  async #node(local: Buffer, info: Stats, dir: number, name: Buffer): Promise<void> {
    if (info.isDirectory()) return this.#folder(local, info, dir, name);
    if (info.isFile()) {
      const content = createReadStream(local, { highWaterMark: PIECE });
      await this.#file(content, this.#newInode(info.mode, info), dir, name, info);
    } else if (info.isSymbolicLink()) {
      const target = await readlink(local, { encoding: "buffer" });
      await this.#replace(dir, name, { ...this.#newInode(0o120777, info), target }, info);
    } else throw new CairnError("EINVAL", `${local} is neither a file, a folder nor a symbolic link`);
    this.#progress.addFile();
  }

  async #folder(local: Buffer, info: Stats, dir: number, name: Buffer): Promise<void> {
    if (this.#options.recursive !== true) throw new CairnError("EISDIR", `${local} is a folder (use -r)`);
    const folder = await this.#makeFolder(this.#newInode(info.mode, info), dir, name);
    await parallel(await opendir(local, { encoding: "buffer" as BufferEncoding }), PARALLEL_FILES, async (entry) => {
      const below = entry.name as unknown as Buffer;
      const path = join(local, below);
      await this.#node(path, await lstat(path), folder.ino, below);
    });
    await this.#keepAttributes(folder.ino, info);
  }

  async #makeFolder(node: NewInode, dir: number, name: Buffer): Promise<Inode> {
    try {
      return (await this.#client.meta.create(dir, name, node)).inode;
    } catch (err) {
      if ((err as CairnError).code !== "EEXIST") throw err;
      const there = await this.#client.meta.lookup(dir, name);
      if (isDirectory(there)) return there;
      throw err;
    }
  }

  async #stdin(dir: number, name: Buffer): Promise<void> {
    await this.#file(process.stdin, this.#newInode(STDIN_MODE, undefined), dir, name, undefined);
    this.#progress.addFile();
  }

  async #file(
    source: AsyncIterable<Buffer>,
    node: NewInode,
    dir: number,
    name: Buffer,
    info: Stats | undefined,
  ): Promise<void> {
    await this.#replace(dir, name, node, info, async (inode) => {
      const content = this.#client.open(inode);
      try {
        let offset = 0;
        for await (const piece of source) {
          await content.write(offset, piece);
          offset += piece.length;
          this.#progress.addBytes(piece.length);
        }
      } finally {
        await content.close();
      }
    });
  }

  /** Makes an inode under a name of its own, fills it, and moves it to its place: nobody sees half a file. */
  async #replace(
    dir: number,
    name: Buffer,
    node: NewInode,
    info: Stats | undefined,
    fill?: (inode: Inode) => Promise<void>,
  ): Promise<void> {
    const { meta } = this.#client;
    const temporary = Buffer.from(`.put-${randomBytes(8).toString("hex")}`);
    const { inode } = await meta.create(dir, temporary, node);
    try {
      await fill?.(inode);
      await this.#keepAttributes(inode.ino, info);
      await meta.rename(dir, temporary, dir, name, { noReplace: this.#options.force !== true });
    } catch (err) {
      await meta.unlink(dir, temporary).catch(() => undefined); // the first error is the one to tell
      if ((err as CairnError).code !== "EEXIST") throw err;
      throw new CairnError("EEXIST", `${name} exists there already (use -f to replace it)`);
    }
  }

  #newInode(mode: number, info: Stats | undefined): NewInode {
    const keep = this.#options.preserve === true && info !== undefined;
    return {
      mode: keep ? mode : mode & ~this.#umask & ~0o7000,
      uid: keep ? info.uid : (process.getuid?.() ?? 0),
      gid: keep ? info.gid : (process.getgid?.() ?? 0),
    };
  }

  async #keepAttributes(ino: number, info: Stats | undefined): Promise<void> {
    if (this.#options.preserve !== true || info === undefined) return;
    const time = (ms: number) => {
      const sec = Math.floor(ms / 1000);
      return { sec, nsec: Math.floor((ms - sec * 1000) * 1e6) };
    };
    await this.#client.meta.setAttributes(ino, { atime: time(info.atimeMs), mtime: time(info.mtimeMs) });
  }
}
