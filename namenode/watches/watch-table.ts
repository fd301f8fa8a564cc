/** Watches of one connection, at most: about 25 MiB. Beyond that its oldest go. */
export const MAX_WATCHES = 262_144;
/** Watches of all connections, at most: about 400 MiB. Beyond that the oldest of whoever adds one go. */
export const MAX_ALL_WATCHES = 4_194_304;
/** The share of one's watches that listings may take. */
const LISTED_SHARE = 3 / 4;

/** One that watches inodes: all that the table keeps of it. */
export class Watcher {
  /** The inodes it watches, oldest first. The table's to change. */
  readonly watched = new Set<number>();
  /** Whether watches were dropped because there were too many: it may have seen any inode. */
  overflowed = false;
}

/**
 * Who watches which inode. A watch of a directory covers its names. That nobody watches an inode is found out with one look
 * into a map, since that is asked at every edit.
 */
export class WatchTable<W extends Watcher> {
  /** Most inodes have one watcher, who then stands here without a set. */
  readonly #watchers = new Map<number, W | Set<W>>();
  readonly #most: number;
  readonly #mostOfAll: number;
  #size = 0;

  /** @param most watches of one, at most @param mostOfAll watches in all, at most */
  constructor(most = MAX_WATCHES, mostOfAll = MAX_ALL_WATCHES) {
    this.#most = most;
    this.#mostOfAll = mostOfAll;
  }

  /** Watches, of all together. */
  get size(): number {
    return this.#size;
  }

  /** Whether so many watches more leave one with room for others. */
  hasRoom({ watched }: W, more: number): boolean {
    return watched.size + more <= this.#most * LISTED_SHARE && this.#size + more <= this.#mostOfAll;
  }

  /** One watches an inode from now on. @returns an inode that it watches no longer, to make room */
  add(watcher: W, ino: number): number | undefined {
    const { watched } = watcher;
    if (watched.has(ino)) return undefined;
    let dropped: number | undefined;
    if (watched.size >= this.#most || this.#size >= this.#mostOfAll) {
      [dropped] = watched;
      if (dropped === undefined) return ino;
      this.remove(watcher, dropped);
    }
    watched.add(ino);
    this.#size++;
    const known = this.#watchers.get(ino);
    if (known === undefined) this.#watchers.set(ino, watcher);
    else if (known instanceof Set) known.add(watcher);
    else this.#watchers.set(ino, new Set([known, watcher]));
    return dropped;
  }

  /** One watches an inode no longer. */
  remove(watcher: W, ino: number): void {
    if (!watcher.watched.delete(ino)) return;
    this.#size--;
    const known = this.#watchers.get(ino);
    if (!(known instanceof Set)) this.#watchers.delete(ino);
    else if (known.delete(watcher) && known.size === 0) this.#watchers.delete(ino);
  }

  /** One watches nothing any longer. */
  clear(watcher: W): void {
    for (const ino of watcher.watched) this.remove(watcher, ino);
  }

  /** Who watches an inode. Not to be changed while it is gone through. */
  of(ino: number): Iterable<W> {
    const known = this.#watchers.get(ino);
    if (known === undefined) return [];
    return known instanceof Set ? known : [known];
  }
}
