import type { Timer, Timestamp } from "../common/clock.js";
import { CairnError, codeOf } from "../common/errors.js";
import { GiveUp } from "../common/give-up.js";
import { MAX_COMMIT_EXTENTS, MAX_FILE_SIZE, MIB } from "../common/limits.js";
import { Namenode } from "../proto/gen/services.js";
import type {
  Birth,
  CommittedBlockInit,
  ExtentInit,
  InlineBlock,
  Inode,
  InodeReply,
  Policy,
} from "../proto/gen/types.js";
import { encodeInline } from "../proto/inline.js";
import { type CommittedAttributes, UncommittedAttributes } from "./attributes.js";
import { BlockWriter, type FinishedBlock } from "./block-writer.js";
import type { AttributeChange } from "./contract.js";
import type { ClientIo } from "./io.js";
import { Turns } from "./turns.js";
import type { UnsyncedBlocks } from "./unsynced.js";

/** Blocks of one file that may be unfinished or uncommitted at once; then its writers wait. */
const MAX_LAYERS = 4;
/** The next block's pipeline is opened when this much of the current one is left: bytes, and share of the block. */
const OPEN_NEXT_AT = 8 * MIB;
const OPEN_NEXT_SHARE = 1 / 8;
/**
 * A block that nothing was written to for this long is finalized and committed, ms: files that are open for long hold no
 * pipeline while nobody writes, and what is lost with this machine is not old.
 */
const IDLE_MS = 5_000;
/** Of one file, so many times the bytes of the largest inline block are committed inline. */
const INLINE_BLOCKS_PER_FILE = 4;
/** Errnos that tell an application more than EIO. */
const TELLING = new Set(["ENOSPC", "EDQUOT", "ESTALE", "EFBIG", "EROFS", "EPERM", "EACCES"]);

/** What has been written to one block and is not committed yet. */
export interface Layer {
  readonly writer: BlockWriter;
  /** Time of the last write to it. */
  mtime: Timestamp;
  /** Set when the block is finalized. */
  finished: FinishedBlock | undefined;
  /** Set, instead, when everything is written and is to be committed inline. In the writer's memory. */
  inline: Buffer | undefined;
  /** Whether it was finalized with a sync. */
  synced: boolean;
  /** Resolves when the layer is gone: committed, or lost. */
  readonly gone: Promise<void>;
  readonly end: () => void;
}

/** What a writer needs to know of its file, and tells it. */
export interface WrittenFile {
  readonly ino: number;
  readonly policy: Policy;
  /** Bytes, uncommitted writes included. */
  size(): number;
  /** Bytes of inline blocks that it has, as far as is known. */
  inline(): number;
  /** These layers, in the order of writing, have been committed; `inode` is what came of it. */
  committed(inode: Inode, layers: readonly Layer[]): void;
}

/**
 * The write side of one file's content: a log. Writes go in the order in which they come, wherever they belong in the file,
 * into the current block; full blocks are finalized and committed behind the writer's back, flush does the rest.
 */
export class FileWriter {
  /** Uncommitted blocks, oldest first: a later one hides what an earlier one has at the same place. */
  readonly layers: Layer[] = [];
  /** What goes along with the commit of the last of them. */
  readonly #attributes: UncommittedAttributes;
  readonly #io: ClientIo;
  readonly #unsynced: UnsyncedBlocks;
  readonly #file: WrittenFile;
  readonly #turns = new Turns();
  #current: Layer | undefined;
  #next: BlockWriter | undefined;
  #committing: Promise<void> = Promise.resolve();
  #isCommitting = false;
  #idle: Timer | undefined;
  #written = 0;
  #error: CairnError | undefined;
  /** Ends the commit under way. */
  #giveUp: GiveUp | undefined;

  constructor(io: ClientIo, unsynced: UnsyncedBlocks, file: WrittenFile) {
    this.#io = io;
    this.#unsynced = unsynced;
    this.#file = file;
    this.#attributes = new UncommittedAttributes(io.clock);
  }

  /** Whether there is anything that the namenode is not known to have. */
  get dirty(): boolean {
    return this.layers.length > 0 || this.#attributes.any;
  }

