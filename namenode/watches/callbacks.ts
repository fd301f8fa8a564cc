import { LINK_HIGH_WATER } from "../../common/limits.js";
import type { Logger } from "../../common/log.js";
import { ClientPush } from "../../proto/gen/services.js";
import type { Edit, Time } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import type { Effects } from "../contract.js";
import { Watcher, WatchTable } from "./watch-table.js";

/** Inodes and names in one push, at most: with names of 255 bytes it stays far below MAX_MESSAGE. */
const MAX_CHANGES = 4096;
const NONE: readonly number[] = [];

/** A client's connection, and what it is to be told at the end of this turn of the event loop. */
class Connection extends Watcher {
  readonly session: number;
  readonly link: Link;
  readonly attributes = new Set<number>();
  readonly contents = new Set<number>();
  readonly nameless = new Set<number>();
  readonly forgotten = new Set<number>();
  /** Inode → its access time, of those that were only read. */
  readonly accessed = new Map<number, Time>();
  names: { dir: number; name: Uint8Array }[] = [];

  constructor(session: number, link: Link) {
    super();
    this.session = session;
    this.link = link;
  }

  get count(): number {
    const { attributes, contents, nameless, forgotten, accessed, names } = this;
    return attributes.size + contents.size + nameless.size + forgotten.size + accessed.size + names.length;
  }

  /** Hands what is to be told to its link. False: the client does not keep up. */
  push(): boolean {
    if (this.link.bufferedBytes > LINK_HIGH_WATER) return false;
    this.link.push(ClientPush.changed, {
      attributes: [...this.attributes].filter((ino) => !this.contents.has(ino)),
      contents: [...this.contents],
      names: this.names,
      nameless: [...this.nameless],
      forgotten: [...this.forgotten],
      accessed: Array.from(this.accessed, ([ino, atime]) => ({ ino, atime })),
    });
    for (const told of [this.attributes, this.contents, this.nameless, this.forgotten, this.accessed]) told.clear();
    this.names = [];
    return true;
  }
}

/**
 * Tells clients that cache what others have changed: which connection was told of which inode is remembered here, in memory
 * only, and every edit of another session to it is pushed, once per turn of the event loop. A client that does not keep up
 * loses its connection, as does one whose connection breaks: it comes back, and believes nothing of before.
 */
export class Callbacks {
  readonly #log: Logger;
  readonly #lives: (session: number) => boolean;
  readonly #table: WatchTable<Connection>;
  readonly #connections = new Map<Link, Connection>();
  readonly #told = new Set<Connection>();
  /** Sessions without a connection that may come back. */
  readonly #absent = new Set<number>();
  #turnEnd: NodeJS.Immediate | undefined;

  /**
   * @param lives whether a session has not ended
   * @param table how much may be watched
   */
  constructor(log: Logger, lives: (session: number) => boolean, table: WatchTable<Connection> = new WatchTable()) {
    this.#log = log;
    this.#lives = lives;
    this.#table = table;
  }

  /** Watches of all clients. */
  get size(): number {
    return this.#table.size;
  }

  /** A session that is not connected, and may watch, may come back: until then it may have anything open. */
  expect(session: number): void {
    this.#absent.add(session);
  }

  /** A session will not come back, or does not watch. */
  ended(session: number): void {
    this.#absent.delete(session);
  }

