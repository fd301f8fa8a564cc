import type { Clock, Timer } from "../../common/clock.js";
import { CairnError, messageOf } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import type { Logger } from "../../common/log.js";
import { endOfDay, TRASH } from "../../common/trash.js";
import type { Editor } from "../contract.js";
import { dentriesOf, nameOfDentry } from "../namespace/keys.js";
import { readDentry } from "../namespace/records.js";
import { isSnapshotted } from "../namespace/snapshots/records.js";
import { isDirectory } from "../namespace/types.js";
import type { Key } from "../store/kv.js";

/** How often the trash is looked at, ms. */
const LOOK_MS = 60_000;
/** Names removed or passed in one turn of the event loop. */
const SLICE = 100;
/** Pause between two turns, ms: others come first. */
const PAUSE_MS = 5;

/** What the trash is emptied with. */
export interface TrashParts {
  readonly editor: Editor;
  /** Undefined when an edit may be made now; else resolves when one may. */
  readonly room: () => Promise<void> | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long what was removed is kept, ms; 0: nothing goes to the trash, and what is in it stays. */
  readonly trashMs: number;
  /** The sessions, but for one, that may have an inode open. */
  readonly mayHaveOpen: (ino: number, except: number) => number[];
}

/** A directory that is being emptied, and then removed. */
interface Level {
  readonly dir: number;
  readonly name: Buffer;
  readonly ino: number;
  names: IterableIterator<[Key, Uint8Array]>;
  /** Something below it has snapshots and stays: so it stays, too. */
  stays: boolean;
}

/** Removes the days of the trash that are over for long enough, with all that is in them, in bounded pieces. */
export class TrashExpiry {
  readonly #parts: TrashParts;
  /** From the day's folder down to what is being emptied. */
  #levels: Level[] = [];
  #ticker: Timer | undefined;
  #next: Timer | undefined;
  #removed = 0;
  /** Days with something that has snapshots: passed over until the next look. */
  readonly #kept = new Set<number>();

  constructor(parts: TrashParts) {
    this.#parts = parts;
  }

  start(): void {
    const { clock, trashMs } = this.#parts;
    if (trashMs > 0)
      this.#ticker = clock.every(LOOK_MS, () => {
        this.#kept.clear();
        this.#look();
      });
  }

  close(): void {
    this.#ticker?.clear();
    this.#next?.clear();
  }

  /** Begins with the first day that is over, unless one is being removed. */
  #look(): void {
    if (this.#levels.length > 0) return;
    const { clock, log, trashMs } = this.#parts;
    const trash = this.#folder(ROOT_INO, Buffer.from(TRASH));
    if (trash === undefined) return;
    for (const user of this.#foldersIn(trash.ino)) {
      for (const day of this.#foldersIn(user.ino)) {
        const end = endOfDay(day.name.toString());
        if (end === undefined || clock.now() < end + trashMs || this.#kept.has(day.ino)) continue;
        log.info({ user: user.name.toString(), day: day.name.toString() }, "a day of the trash is over");
        this.#levels = [day];
        this.#removed = 0;
        this.#schedule();
        return;
      }
    }
  }

  #schedule(): void {
    this.#next = this.#parts.clock.after(PAUSE_MS, () => this.#turn());
  }

  #turn(): void {
    const { room, log } = this.#parts;
    const full = room();
    try {
      if (full === undefined) for (let i = 0; i < SLICE && this.#levels.length > 0; i++) this.#step();
    } catch (err) {
      // ENOSPC, or the end of the process: begun again with the next look.
      if (!(err instanceof CairnError)) throw err;
      log.warn({ err: messageOf(err) }, "the trash could not be emptied: trying again");
      this.#levels = [];
      return;
    }
    // Waiting for room may fail; then, too, it is tried again.
    if (full !== undefined) full.then(undefined, () => undefined).then(() => this.#schedule());
    else if (this.#levels.length > 0) this.#schedule();
    else {
      log.info({ names: this.#removed }, "what could go of a day of the trash is gone");
      this.#look();
    }
  }

  /** Removes one name, or goes a level down. */
  #step(): void {
    const level = this.#levels.at(-1)!;
    const next = level.names.next();
    if (!next.done) {
      const name = nameOfDentry(next.value[0]);
      const below = this.#folder(level.ino, name);
      if (below !== undefined) this.#levels.push(below);
      else this.#unlink(level.ino, name);
      return;
    }
    const again = this.#folder(level.dir, level.name);
    if (level.stays || isSnapshotted(this.#parts.editor.kv, level.ino)) this.#stays(level);
    else if (again?.ino === level.ino) {
      // Somebody has put something into it meanwhile.
      if (!again.names.next().done) {
        level.names = this.#parts.editor.kv.range(dentriesOf(level.ino));
        return;
      }
      this.#unlink(level.dir, level.name);
    }
    this.#levels.pop();
  }

  /** A directory with snapshots is removed only when these have been deleted, as everywhere. */
  #stays({ ino, name }: Level): void {
    const above = this.#levels.at(-2);
    if (above !== undefined) above.stays = true;
    else {
      this.#kept.add(ino);
      this.#parts.log.warn(
        { day: name.toString() },
        "something in the trash has snapshots, and stays until these are deleted",
      );
    }
  }

  #unlink(dir: number, name: Buffer): void {
    const { editor, mayHaveOpen } = this.#parts;
    const dentry = readDentry(editor.kv, dir, name);
    if (dentry === undefined) return;
    editor.apply({ unlink: { dir, name, hold: 0, holders: mayHaveOpen(dentry.ino, 0) } });
    this.#removed++;
  }

  /** The directory under a name. */
  #folder(dir: number, name: Buffer): Level | undefined {
    const { kv } = this.#parts.editor;
    const dentry = readDentry(kv, dir, name);
    if (dentry === undefined || !isDirectory({ mode: dentry.type })) return undefined;
    return { dir, name, ino: dentry.ino, names: kv.range(dentriesOf(dentry.ino)), stays: false };
  }

  *#foldersIn(dir: number): Generator<Level> {
    for (const [key] of this.#parts.editor.kv.range(dentriesOf(dir))) {
      const folder = this.#folder(dir, nameOfDentry(key));
      if (folder !== undefined) yield folder;
    }
  }
}
