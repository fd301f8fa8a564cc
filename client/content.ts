import type { Timestamp } from "../common/clock.js";
import { CairnError, invariant, wrap } from "../common/errors.js";
import { MAX_FILE_SIZE } from "../common/limits.js";
import { Namenode } from "../proto/gen/services.js";
import type { Inode } from "../proto/gen/types.js";
import { all } from "./all.js";
import { UnreadableError } from "./block-reader.js";
import type { BlockWriter } from "./block-writer.js";
import type { CachedBlocks } from "./cached-blocks.js";
import type { Compactor } from "./compactor.js";
import type { Allocation, AttributeChange, Copied, FileContent } from "./contract.js";
import { FileReader } from "./file-reader.js";
import { FileWriter } from "./file-writer.js";
import type { FilesAhead } from "./files-ahead.js";
import type { ClientIo } from "./io.js";
import { Patience } from "./patience.js";
import { seekData, seekHole } from "./seek.js";
import type { UnsyncedBlocks } from "./unsynced.js";

/** What all contents of a client share. */
export interface ContentContext {
  readonly io: ClientIo;
  readonly blocks: CachedBlocks;
  readonly ahead: FilesAhead;
  readonly unsynced: UnsyncedBlocks;
  readonly compactor: Compactor;
  /** How long a read looks for a replica that can be read, ms. */
  readonly readPatienceMs: number;
  /** The last one gave the content up. */
  readonly released: (content: Content) => void;
}

/** The content of one open file: uncommitted writes over what has been committed. */
export class Content implements FileContent {
  readonly ino: number;
  readonly #context: ContentContext;
  readonly #reader: FileReader;
  readonly #writer: FileWriter;
  #opens = 0;
  /** How often others have changed the file, or may have, and how many of these changes the reader knows of. */
  #changes = 0;
  #known = 0;
  #refreshing: Promise<void> | undefined;

