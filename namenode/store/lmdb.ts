import { once } from "node:events";
import { setImmediate } from "node:timers/promises";
import { getSystemErrorName } from "node:util";
import { Worker } from "node:worker_threads";
import { type Database, open, type RootDatabase, type Transaction } from "lmdb";
import type { Clock } from "../../common/clock.js";
import { CairnError, wrap } from "../../common/errors.js";
import { GIB } from "../../common/limits.js";
import type { Logger } from "../../common/log.js";
import { encodeBatches } from "./batch.js";
import type { Key } from "./kv.js";
import { type Base, type BaseSnapshot, LayeredStore } from "./layered-store.js";
import type { Piece, ScanRange } from "./merge.js";
import type { Overlay } from "./overlay.js";

/**
 * Address space set aside for the database, bytes: about a billion files. It is no memory and no disk space. LMDB would
 * grow the map by itself; a map that never moves is simpler to trust.
 */
const MAP_SIZE = 1024 * GIB;
/** Keys and values up to these lengths are copied faster byte by byte than by a call, bytes. */
const SHORT_KEY = 24;
const SHORT_VALUE = 200;
/** Layout of the database. Another one is refused. */
const FORMAT = 1;

/** The databases of the store's environment, opened the same way by the thread that reads and the one that writes. */
export interface Databases {
  readonly root: RootDatabase<Buffer, string>;
  /** The entries. */
  readonly data: Database<Buffer, Key>;
  /** "index" → index of the last edit in `data`, "format" → FORMAT; as doubles. */
  readonly meta: Database<Buffer, string>;
}

/** Keys as the bytes that the characters of our strings stand for. */
const keyEncoder = {
  writeKey: (key: Key, target: Buffer, at: number): number => {
    if (key.length > SHORT_KEY) return at + target.write(key, at, "latin1");
    for (let i = 0; i < key.length; i++) target[at + i] = key.charCodeAt(i);
    return at + key.length;
  },
  readKey: (source: Buffer, start: number, end: number): Key => source.toString("latin1", start, end),
};

/** Opens (and makes) the environment in a folder. */
export function openDatabases(folder: string): Databases {
  const environment = {
    path: folder,
    noSubdir: false,
    // A commit syncs before it becomes visible: what a reader sees is on the disk. Nobody waits for it.
    overlappingSync: false,
    // Who looks one name up does not want the 128 KiB around it: with them, a thousand lookups in a store of 600 MB that was not in the
    // page cache read all of it, in three times the time. Whole scans of such a store take two to three times as long instead.
    noReadAhead: true,
    mapSize: MAP_SIZE,
    maxDbs: 2,
    encoding: "binary" as const,
  };
  const root = open<Buffer, string>(environment);
  return {
    root,
    data: root.openDB<Buffer, Key>({ name: "data", encoding: "binary", keyEncoder } as { name: string }),
    meta: root.openDB<Buffer, string>({ name: "meta", encoding: "binary" }),
  };
}

/** A number as stored in `meta`. */
export function encodeNumber(value: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeDoubleLE(value);
  return out;
}

/** What the writing thread is told: the batches of a transaction, then to commit them with an index; to close. */
export type WriterRequest = { batch: Uint8Array } | { commit: number } | "close";
/** What it answers to a commit: nothing, or why nothing was written. */
export interface WriterReply {
  error?: { message: string; code: unknown };
}

/** The range of one key. */
function onlyKey(key: Key): ScanRange {
  return { gte: key, lt: `${key}\0`, reverse: false, exclusive: false, limit: 1, maxBytes: 1 };
}

/** The first entries of a range; as a transaction sees them, or else as they are now. */
function scanPiece(db: Databases, asked: ScanRange, transaction?: Transaction): Piece {
  const { gte, lt, reverse, exclusive, limit, maxBytes } = asked;
  const entries: [Key, Uint8Array][] = [];
  let bytes = 0;
  const seen = transaction === undefined ? {} : { transaction };
  // In reverse, LMDB's range goes from `start` down to `end`.
  const range = reverse
    ? db.data.getRange({ start: lt, end: gte, exclusiveStart: true, inclusiveEnd: true, reverse, limit, ...seen })
    : db.data.getRange({ start: gte, end: lt, exclusiveStart: exclusive, limit, ...seen });
  for (const { key, value } of range) {
    entries.push([key, value]);
    bytes += value.length;
    if (bytes >= maxBytes) break;
  }
  return { entries, complete: entries.length < limit && bytes < maxBytes };
}

