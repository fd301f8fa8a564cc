import { randomInt } from "node:crypto";
import { readFileSync, renameSync, writeSync } from "node:fs";
import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "../../common/clock.js";
import { CairnError, InvariantError, invariant, messageOf, wrap } from "../../common/errors.js";
import { MIB } from "../../common/limits.js";
import type { Logger } from "../../common/log.js";
import { type Deferred, deferred } from "./deferred.js";
import { GroupSync } from "./group-sync.js";
import { type Journal, type JournalEntry, MAX_RECORD, SYNC_INTERVAL_MS } from "./journal.js";
import { decodeHeader, encodeHeader, encodeRecord, frameSize, SEGMENT_HEADER, scanRecords } from "./record.js";
import { type Recovered, recover } from "./recovery.js";
import { createSpare, SEGMENT_BYTES, type SegmentFile, segmentPath, sparePath, syncFolder } from "./segment.js";
import { SpareSegment } from "./spare.js";

/** Bytes gathered in one turn before they are written without waiting for its end. */
const MAX_STAGED = 1 * MIB;

export interface FileJournalOptions {
  /** The folder of the segments; made when missing. */
  folder: string;
  /** Index of the store's last edit: records up to it are not needed any more. */
  after: number;
  clock: Clock;
  log: Logger;
  /** Override of SYNC_INTERVAL_MS, ms. 0: every record is synced as soon as the sync before it is done. */
  syncIntervalMs?: number;
  /** Override of SEGMENT_BYTES. Room for at least one record of `maxRecord`. */
  segmentBytes?: number;
  /** Override of MAX_RECORD, bytes. */
  maxRecord?: number;
  /** Told when the journal cannot be written or synced. By default the error is thrown, uncaught: the process stops. */
  onFatal?: (err: InvariantError) => void;
  /** A random 32-bit number. */
  random?: () => number;
}

/** A segment that is open for writing. */
interface OpenSegment extends SegmentFile {
  readonly file: FileHandle;
  readonly salt: number;
  readonly capacity: number;
}

/**
 * The journal as segment files in a folder: preallocated, checksummed, appended once per turn of the event loop with one
 * write into the page cache (synchronous: another thread would cost more than the write), synced in groups.
 */
export class FileJournal implements Journal {
  readonly #options: Required<FileJournalOptions>;
  readonly #segments: SegmentFile[];
  readonly #sync: GroupSync;
  readonly #spare: SpareSegment;
  /** Segments written since the last sync, the current one not included. */
  #rotated: OpenSegment[] = [];
  #current: OpenSegment;
  /** Offset in the current segment of what is staged. */
  #offset: number;
  #staged: Buffer = Buffer.allocUnsafeSlow(MAX_STAGED);
  #stagedBytes = 0;
  #lastIndex: number;
  #writtenIndex: number;
  /** Those who wait for the end of this turn. */
  #turn: Deferred | undefined;
  #turnEnd: NodeJS.Immediate | undefined;
  #trimming: Promise<void> = Promise.resolve();
  #failure: InvariantError | undefined;
  #closed = false;