  constructor(context: ContentContext, inode: Inode) {
    this.ino = inode.ino;
    this.#context = context;
    this.#reader = new FileReader(context.io, context.blocks, inode);
    this.#writer = new FileWriter(context.io, context.unsynced, {
      ino: inode.ino,
      policy: inode.policy,
      size: () => this.size,
      inline: () => this.#reader.inode.inline,
      committed: (committed, layers) => {
        this.#reader.committed(committed, layers);
        context.unsynced.committed(committed);
        context.compactor.committed(
          committed,
          layers.reduce((pieces, { writer }) => pieces + writer.extents.count, 0),
        );
      },
    });
  }

  /** Others have changed the file, or may have: the next read sees what it is then. */
  changed(): void {
    this.#changes++;
    this.#context.unsynced.uncover(this.ino);
  }

  /** Edits with an index above this one are lost. */
  lost(after: number): void {
    if (this.#reader.inode.version > after) this.#writer.lost();
  }

  /** Counts one more open(), with the inode as it is now. */
  opened(inode: Inode): void {
    if (this.#opens++ === 0) this.#context.unsynced.opened(inode);
    // Of any commit by others the namenode would have told before it answered a younger one of ours.
    const { watch } = this.#context.io.session;
    this.#reader.refreshed(inode, this.#known === this.#changes && watch.trustMs() > 0);
  }

  willRead(): void {
    this.#reader.expect(this.#context.ahead.take(this.#reader.inode));
  }

  refreshed(inode: Inode): void {
    this.#reader.refreshed(inode, false);
  }

  get size(): number {
    return Math.max(this.#reader.inode.size, this.#writer.end);
  }

  get dirtyMtime(): Timestamp | undefined {
    return this.#writer.mtime;
  }

  get dirty(): boolean {
    return this.#writer.dirty;
  }

  async read(offset: number, target: Buffer): Promise<number> {
    if (this.#known < this.#changes) await this.#refresh();
    const patience = new Patience(this.#context.io.clock, this.#context.readPatienceMs);
    for (;;) {
      this.#writer.throwIfLost();
      const length = Math.min(target.length, this.size - offset);
      if (length <= 0) return 0;
      try {
        await this.#read(offset, offset + length, target);
        this.#writer.throwIfLost(); // what it was to read may have been given up meanwhile
        return length;
      } catch (err) {
        // Replicas may have moved, or the file may have other blocks by now: the next attempt asks where they are.
        if (!(err instanceof UnreadableError)) throw err;
        if (!(await patience.again())) throw wrap(err, `reading ${length} bytes at ${offset} of inode ${this.ino}`);
        this.#reader.forget(offset, offset + length);
      }
    }
  }

  async write(offset: number | undefined, data: Buffer): Promise<void> {
    if (offset === undefined && this.#known < this.#changes) await this.#refresh();
    return this.#writer.write(offset, data);
  }

  setAttributes(change: AttributeChange): boolean {
    return this.#writer.setAttributes(change);
  }

  /** Asks what the file is by now; once for all who want to know. */
  #refresh(): Promise<void> {
    this.#refreshing ??= this.#ask().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #ask(): Promise<void> {
    const changes = this.#changes;
    const { inode } = await this.#context.io.session.call(Namenode.getInode, { ino: this.ino });
    this.#reader.refreshed(inode, false);
    this.#known = changes;
  }

  async truncate(size: number): Promise<Inode> {
    await this.#writer.commit();
    const { inode } = await this.#context.io.session.change(Namenode.setAttributes, { ino: this.ino, size });
    this.#reader.changed(inode, inode.size, MAX_FILE_SIZE);
    return inode;
  }

  settle(): Promise<void> {
    return this.#writer.settle(false);
  }

  discard(): void {
    this.#writer.discard();
  }

  async seek(offset: number, kind: "data" | "hole"): Promise<number> {
    const { size } = this;
    if (offset < 0 || offset >= size) {
      throw new CairnError("ENXIO", `seek ${kind} at ${offset} of inode ${this.ino}, which ends at ${size}`);
    }
    const uncommitted = this.#writer.layers.map(({ writer }) => writer.extents);
    const committed = (position: number) => this.#reader.dataAfter(position);
    return kind === "data"
      ? seekData(uncommitted, committed, offset, size)
      : seekHole(uncommitted, committed, offset, size);
  }

  async allocate(offset: number, length: number, how: Allocation): Promise<Inode> {
    await this.#writer.commit();
    const request = { ino: this.ino, offset, length, ...how };
    const { inode } = await this.#context.io.session.change(Namenode.fallocate, request);
    this.#reader.changed(inode, offset, offset + length);
    return inode;
  }

  async copyFrom(source: FileContent, from: number, offset: number, length: number): Promise<Copied> {
    invariant(source instanceof Content && source.#context === this.#context, "both files are of one client");
    await Promise.all([source.#writer.commit(), this.#writer.commit()]);
    const request = { source: source.ino, sourceOffset: from, ino: this.ino, offset, length };
    const { inode, copied } = await this.#context.io.session.change(Namenode.clone, request);
    if (copied > 0) {
      this.#context.unsynced.uncover(this.ino);
      this.#reader.changed(inode, offset, offset + copied);
    }
    return { inode, copied };
  }

  flush(): Promise<void> {
    return this.#writer.flush(false);
  }

  fsync(): Promise<void> {
    return this.#writer.flush(true);
  }

  attributes(committed: Inode): Inode {
    const known = this.#reader.inode;
    const newest = committed.version >= known.version ? committed : known;
    // Somebody else has learned of a change first.
    if (committed.version > known.version) this.#changes++;
    return this.#writer.attributes(newest);
  }

  async close(): Promise<void> {
    invariant(this.#opens > 0, () => `inode ${this.ino} is closed as often as it is opened`);
    try {
      if (this.#opens === 1) await this.flush();
    } finally {
      if (--this.#opens === 0) this.#context.released(this);
    }
  }

  /** One attempt to fill target with [from, to): the newest writes first, then what lies below them. */
  async #read(from: number, to: number, target: Buffer): Promise<void> {
    const reads: Promise<void>[] = [];
    let gaps: [number, number][] = [[from, to]];
    for (const { writer } of this.#writer.layers.toReversed()) {
      const below: [number, number][] = [];
      for (const [start, end] of gaps) {
        writer.extents.visit(
          start,
          end,
          ({ offset, length, at }) => {
            const into = offset - from;
            writer.copy(at, at + length, target, into);
            const acked = Math.min(at + length, writer.acked);
            if (acked > at) reads.push(this.#readAcked(writer, at, acked, target, into));
          },
          (a, b) => below.push([a, b]),
        );
      }
      gaps = below;
    }
    for (const [start, end] of gaps) reads.push(this.#reader.read(start, end, target, start - from));
    await all(reads);
  }

  async #readAcked(writer: BlockWriter, from: number, to: number, target: Buffer, into: number): Promise<void> {
    await this.#context.blocks.copy(writer.source(), from, to, target, into, false);
  }
}