  /**
   * A session watches what it is told over a link from now on, until that closes.
   * @param held inodes without a name that are kept for it
   */
  open(session: number, link: Link, held: readonly number[] = []): void {
    const connection = new Connection(session, link);
    this.#connections.set(link, connection);
    this.#absent.delete(session);
    for (const ino of held) connection.nameless.add(ino);
    if (held.length > 0) this.#tell(connection);
    void link.closed.then(() => {
      this.#connections.delete(link);
      if (this.#lives(session) && !this.#isConnected(session)) this.#absent.add(session);
      this.#told.delete(connection);
      this.#table.clear(connection);
    });
  }

  /** The client behind a link is being told of an inode (of a directory: of names in it). Before the next edit is made. */
  told(link: Link, ...inos: readonly number[]): void {
    const connection = this.#connections.get(link);
    if (connection === undefined) return;
    for (const ino of inos) {
      const dropped = this.#table.add(connection, ino);
      if (dropped === undefined) continue;
      connection.overflowed = true;
      connection.forgotten.add(dropped);
      this.#tell(connection);
    }
  }

  /** Whether a client may be told of so many more inodes at once, by a listing, without that it loses what it watches for other reasons. */
  hasRoom(link: Link, more: number): boolean {
    const connection = this.#connections.get(link);
    return connection === undefined || this.#table.hasRoom(connection, more);
  }

  /** The client behind a link caches nothing of these inodes any more. */
  forget(link: Link, inos: readonly number[]): void {
    const connection = this.#connections.get(link);
    if (connection !== undefined) for (const ino of inos) this.#table.remove(connection, ino);
  }

  /** The session that watches over a link; undefined when none does. */
  sessionOf(link: Link): number | undefined {
    return this.#connections.get(link)?.session;
  }

  /** Whether a session other than this one watches an inode, or may. */
  isWatchedByOthers(ino: number, session: number): boolean {
    for (const watcher of this.#table.of(ino)) if (watcher.session !== session) return true;
    return false;
  }

  /** The sessions, but for one, that may have an inode open. */
  mayHaveOpen(ino: number, except: number): number[] {
    const sessions = new Set<number>();
    for (const { session } of this.#table.of(ino)) sessions.add(session);
    for (const { session, overflowed } of this.#connections.values()) if (overflowed) sessions.add(session);
    for (const session of this.#absent) sessions.add(session);
    sessions.delete(except);
    return [...sessions];
  }

  /** An edit has been applied. */
  applied(edit: Edit, effects: Effects): void {
    if (this.#connections.size === 0) return;
    const by = edit.call?.session ?? edit.access?.session ?? 0;
    const kept = keepsContent(edit);
    for (const ino of effects.touched ?? NONE) {
      for (const watcher of this.#table.of(ino)) {
        if (watcher.session === by) continue;
        (kept ? watcher.attributes : watcher.contents).add(ino);
        this.#tell(watcher);
      }
    }
    for (const { ino, atime } of effects.accessed ?? []) {
      for (const watcher of this.#table.of(ino)) {
        if (watcher.session === by) continue;
        watcher.accessed.set(ino, atime);
        this.#tell(watcher);
      }
    }
    for (const { dir, name } of effects.names ?? []) {
      for (const watcher of this.#table.of(dir)) {
        if (watcher.session === by) continue;
        watcher.names.push({ dir, name });
        this.#tell(watcher);
      }
    }
    if (effects.held !== undefined) this.#nameless(effects.held.ino, effects.held.sessions, by);
  }

  close(): void {
    if (this.#turnEnd !== undefined) clearImmediate(this.#turnEnd);
  }

  #isConnected(session: number): boolean {
    for (const connection of this.#connections.values()) if (connection.session === session) return true;
    return false;
  }

  #nameless(ino: number, sessions: readonly number[], by: number): void {
    for (const connection of this.#connections.values()) {
      if (connection.session === by || !sessions.includes(connection.session)) continue;
      connection.nameless.add(ino);
      this.#tell(connection);
    }
  }

  #tell(connection: Connection): void {
    this.#told.add(connection);
    if (connection.count >= MAX_CHANGES) this.#push(connection);
    else this.#turnEnd ??= setImmediate(() => this.#endTurn());
  }

  #endTurn(): void {
    this.#turnEnd = undefined;
    for (const connection of this.#told) this.#push(connection);
  }

  #push(connection: Connection): void {
    this.#told.delete(connection);
    if (connection.push()) return;
    this.#log.warn({ session: connection.session }, "a client does not keep up with the changes it is told of");
    connection.link.terminate("it does not keep up with the changes it is told of");
  }
}

/** Whether an edit leaves the content of the files it touches as it was. What is not known to do so does not. */
function keepsContent(edit: Edit): boolean {
  if (edit.setAttributes !== null) return edit.setAttributes.size === null;
  return [edit.create, edit.link, edit.unlink, edit.rename, edit.setXattr, edit.removeXattr].some((op) => op !== null);
}