  /** Time of the last uncommitted write. */
  get mtime(): Timestamp | undefined {
    return this.layers.at(-1)?.mtime;
  }

  /** Where the uncommitted writes end; 0 when there are none. */
  get end(): number {
    return this.layers.reduce((end, { writer }) => Math.max(end, writer.extents.end), 0);
  }

  /** Changes attributes with the commit of what is uncommitted. False when there is nothing. */
  setAttributes(change: AttributeChange): boolean {
    const unknown = this.dirty || this.#io.session.births.has(this.#file.ino);
    if (!unknown || change.policy !== undefined) return false;
    this.#attributes.change(change);
    this.#idle ??= this.#io.clock.after(IDLE_MS, () => this.#onIdle());
    return true;
  }

  /** An inode as it is with what is uncommitted. */
  attributes(inode: Inode): Inode {
    const { mtime } = this;
    if (mtime === undefined) return this.#attributes.over(inode);
    const size = Math.max(inode.size, this.end);
    return this.#attributes.over({ ...inode, size, mtime, ctime: mtime });
  }

  /** Throws the error of lost writes that nobody was told yet: until then the file is not what was written to it. */
  throwIfLost(): void {
    if (this.#error !== undefined) throw this.#error;
  }

  /** Appends a write to the log. EFBIG; the error of earlier writes, when there is one that nobody was told yet. */
  async write(offset: number | undefined, data: Buffer): Promise<void> {
    const turn = this.#turns.enter();
    if (turn !== undefined) await turn;
    try {
      this.throwIfLost();
      const start = offset ?? this.#file.size();
      if (start + data.length > MAX_FILE_SIZE) {
        throw new CairnError("EFBIG", `writing ${data.length} bytes at ${start} of inode ${this.#file.ino}`);
      }
      // A commit is of whole blocks, and nobody may see a part of a write: one that does not fit any more begins the next block.
      const { blockSize } = this.#file.policy;
      if (this.#current !== undefined && this.#current.writer.room < data.length && data.length <= blockSize) {
        this.#finish(this.#current, false);
      }
      for (let done = 0; done < data.length; ) {
        const bytes = this.#append(start + done, data, done) ?? (await this.#makeRoom(data.length - done));
        done += bytes;
      }
      this.#written = this.#io.clock.monotonic();
      this.#idle ??= this.#io.clock.after(IDLE_MS, () => this.#onIdle());
    } finally {
      this.#turns.leave();
    }
  }

  /** Resolves when everything written so far is committed, or lost: see takeError. */
  async settle(sync: boolean): Promise<void> {
    // After the write that is under way: no part of it is committed without the rest.
    const turn = this.#turns.enter();
    if (turn !== undefined) await turn;
    this.#finishAll(sync);
    this.#turns.leave();
    await Promise.all(this.layers.map((layer) => layer.gone));
    // Changes that came when their content was on its way already.
    if (this.#attributes.any) await this.#commit();
    try {
      await this.#io.session.births.bring(this.#file.ino);
    } catch (err) {
      this.#fail(err, `making inode ${this.#file.ino}`);
    }
  }

  /** What was committed of late is lost: the next flush or fsync says so. */
  lost(): void {
    this.#error ??= new CairnError(
      "EIO",
      `writes to inode ${this.#file.ino} are lost: the namenode has lost its power`,
    );
  }

  /** As settle(); throws the error of lost writes, which flush() throws as well. */
  async commit(): Promise<void> {
    await this.settle(false);
    this.throwIfLost();
  }

  /** settle(), with everything on the platters; throws the sticky error, once. */
  async flush(sync: boolean): Promise<void> {
    await this.settle(sync);
    let failure: unknown;
    if (sync) {
      try {
        await this.#unsynced.sync(this.#file.ino);
        await this.#io.session.sync();
      } catch (err) {
        failure = err;
      }
    }
    const error = this.#error ?? failure;
    this.#error = undefined;
    if (error !== undefined) throw error;
  }

  /** What is not committed is lost: see FileContent.discard. */
  discard(): void {
    if (!this.dirty) return;
    this.#giveUp?.abort();
    this.#idle?.clear();
    this.#idle = undefined;
    this.#next?.discard();
    this.#next = undefined;
    this.#attributes.discard();
    this.#fail(new CairnError("EIO", "it was discarded"), `committing inode ${this.#file.ino}`);
    for (const layer of [...this.layers]) this.#drop(layer);
  }

  /** Finalizes what is open. */
  #finishAll(sync: boolean): void {
    this.#idle?.clear();
    this.#idle = undefined;
    if (this.#current !== undefined) this.#finish(this.#current, sync);
    this.#next?.discard();
    this.#next = undefined;
  }

  #onIdle(): void {
    this.#idle = undefined;
    const since = Math.min(this.#written, this.#attributes.since ?? this.#written);
    const left = since + IDLE_MS - this.#io.clock.monotonic();
    if (left > 0) this.#idle = this.#io.clock.after(left, () => this.#onIdle());
    else void this.settle(false);
  }

  /** Copies what fits into the current packet; undefined when there is no room without waiting. */
  #append(offset: number, data: Buffer, from: number): number | undefined {
    const layer = this.#current;
    if (layer === undefined) return undefined;
    const { writer } = layer;
    const wanted = writer.packetFor(data.length - from);
    if (wanted > 0) {
      const packet = this.#io.packets.tryMake(wanted);
      if (packet === undefined) return undefined;
      writer.accept(packet);
    }
    const bytes = writer.append(offset, data, from, data.length);
    layer.mtime = this.#io.clock.timestamp();
    this.#attributes.written();
    if (writer.room === 0) this.#finish(layer, false);
    else if (writer.room <= this.#openNextAt) this.#next ??= new BlockWriter(this.#io, this.#file.policy, true);
    return bytes;
  }

  /** Waits for what #append lacks: a block, or memory. Returns 0, the bytes it appended. */
  async #makeRoom(bytes: number): Promise<number> {
    const layer = this.#current;
    if (layer === undefined) {
      while (this.layers.length >= MAX_LAYERS) await this.layers[0]!.gone;
      this.throwIfLost();
      this.#start();
      return 0;
    }
    const wanted = layer.writer.packetFor(bytes);
    if (wanted === 0) return 0;
    const packet = await this.#io.packets.make(wanted);
    // Meanwhile the block may have been finished by a flush, or its small packet sent.
    if (this.#current === layer && layer.writer.packetFor(bytes) > 0) layer.writer.accept(packet);
    else this.#io.packets.free(packet);
    this.throwIfLost();
    return 0;
  }

  get #openNextAt(): number {
    return Math.min(OPEN_NEXT_AT, this.#file.policy.blockSize * OPEN_NEXT_SHARE);
  }

  #start(): void {
    const writer = this.#next ?? new BlockWriter(this.#io, this.#file.policy, false);
    this.#next = undefined;
    let end!: () => void;
    const gone = new Promise<void>((resolve) => {
      end = resolve;
    });
    const mtime = this.#io.clock.timestamp();
    const layer: Layer = { writer, mtime, finished: undefined, inline: undefined, synced: false, gone, end };
    this.layers.push(layer);
    this.#current = layer;
    writer.finished.then(
      (finished) => {
        layer.finished = finished;
        void this.#commit();
      },
      (err) => {
        this.#fail(err, `writing inode ${this.#file.ino}`);
        this.#lose(layer);
        void this.#commit();
      },
    );
  }

