import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import type { CairnClient, NewInode } from "../../client/contract.js";
import { CairnError, codeOf, wrap } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import type { Inode } from "../../proto/gen/types.js";
import { isDirectory } from "./format.js";
import { normalize, split } from "./paths.js";
import type { Progress } from "./progress.js";
import { pages, parallel, resolveIfAny } from "./walk.js";

const { S_IFMT, S_IFREG, S_IFLNK } = constants;
/** Files of one folder that are copied at the same time: hides the round trips. */
const PARALLEL_FILES = 8;
/** Permission bits but setuid, setgid and sticky, which a copy does not get, as with cp. */
const COPIED_BITS = 0o777;

export interface CpOptions {
  readonly recursive?: boolean;
  /** Replace what is there. */
  readonly force?: boolean;
}

/**
 * `cairn fs cp`: copies files within the cluster, into `target` when that is a folder. A copy refers to the blocks of its original:
 * no bytes move, whatever their number.
 */
export async function cp(
  client: CairnClient,
  sources: readonly string[],
  target: string,
  options: CpOptions,
  progress: Progress,
): Promise<void> {
  const to = normalize(target);
  const existing = await resolveIfAny(client, to, true);
  const into = existing !== undefined && isDirectory(existing);
  if (!into && (sources.length > 1 || target.endsWith("/"))) {
    throw new CairnError(existing === undefined ? "ENOENT" : "ENOTDIR", `cannot copy into ${to}: it is no folder`);
  }
  const copy = new Copy(client, options, progress);
  for (const source of sources.map(normalize)) {
    try {
      const place = into ? { ...split(source), dir: existing.ino } : await placeOf(client, to);
      // As cp does: what is named is followed, what is found below it is taken as it is.
      await copy.named(await client.meta.resolve(source, true), place.dir, place.name);
    } catch (err) {
      throw wrap(err, `cannot copy ${source}`);
    }
  }
}

async function placeOf(client: CairnClient, path: string): Promise<{ dir: number; name: Buffer }> {
  const { parent, name } = split(path);
  return { dir: (await client.meta.resolve(parent, true)).ino, name };
}

class Copy {
  readonly #client: CairnClient;
  readonly #options: CpOptions;
  readonly #progress: Progress;
  readonly #umask = process.umask();

  constructor(client: CairnClient, options: CpOptions, progress: Progress) {
    this.#client = client;
    this.#options = options;
    this.#progress = progress;
  }

  /** Copies what was named to a name in a folder. */
  async named(source: Inode, dir: number, name: Uint8Array): Promise<void> {
    if (isDirectory(source)) await this.#checkOutside(source.ino, dir);
    await this.#any(source, dir, name);
  }

  /** EINVAL when a folder is to be copied into itself: it would never end. */
  async #checkOutside(source: number, dir: number): Promise<void> {
    for (let at = dir; ; at = (await this.#client.meta.getInode(at)).parent) {
      if (at === source) throw new CairnError("EINVAL", "a folder cannot be copied into itself");
      if (at === ROOT_INO) return;
    }
  }

  async #any(source: Inode, dir: number, name: Uint8Array): Promise<void> {
    if (isDirectory(source)) return this.#folder(source, dir, name);
    const type = source.mode & S_IFMT;
    if (type === S_IFREG) await this.#make(source, {}, dir, name, (copy) => this.#content(source, copy));
    else if (type === S_IFLNK) await this.#make(source, { target: source.target, mode: source.mode }, dir, name);
    else throw new CairnError("EINVAL", `${Buffer.from(name)} is neither a file, a folder nor a symbolic link`);
    this.#progress.addFile();
  }

  async #folder(source: Inode, dir: number, name: Uint8Array): Promise<void> {
    if (this.#options.recursive !== true) throw new CairnError("EISDIR", "it is a folder (use -r)");
    const { meta } = this.#client;
    const folder = await meta.create(dir, name, this.#like(source)).then(
      ({ inode }) => inode,
      async (err) => {
        const there = codeOf(err) === "EEXIST" ? await meta.lookup(dir, name) : undefined;
        if (there === undefined || !isDirectory(there)) throw err;
        return there;
      },
    );
    for await (const entries of pages(this.#client, source.ino)) {
      await parallel(entries, PARALLEL_FILES, (entry) => this.#any(entry.inode!, folder.ino, Buffer.from(entry.name)));
    }
  }

  async #content(source: Inode, copy: Inode): Promise<void> {
    const [from, to] = [this.#client.open(source), this.#client.open(copy)];
    try {
      for (let at = 0; at < source.size; ) {
        const { copied } = await to.copyFrom(from, at, at, source.size - at);
        if (copied === 0) break; // it has become shorter
        at += copied;
        this.#progress.addBytes(copied);
      }
    } finally {
      await Promise.all([from.close(), to.close()]);
    }
  }

  /** Makes an inode under a name of its own, fills it, and moves it to its place: nobody sees half a file. */
  async #make(
    source: Inode,
    more: Partial<NewInode>,
    dir: number,
    name: Uint8Array,
    fill?: (copy: Inode) => Promise<void>,
  ): Promise<void> {
    const { meta } = this.#client;
    const temporary = Buffer.from(`.cp-${randomBytes(8).toString("hex")}`);
    const { inode } = await meta.create(dir, temporary, { ...this.#like(source), ...more });
    try {
      await fill?.(inode);
      await meta.rename(dir, temporary, dir, name, { noReplace: this.#options.force !== true });
    } catch (err) {
      await meta.unlink(dir, temporary).catch(() => undefined); // the first error is the one to tell
      if (codeOf(err) !== "EEXIST") throw err;
      throw new CairnError("EEXIST", `${Buffer.from(name)} exists there already (use -f to replace it)`);
    }
  }

  #like({ mode }: Inode): NewInode {
    const permissions = mode & COPIED_BITS & ~this.#umask;
    return { mode: (mode & S_IFMT) | permissions, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  }
}
