import type { Clock, Timer } from "../../common/clock.js";
import { CairnError } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import { WithBody } from "../../proto/dispatch.js";
import type { BackupReplyInit, BackupRequest } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import { readCluster } from "../namespace/records.js";
import type { Snapshot, Store } from "../store/store.js";
import { backupPieces } from "./backup.js";

/** Backups under way at a time: each keeps space of the store from being used again. */
const MAX_BACKUPS = 2;
/** A backup whose next piece is not asked for is given up after this long, ms. */
const IDLE_MS = 60_000;

interface Backup {
  readonly link: Link;
  readonly snapshot: Snapshot;
  readonly pieces: Iterator<Buffer>;
  next: IteratorResult<Buffer>;
  idle: Timer;
}

/** What backups are made of. */
export interface BackupParts {
  readonly store: Pick<Store, "get" | "put" | "delete" | "range" | "snapshot">;
  readonly clock: Clock;
  readonly log: Logger;
  /** Of this software. */
  readonly version: string;
}

/** The backups that operators fetch, piece by piece, each of the store as it was at one moment. */
export class Backups {
  readonly #parts: BackupParts;
  readonly #running = new Map<number, Backup>();
  #starting = 0;
  #last = 0;

  constructor(parts: BackupParts) {
    this.#parts = parts;
  }

  /** Admin.Backup. EBUSY, ESTALE. */
  async backup({ backup }: BackupRequest, link: Link): Promise<WithBody<BackupReplyInit>> {
    const id = backup === 0 ? await this.#start(link) : backup;
    const running = this.#running.get(id);
    if (running === undefined || running.link !== link) throw new CairnError("ESTALE", `backup ${id} was given up`);
    running.idle.clear();
    const { value } = running.next;
    // One piece ahead: only so is the last one known to be it.
    running.next = running.pieces.next();
    const done = running.next.done === true;
    if (done) this.#end(id);
    else running.idle = this.#giveUpLater(id);
    return new WithBody({ backup: id, done, index: running.snapshot.index }, value);
  }

  /** Gives all up. */
  close(): void {
    for (const id of [...this.#running.keys()]) this.#end(id);
  }

  async #start(link: Link): Promise<number> {
    if (this.#running.size + this.#starting >= MAX_BACKUPS)
      throw new CairnError("EBUSY", `${MAX_BACKUPS} backups are being made already`);
    const { store, clock, log, version } = this.#parts;
    this.#starting++;
    const snapshot = await store.snapshot().finally(() => this.#starting--);
    if (!link.isOpen) {
      snapshot.close();
      throw new CairnError("ENOTCONN", "whoever wanted a backup is gone");
    }
    const id = ++this.#last;
    const { cluster } = readCluster(store);
    const pieces = backupPieces(snapshot, { cluster, version, nowMs: clock.now() });
    this.#running.set(id, { link, snapshot, pieces, next: pieces.next(), idle: this.#giveUpLater(id) });
    void link.closed.then(() => this.#end(id));
    log.info({ backup: id, index: snapshot.index }, "a backup begins");
    return id;
  }

  #giveUpLater(id: number): Timer {
    return this.#parts.clock.after(IDLE_MS, () => this.#end(id));
  }

  #end(id: number): void {
    const backup = this.#running.get(id);
    if (backup === undefined) return;
    this.#running.delete(id);
    backup.idle.clear();
    backup.snapshot.close();
    this.#parts.log.info({ backup: id, complete: backup.next.done === true }, "a backup ends");
  }
}