  #finish(layer: Layer, sync: boolean): void {
    this.#current = undefined;
    const { writer } = layer;
    if (writer.length === 0) return this.#drop(layer);
    layer.synced = sync;
    layer.inline = this.#mayBeInline(writer.length) ? writer.takeInline() : undefined;
    if (layer.inline === undefined) writer.finish(sync);
    else void this.#commit();
  }

  #mayBeInline(bytes: number): boolean {
    const most = this.#io.session.inlineBytes;
    if (bytes > most) return false;
    const uncommitted = this.layers.reduce((sum, { inline }) => sum + (inline?.length ?? 0), 0);
    return this.#file.inline() + uncommitted + bytes <= INLINE_BLOCKS_PER_FILE * most;
  }

  /** Commits what is ready in the order of writing, one commit at a time. */
  #commit(): Promise<void> {
    if (!this.#isCommitting) this.#committing = this.#commitAll();
    return this.#committing;
  }

  async #commitAll(): Promise<void> {
    this.#isCommitting = true;
    for (;;) {
      const batch = this.#ready();
      const attributes = this.#attributes.take(batch.length === this.layers.length);
      if (batch.length === 0 && attributes === undefined) {
        // In one turn with the look: what becomes ready from here on is for whoever says so to commit.
        this.#isCommitting = false;
        return;
      }
      try {
        const { inode } = await this.#send(batch, attributes);
        for (const { writer, finished, synced } of batch) {
          if (finished === undefined) writer.discard();
          else {
            this.#io.session.pending.delete(finished.block.id);
            if (!synced) this.#unsynced.add(this.#file.ino, finished);
          }
        }
        this.#attributes.settled();
        this.#file.committed(inode, batch);
        this.layers.splice(0, batch.length);
        for (const layer of batch) layer.end();
      } catch (err) {
        this.#attributes.settled();
        this.#fail(err, `committing inode ${this.#file.ino}`);
        if (batch.length > 0) this.#lose(batch[0]!);
      }
    }
  }

  /** Without content, attributes are no commit: it would be a modification. */
  #send(batch: readonly Layer[], attributes: CommittedAttributes | undefined): Promise<InodeReply> {
    const { session } = this.#io;
    const { ino } = this.#file;
    const signal = new GiveUp();
    this.#giveUp = signal;
    if (batch.length === 0) return session.change(Namenode.setAttributes, { ino, ...attributes }, signal);
    const request = this.#request(batch, attributes);
    return session.births.along(ino, (birth) => {
      request.birth = birth;
      return session.change(Namenode.commit, request, signal);
    });
  }

  /** The oldest layers that are finalized, as many as one commit can carry. */
  #ready(): Layer[] {
    const batch: Layer[] = [];
    let extents = 0;
    for (const layer of this.layers) {
      extents += layer.writer.extents.count;
      const ready = layer.finished !== undefined || layer.inline !== undefined;
      if (!ready || extents > MAX_COMMIT_EXTENTS) break;
      batch.push(layer);
    }
    return batch;
  }

  #request(batch: readonly Layer[], attributes: CommittedAttributes | undefined) {
    const blocks: CommittedBlockInit[] = [];
    const inline: InlineBlock[] = [];
    const extents: ExtentInit[] = [];
    let size = 0;
    for (const { writer, finished, inline: data } of batch) {
      // The namenode gives inline blocks their ids; until then they are called by numbers that no block has.
      const block = finished?.block.id ?? Number.MAX_SAFE_INTEGER - inline.length;
      if (finished !== undefined) {
        blocks.push({ block: finished.block, datanodes: finished.replicas.map(({ id }) => id) });
      } else inline.push(encodeInline(block, data!));
      size = Math.max(size, writer.extents.end);
      for (const { offset, length, at } of writer.extents.pieces()) {
        extents.push({ offset, length, block, blockOffset: at });
      }
    }
    const { ino, policy } = this.#file;
    // With all fields, so that all of them have one shape (docs/performance.md).
    return {
      ino,
      blocks,
      inline,
      extents,
      size,
      mtime: attributes?.mtime ?? batch.at(-1)!.mtime,
      replicas: policy.replicas,
      mode: attributes?.mode,
      uid: attributes?.uid,
      gid: attributes?.gid,
      atime: attributes?.atime,
      birth: undefined as Birth | undefined,
    };
  }

  /** A layer is lost, and with it all later ones: what others see is a state that the file had, no later write without the earlier. */
  #lose(layer: Layer): void {
    const index = this.layers.indexOf(layer);
    if (index < 0) return; // discarded here: what has been written since has nothing to do with it
    for (const lost of this.layers.slice(index)) this.#drop(lost);
  }

  /** Takes a layer out whose writes are lost. */
  #drop(layer: Layer): void {
    if (this.#current === layer) this.#current = undefined;
    const index = this.layers.indexOf(layer);
    if (index >= 0) this.layers.splice(index, 1);
    layer.writer.discard();
    layer.end();
  }

  #fail(err: unknown, attempted: string): void {
    const code = codeOf(err);
    if (code === "ECANCELED") return; // discarded here
    this.#error ??= new CairnError(TELLING.has(code) ? code : "EIO", attempted, err);
  }
}
