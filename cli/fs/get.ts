import { randomBytes } from "node:crypto";
import { chmod, type FileHandle, lutimes, mkdir, open, rename, rm, stat, symlink } from "node:fs/promises";
import { basename } from "node:path";
import type { CairnClient } from "../../client/contract.js";
import { toMs } from "../../common/clock.js";
import { CairnError, wrap } from "../../common/errors.js";
import type { Inode } from "../../proto/gen/types.js";
import { isDirectory, isFile, isSymlink, typeName } from "./format.js";
import { join, normalize } from "./paths.js";
import type { Progress } from "./progress.js";
import { pages, parallel } from "./walk.js";

/** Bytes read from the file system at a time. */
const PIECE = 1 << 20;
const PARALLEL_FILES = 8;

export interface GetOptions {
  readonly recursive?: boolean;
  /** Replace what is there. */
  readonly force?: boolean;
  /** Keep mode and times. */
  readonly preserve?: boolean;
}

/** `cairn fs get`: copies files out of the file system; into `local` when that is a folder. */
export async function get(
  client: CairnClient,
  remotes: readonly string[],
  local: string,
  options: GetOptions,
  progress: Progress,
): Promise<void> {
  const into = await stat(local).then(
    (s) => s.isDirectory(),
    () => false,
  );
  if (!into && remotes.length > 1) throw new CairnError("ENOTDIR", `cannot get into ${local}: it is no folder`);
  const copy = new Download(client, options, progress);
  for (const remote of remotes.map(normalize)) {
    const inode = await client.meta.resolve(remote, true);
    const to = Buffer.from(local);
    try {
      await copy.node(inode, Buffer.from(remote), into ? join(to, Buffer.from(basename(remote))) : to);
    } catch (err) {
      throw wrap(err, `cannot get ${remote}`);
    }
  }
}

class Download {
  readonly #client: CairnClient;
  readonly #options: GetOptions;
  readonly #progress: Progress;

  constructor(client: CairnClient, options: GetOptions, progress: Progress) {
    this.#client = client;
    this.#options = options;
    this.#progress = progress;
  }

  /** Copies whatever an inode is to a local path. */
  async node(inode: Inode, remote: Buffer, local: Buffer): Promise<void> {
    if (isDirectory(inode)) return this.#folder(inode, remote, local);
    if (isFile(inode)) await this.#file(inode, local);
    else if (isSymlink(inode)) await this.#symlink(inode, local);
    else throw new CairnError("EINVAL", `${remote} is a ${typeName(inode.mode)}`);
    this.#progress.addFile();
  }

  async #folder(inode: Inode, remote: Buffer, local: Buffer): Promise<void> {
    if (this.#options.recursive !== true) throw new CairnError("EISDIR", `${remote} is a folder (use -r)`);
    await mkdir(local).catch(async (err: NodeJS.ErrnoException) => {
      if (err.code !== "EEXIST" || !(await stat(local)).isDirectory()) throw err;
    });
    for await (const entries of pages(this.#client, inode.ino)) {
      await parallel(entries, PARALLEL_FILES, (entry) =>
        this.node(entry.inode, join(remote, entry.name), join(local, entry.name)),
      );
    }
    await this.#keepAttributes(inode, local);
  }

  async #file(inode: Inode, local: Buffer): Promise<void> {
    const mode = inode.mode & (this.#options.preserve === true ? 0o7777 : 0o777);
    const temporary = Buffer.concat([local, Buffer.from(`.get-${randomBytes(4).toString("hex")}`)]);
    await this.#refuseExisting(local);
    const to = await open(temporary, "wx", mode);
    try {
      await this.#content(inode, to);
      await to.close();
      await this.#keepAttributes(inode, temporary);
      await rename(temporary, local);
    } catch (err) {
      await to.close().catch(() => undefined); // the first error is the one to tell
      await rm(temporary, { force: true });
      throw err;
    }
  }

  async #content(inode: Inode, to: FileHandle): Promise<void> {
    const content = this.#client.open(inode);
    try {
      const buffer = Buffer.allocUnsafe(PIECE);
      for (let offset = 0; ; ) {
        const count = await content.read(offset, buffer);
        if (count === 0) return;
        for (let done = 0; done < count; ) {
          done += (await to.write(buffer, done, count - done)).bytesWritten;
        }
        offset += count;
        this.#progress.addBytes(count);
      }
    } finally {
      await content.close();
    }
  }

  async #symlink(inode: Inode, local: Buffer): Promise<void> {
    await this.#refuseExisting(local);
    if (this.#options.force === true) await rm(local, { force: true });
    await symlink(inode.target, local);
  }

  async #refuseExisting(local: Buffer): Promise<void> {
    if (this.#options.force === true) return;
    const there = await stat(local).then(
      () => true,
      () => false,
    );
    if (there) throw new CairnError("EEXIST", `${local} exists already (use -f to replace it)`);
  }

  async #keepAttributes(inode: Inode, local: Buffer): Promise<void> {
    if (this.#options.preserve !== true) return;
    await chmod(local, inode.mode & 0o7777);
    await lutimes(local, toMs(inode.atime) / 1000, toMs(inode.mtime) / 1000);
  }
}
