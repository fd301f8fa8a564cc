import { type AsidePlace, moveAside, type Place } from "../client/aside.js";
import type { Metadata } from "../client/contract.js";
import { trashFolder } from "../client/trash.js";
import type { Clock } from "../common/clock.js";
import { CairnError, codeOf } from "../common/errors.js";
import { evictOldest } from "../common/evict.js";
import { MAX_DIRECTORY_PAGE, ROOT_INO } from "../common/limits.js";
import { dayOf, TRASH } from "../common/trash.js";
import { isDirectory } from "./inode.js";
import type { Caller } from "./types.js";

/** Directories whose names are remembered, at most. */
const MAX_PLACES = 65_536;
/** Folders of the trash that are remembered, at most, and for how long, ms: a program that removes a file removes others, too. */
const MAX_FOLDERS = 1_024;
const FOLDER_MS = 1_000;
/** What lay deeper than this goes to the trash without its path. */
const MAX_DEPTH = 256;
/** Errors that say that a folder of the trash is not there any more. */
const GONE = new Set(["ENOENT", "ESTALE", "ENOTDIR"]);

/** What a mount's trash is made of. */
export interface MountTrashParts {
  /** Of the whole cluster. */
  readonly meta: Metadata;
  /** The directory that is the mount's root. */
  readonly top: number;
  /** How long the cluster's trash keeps anything, ms; 0: there is none. */
  readonly trashMs: () => number;
  /** The name of a user. */
  readonly userName: (uid: number) => Promise<string>;
  readonly clock: Clock;
}

/** What came of a removal. Numbers are the cluster's. */
export interface Trashed {
  /** What was moved. */
  readonly ino: number;
  /** Names that are new, or may be: where it is now, and the folders above. */
  readonly places: readonly Place[];
}

interface KnownFolder {
  /** Undefined: the directory is in the trash itself. */
  readonly folder: AsidePlace | undefined;
  readonly until: number;
}

/**
 * What programs remove on a mount goes to the trash, to where `cairn fs rm` moves it. A directory is known by its number here, so its path is
 * found from below: the names that directories were seen under are remembered, and looked up before they are believed.
 */
export class MountTrash {
  readonly #parts: MountTrashParts;
  readonly #places = new Map<number, Place>();
  readonly #folders = new Map<string, KnownFolder>();

  constructor(parts: MountTrashParts) {
    this.#parts = parts;
  }

  /** A directory has a name in another one. Numbers are the mount's. */
  saw(dir: number, name: Buffer, ino: number): void {
    this.#saw({ dir: this.#number(dir), name }, this.#number(ino));
  }

  /** The mount's number of an inode of the cluster. */
  shown(ino: number): number {
    return ino === this.#parts.top ? ROOT_INO : ino;
  }

  /**
   * Moves a name (the directory's number is the mount's) to the trash of whoever removes it. Undefined, and nothing is done, when it is to
   * be removed for good: it is in the trash already, is a directory, or the quota has no room for the folders of the trash.
   * ENOENT.
   */
  async take(mountDir: number, name: Buffer, caller: Caller): Promise<Trashed | undefined> {
    const { meta, trashMs } = this.#parts;
    if (trashMs() === 0) return undefined;
    const dir = this.#number(mountDir);
    const inode = await meta.lookup(dir, name);
    if (isDirectory(inode)) return undefined;
    for (let isKnown = true; ; isKnown = false) {
      try {
        const folder = await this.#folder(dir, caller, isKnown);
        if (folder === undefined) return undefined;
        const { place } = await moveAside(meta, { dir, name }, folder, String(inode.ino));
        return { ino: inode.ino, places: [...folder.places, place] };
      } catch (err) {
        // Somebody may have emptied the trash since the folder was found.
        if (isKnown && GONE.has(codeOf(err))) continue;
        if (codeOf(err) === "EDQUOT") return undefined;
        throw err;
      }
    }
  }

  /** Where what is removed in a directory goes. @param mayKnow whether the answer to an earlier question will do */
  async #folder(dir: number, { uid, gid }: Caller, mayKnow: boolean): Promise<AsidePlace | undefined> {
    const { meta, clock, userName } = this.#parts;
    const key = `${dir} ${uid} ${dayOf(clock.now())}`;
    const known = this.#folders.get(key);
    if (mayKnow && known !== undefined && known.until > clock.monotonic()) return known.folder;
    const above = await this.#pathOf(dir);
    const isInTrash = above[0]?.equals(Buffer.from(TRASH)) === true;
    const owner = { name: await userName(uid), uid, gid };
    const path = above.length > MAX_DEPTH ? [] : above;
    const folder = isInTrash ? undefined : await trashFolder(meta, owner, clock.now(), path);
    this.#folders.delete(key);
    this.#folders.set(key, { folder, until: clock.monotonic() + FOLDER_MS });
    evictOldest(this.#folders, MAX_FOLDERS);
    return folder;
  }

  /** The names that lead to a directory from the cluster's root. */
  async #pathOf(dir: number): Promise<Buffer[]> {
    const names: Buffer[] = [];
    for (let ino = dir; ino !== ROOT_INO; ) {
      const { parent } = await this.#parts.meta.getInode(ino);
      names.unshift(await this.#nameIn(parent, ino));
      ino = parent;
    }
    return names;
  }

  /** The name of a directory in the one above it. ENOENT when it has just been moved. */
  async #nameIn(parent: number, ino: number): Promise<Buffer> {
    const { meta } = this.#parts;
    const seen = this.#places.get(ino);
    if (seen?.dir === parent) {
      const inode = await meta.lookup(parent, seen.name).catch(unlessMissing);
      if (inode?.ino === ino) return seen.name;
    }
    for (let after: Uint8Array = Buffer.alloc(0); ; ) {
      const { entries, more } = await meta.readDirectory(parent, after, MAX_DIRECTORY_PAGE);
      const found = entries.find(({ inode }) => inode.ino === ino);
      if (found !== undefined) {
        const name = Buffer.from(found.name);
        this.#saw({ dir: parent, name }, ino);
        return name;
      }
      if (!more) throw new CairnError("ENOENT", `directory ${ino} has no name in directory ${parent}`);
      after = entries.at(-1)!.name;
    }
  }

  #saw(place: Place, ino: number): void {
    this.#places.delete(ino);
    this.#places.set(ino, place);
    evictOldest(this.#places, MAX_PLACES);
  }

  /** The cluster's number of an inode of the mount. */
  #number(ino: number): number {
    return ino === ROOT_INO ? this.#parts.top : ino;
  }
}

function unlessMissing(err: unknown): undefined {
  if (codeOf(err) !== "ENOENT") throw err;
}