/** LMDB as the base of a store: reads on this thread, whole overlays written by another. */
class LmdbBase implements Base {
  readonly index: number;
  readonly #folder: string;
  readonly #db: Databases;
  #writer: Worker | undefined;

  constructor(folder: string) {
    this.#folder = folder;
    this.#db = openDatabases(folder);
    const format = this.#db.meta.getBinary("format");
    if (format === undefined) this.#db.meta.putSync("format", encodeNumber(FORMAT));
    else if (format.readDoubleLE() !== FORMAT) {
      throw new CairnError(
        "EINVAL",
        `open the store in ${folder}: it has format ${format.readDoubleLE()}, not ${FORMAT}`,
      );
    }
    this.index = this.#db.meta.getBinary("index")?.readDoubleLE() ?? 0;
  }

  get(key: Key): Uint8Array | undefined {
    // LMDB's bytes are overwritten by the next get. Copying them here is faster than having it return a copy.
    const shared = this.#db.data.getBinaryFast(key);
    if (shared === undefined) return undefined;
    const { length } = shared;
    if (length > SHORT_VALUE) return Uint8Array.prototype.slice.call(shared, 0, length);
    const value = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i++) value[i] = shared[i]!;
    return value;
  }

  scan(range: ScanRange): Piece {
    return scanPiece(this.#db, range);
  }

  async write(overlay: Overlay, index: number): Promise<void> {
    const writer = this.#startWriter();
    for (const batch of encodeBatches(overlay)) {
      writer.postMessage({ batch } satisfies WriterRequest, [batch.buffer]);
      // The overlay may be large, and those who wait for replies must not wait for all of it.
      await setImmediate();
    }
    const { error } = await this.#commit(writer, index);
    if (error) {
      const code = typeof error.code === "number" && error.code > 0 ? getSystemErrorName(-error.code) : "EIO";
      throw new CairnError(code, `write ${overlay.size} entries to ${this.#folder}: ${error.message}`);
    }
    // Reads in this turn may have begun a transaction, which would go on seeing what was before.
    this.#db.root.resetReadTxn();
  }

  snapshot(): BaseSnapshot {
    const db = this.#db;
    // What was written by the other thread is not seen by a transaction that began before.
    db.root.resetReadTxn();
    const transaction = db.root.useReadTransaction();
    const [index] = db.meta.getRange({ start: "index", limit: 1, transaction });
    return {
      index: index?.value.readDoubleLE() ?? 0,
      get: (key) => scanPiece(db, onlyKey(key), transaction).entries[0]?.[1],
      scan: (range) => scanPiece(db, range, transaction),
      close: () => transaction.done(),
    };
  }

  async close(): Promise<void> {
    const writer = this.#writer;
    if (writer) {
      const exited = once(writer, "exit");
      writer.postMessage("close" satisfies WriterRequest);
      await exited;
    }
    await this.#db.root.close();
  }

  /** The writing thread, started when there is none. */
  #startWriter(): Worker {
    if (this.#writer) return this.#writer;
    const writer = new Worker(new URL("./lmdb-writer.js", import.meta.url), { workerData: this.#folder });
    const forget = () => {
      if (this.#writer === writer) this.#writer = undefined;
    };
    writer.once("error", forget);
    writer.once("exit", forget);
    this.#writer = writer;
    return writer;
  }

  /** Has the writing thread commit what it was sent. Rejects when the thread has ended. */
  #commit(writer: Worker, index: number): Promise<WriterReply> {
    return new Promise<WriterReply>((resolve, reject) => {
      const onEnd = (err: unknown) => reject(wrap(err, `write to ${this.#folder}: the writing thread ended`));
      if (this.#writer !== writer) return onEnd("early");
      writer.once("error", onEnd);
      writer.once("exit", onEnd);
      writer.once("message", (reply: WriterReply) => {
        writer.off("error", onEnd);
        writer.off("exit", onEnd);
        resolve(reply);
      });
      writer.postMessage({ commit: index } satisfies WriterRequest);
    });
  }
}

export interface LmdbStoreOptions {
  /** The folder of the database; made when missing. Only one process may have it open: see lock.ts. */
  folder: string;
  clock: Clock;
  log: Logger;
  /** Override of MAX_OVERLAY_BYTES. */
  maxOverlayBytes?: number;
}

/** Opens the store in a folder. */
export function openLmdbStore({ folder, ...options }: LmdbStoreOptions): LayeredStore {
  return new LayeredStore({ base: new LmdbBase(folder), ...options });
}