  private constructor(options: Required<FileJournalOptions>, found: Recovered, current: OpenSegment) {
    this.#options = options;
    this.#segments = found.segments;
    this.#current = current;
    this.#offset = found.end;
    this.#lastIndex = found.lastIndex;
    this.#writtenIndex = found.lastIndex;
    this.#sync = new GroupSync({
      clock: options.clock,
      intervalMs: options.syncIntervalMs,
      syncedIndex: found.lastIndex,
      sync: () => this.#syncWritten(),
      onFailure: (err) => this.#fail(err, "sync"),
    });
    this.#spare = new SpareSegment(options);
  }

  /**
   * Opens the journal in a folder, cutting off what was torn. Everything in it is on the disk then. Throws EIO when it is
   * damaged, ENOSPC when there is no space for a segment.
   */
  static async open(options: FileJournalOptions): Promise<FileJournal> {
    const full: Required<FileJournalOptions> = {
      syncIntervalMs: SYNC_INTERVAL_MS,
      segmentBytes: SEGMENT_BYTES,
      maxRecord: MAX_RECORD,
      onFatal: throwUncaught,
      random: () => randomInt(2 ** 32),
      ...options,
    };
    const { folder, after, segmentBytes, log } = full;
    invariant(segmentBytes >= SEGMENT_HEADER + frameSize(full.maxRecord), "a record fits into a segment");
    try {
      await mkdir(folder, { recursive: true });
      const found = await recover(folder, after, segmentBytes, log);
      const current = await openLast(full, found);
      for (const { path } of found.segments.slice(0, -1)) {
        const file = await open(path, "r+");
        await file.datasync().finally(() => file.close());
      }
      await syncFolder(folder);
      await syncFolder(dirname(folder));
      return new FileJournal(full, found, current);
    } catch (err) {
      throw wrap(err, `open the journal in ${folder}`);
    }
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  get syncedIndex(): number {
    return this.#sync.syncedIndex;
  }

  get hasRoom(): boolean {
    return this.#spare.isReady || this.#free >= frameSize(this.#options.maxRecord);
  }

  waitForRoom(): Promise<void> {
    if (this.hasRoom) return Promise.resolve();
    return this.#spare.whenReady();
  }

  append(index: number, record: Uint8Array): void {
    if (this.#failure) throw this.#failure;
    invariant(!this.#closed, "a record is appended to an open journal");
    invariant(
      index === this.#lastIndex + 1,
      () => `record ${index} follows record ${index - 1}, not ${this.#lastIndex}`,
    );
    invariant(
      record.length <= this.#options.maxRecord,
      () => `a record of ${record.length} bytes is too large for the journal`,
    );
    const size = frameSize(record.length);
    if (size > this.#free) this.#rotate(index);
    this.#stage(size, (target, at) =>
      encodeRecord(target, at, this.#current.salt, { index, synced: this.#sync.syncedIndex, record }),
    );
    if (this.#failure) throw this.#failure;
    this.#lastIndex = index;
    this.#turnEnd ??= setImmediate(() => this.#endTurn());
  }

  appended(index: number): Promise<void> {
    if (index <= this.#writtenIndex) return Promise.resolve();
    if (this.#failure) return Promise.reject(this.#failure);
    invariant(index <= this.#lastIndex, () => `record ${index} has not been appended`);
    this.#turn ??= deferred();
    return this.#turn.promise;
  }

  synced(index: number): Promise<void> {
    // Not written before the end of the turn, so that all of the turn share a sync.
    return index <= this.#writtenIndex
      ? this.#sync.synced(index)
      : this.appended(index).then(() => this.#sync.synced(index));
  }

  onSynced(listener: (index: number) => void): void {
    this.#sync.onSynced(listener);
  }

  *read(fromIndex: number): IterableIterator<JournalEntry> {
    const lastIndex = this.#writtenIndex;
    let next = fromIndex;
    for (const [i, { path }] of [...this.#segments].entries()) {
      const following = this.#segments[i + 1]?.first ?? Number.POSITIVE_INFINITY;
      if (following <= next || next > lastIndex) continue;
      const bytes = readFileSync(path);
      const header = decodeHeader(bytes);
      if (header === undefined) break;
      for (const { index, record } of scanRecords(bytes, header.salt, next)) {
        if (index !== next) break;
        next++;
        yield { index, record };
        if (index === lastIndex) return;
      }
    }
    if (next <= lastIndex) {
      throw new CairnError("EIO", `read record ${next} of the journal in ${this.#options.folder}: it is not there`);
    }
  }

  trim(belowIndex: number): Promise<void> {
    this.#trimming = this.#trimming.then(() => this.#trim(belowIndex));
    return this.#trimming;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    if (!this.#failure) await this.synced(this.#lastIndex);
    this.#closed = true;
    this.#sync.stop(new CairnError("ECANCELED", "the journal is closed"));
    await this.#trimming;
    await this.#spare.close();
    for (const { file } of [...this.#rotated, this.#current]) await file.close();
  }

  /** Bytes of the current segment that are not written or staged. */
  get #free(): number {
    return this.#current.capacity - this.#offset - this.#stagedBytes;
  }

  /** Gathers bytes for the end of the turn. */
  #stage(size: number, fill: (target: Buffer, at: number) => void): void {
    if (this.#stagedBytes + size > this.#staged.length) this.#writeStaged();
    if (size > this.#staged.length) {
      const large = Buffer.allocUnsafe(size);
      fill(large, 0);
      this.#write(large);
      return;
    }
    fill(this.#staged, this.#stagedBytes);
    this.#stagedBytes += size;
  }

  #writeStaged(): void {
    this.#write(this.#staged.subarray(0, this.#stagedBytes));
    this.#stagedBytes = 0;
  }

  #write(bytes: Buffer): void {
    try {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(this.#current.file.fd, bytes, done, bytes.length - done, this.#offset + done);
      }
    } catch (err) {
      this.#fail(err, "write");
    }
    this.#offset += bytes.length;
  }

  /** Makes the spare the current segment. */
  #rotate(first: number): void {
    const { folder, segmentBytes, random } = this.#options;
    invariant(this.#spare.isReady, "a record is appended only while the journal has room");
    this.#writeStaged();
    const path = segmentPath(folder, first);
    try {
      renameSync(sparePath(folder), path);
    } catch (err) {
      throw this.#fail(err, "begin a segment of");
    }
    const file = this.#spare.take()!;
    this.#rotated.push(this.#current);
    this.#current = { first, path, file, salt: random(), capacity: segmentBytes };
    this.#segments.push({ first, path });
    this.#offset = 0;
    const header = encodeHeader(this.#current);
    this.#stage(header.length, (target, at) => header.copy(target, at));
  }

  #endTurn(): void {
    this.#turnEnd = undefined;
    if (!this.#failure) this.#writeStaged();
    if (this.#failure) return;
    this.#writtenIndex = this.#lastIndex;
    const turn = this.#turn;
    this.#turn = undefined;
    turn?.resolve();
    this.#sync.written(this.#writtenIndex);
  }

  async #syncWritten(): Promise<void> {
    const rotated = this.#rotated;
    this.#rotated = [];
    // Which segment is the current one may change while others are synced.
    const { file: current } = this.#current;
    for (const { file } of rotated) {
      await file.datasync();
      await file.close();
    }
    await current.datasync();
    if (rotated.length > 0) await syncFolder(this.#options.folder);
  }

  async #trim(belowIndex: number): Promise<void> {
    while (this.#segments.length > 1 && this.#segments[1]!.first <= belowIndex) {
      const { path } = this.#segments.shift()!;
      try {
        await rm(path, { force: true });
      } catch (err) {
        // It is removed at the next start.
        this.#options.log.warn({ err: messageOf(err), path }, "a journal segment that is not needed any more stays");
      }
    }
  }

  /** The journal cannot be trusted any more: nothing is appended, written or synced from here on. */
  #fail(err: unknown, attempted: string): InvariantError {
    if (this.#failure) return this.#failure;
    const failure = new InvariantError(`cannot ${attempted} the journal in ${this.#options.folder}: ${messageOf(err)}`);
    this.#failure = failure;
    this.#turn?.reject(failure);
    this.#turn = undefined;
    this.#sync.stop(failure);
    this.#options.onFatal(failure);
    return failure;
  }
}

/** Opens the segment that goes on, or makes the first one. Adds it to `found`. */
async function openLast(
  { folder, segmentBytes, random }: Required<FileJournalOptions>,
  found: Recovered,
): Promise<OpenSegment> {
  const last = found.segments.at(-1);
  if (last) return { ...last, file: await open(last.path, "r+"), salt: found.salt, capacity: found.capacity };
  const file = await createSpare(folder, segmentBytes);
  const first = found.lastIndex + 1;
  const path = segmentPath(folder, first);
  const segment: OpenSegment = { first, path, file, salt: random(), capacity: segmentBytes };
  const header = encodeHeader(segment);
  await file.write(header, 0, header.length, 0);
  await file.sync();
  renameSync(sparePath(folder), path);
  found.segments.push({ first, path });
  found.end = header.length;
  return segment;
}

function throwUncaught(err: InvariantError): void {
  queueMicrotask(() => {
    throw err;
  });
}
