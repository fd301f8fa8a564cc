import { CairnError } from "../common/errors.js";
import { MAX_EXTENTS_PAGE, MIB } from "../common/limits.js";
import { Namenode } from "../proto/gen/services.js";
import type { GetExtentsReply, InlineBlock, Inode } from "../proto/gen/types.js";
import { isIntact } from "../proto/inline.js";
import { all } from "./all.js";
import type { Located } from "./block-reader.js";
import type { BlockSource, CachedBlocks } from "./cached-blocks.js";
import { ExtentMap, type Piece } from "./extent-map.js";
import type { Layer } from "./file-writer.js";
import type { Known } from "./files-ahead.js";
import type { ClientIo } from "./io.js";
import { ReadAhead } from "./read-ahead.js";
import type { Run } from "./seek.js";

/** Pieces of one file remembered; a file in more of them is asked for again. */
const MAX_PIECES = 65_536;
/** How far before a sequential reader a block is opened, bytes: what is read meanwhile takes longer than the call to its datanode. */
const OPEN_AHEAD = 32 * MIB;

/** A block of a file, or a hole of it. */
type Source = BlockSource | null;

/** The read side of one file's content: what has been committed. */
export class FileReader {
  readonly #io: ClientIo;
  readonly #blocks: CachedBlocks;
  readonly #ahead = new ReadAhead();
  /** What is known of the file as of #inode.version; what is in no piece is not known. */
  readonly #extents = new ExtentMap<Source>();
  #inode: Inode;
  /** The block that was opened ahead last. */
  #openedAhead: Source = null;
  /** The answer to a question for pieces on its way, which all who lack some wait for; undefined when none is. */
  #asked: Promise<void> | undefined;
  /** Whether #extents is all of one version: after a commit of ours, another client's may lie in between. */
  #certain = true;

  constructor(io: ClientIo, blocks: CachedBlocks, inode: Inode) {
    this.#io = io;
    this.#blocks = blocks;
    this.#inode = inode;
  }

  /** The newest version of the inode that was seen. */
  get inode(): Inode {
    return this.#inode;
  }

  /**
   * From now on reads see what others have committed by now.
   * @param alone others have committed nothing since this reader was made or was last told so
   */
  refreshed(inode: Inode, alone: boolean): void {
    const newer = inode.version > this.#inode.version;
    if (newer) this.#inode = inode;
    if (newer || !(this.#certain || alone)) this.#forgetAll();
  }

  /** A commit of this client has put these layers over what was there. */
  committed(inode: Inode, layers: readonly Layer[]): void {
    if (inode.version <= this.#inode.version) return; // what is known has it already
    this.#inode = inode;
    this.#certain = false;
    for (const { writer, finished } of layers) {
      // Of what went inline only the namenode knows the block.
      const source: BlockSource | undefined = finished && sourceOf(finished);
      for (const { offset, length, at } of writer.extents.pieces()) {
        if (source === undefined) this.#extents.cut(offset, offset + length);
        else this.#extents.put(offset, length, source, at);
      }
    }
    if (this.#extents.count > MAX_PIECES) this.#forgetAll();
  }

  /** This client has changed what lies within [from, to), and perhaps the size: it is asked for again. */
  changed(inode: Inode, from: number, to: number): void {
    if (inode.version <= this.#inode.version) return;
    this.#inode = inode;
    this.#certain = false;
    this.#extents.cut(from, to);
  }

  /** Forgets where a range is: it is asked for again. */
  forget(from: number, to: number): void {
    this.#extents.cut(from, to);
  }

  /**
   * The file is about to be read: what must be asked for that is asked now.
   * @param known what was read ahead of it, or is on its way
   */
  expect(known: Promise<Known> | Known): void {
    if (this.#asked !== undefined || this.#extents.count > 0 || this.#inode.size === 0) return;
    // When it fails the read asks again, and throws what comes of that.
    void this.#shared(this.#learnAll(known).catch(() => undefined));
  }

  /** Copies bytes [from, to) of the file into target at `into`; zeros where there is nothing. UnreadableError. */
  async read(from: number, to: number, target: Buffer, into: number): Promise<void> {
    const end = Math.min(to, this.#inode.size);
    if (end < to) target.fill(0, into + Math.max(0, end - from), into + to - from);
    if (end <= from) return;
    const ahead = this.#ahead.note(from, end);
    const pieces = await this.#learn(from, end);
    const reads: Promise<void>[] = [];
    for (const { offset, length, source, at } of pieces) {
      const pos = into + offset - from;
      if (source === null) target.fill(0, pos, pos + length);
      else reads.push(this.#blocks.copy(source, at, at + length, target, pos, ahead !== undefined));
    }
    if (ahead !== undefined) {
      ahead.done(this.#prefetch(ahead.from, Math.min(ahead.to, this.#inode.size)));
      this.#openAhead(end + OPEN_AHEAD);
    }
    await all(reads);
  }

  /** The first run of committed bytes that ends after a position; undefined when there is none. */
  async dataAfter(position: number): Promise<Run | undefined> {
    for (let at = position; at < this.#inode.size; ) {
      const piece = this.#extents.after(at);
      if (piece === undefined || piece.offset > at) await this.#learn(at, at + 1);
      else if (piece.source === null) at = piece.offset + piece.length;
      else return { from: at, to: piece.offset + piece.length };
    }
    return undefined;
  }

  /** Starts to read a range, as far as it is known where it is; returns how far that was. */
  #prefetch(from: number, to: number): number {
    let reach = from;
    this.#extents.visit(from, to, ({ offset, length, source, at }) => {
      if (offset !== reach) return; // after a gap
      if (source === null) {
        reach = offset + length;
        return;
      }
      for (let pos = at; pos < at + length && !this.#blocks.isBusy; ) {
        pos = Math.min(at + length, this.#blocks.prefetch(source, pos));
        reach = offset + pos - at;
      }
    });
    return reach;
  }

  /** Has the block at a position opened, if that is not done, and it is known. */
  #openAhead(position: number): void {
    const source = this.#extents.after(position)?.source ?? null;
    if (source === null || source === this.#openedAhead) return;
    this.#openedAhead = source;
    this.#blocks.open(source);
  }

  /** The pieces of a range, asking for those that are not known. */
  async #learn(from: number, to: number): Promise<Piece<Source>[]> {
    if (this.#extents.count > MAX_PIECES) this.#forgetAll();
    for (;;) {
      const { pieces, gap } = this.#known(from, to);
      if (gap === undefined) return pieces;
      await (this.#asked ?? this.#shared(this.#ask(gap, Math.max(this.#inode.size, to))));
    }
  }

  /** Has those who lack pieces wait for this answer, instead of asking for themselves. */
  #shared(answer: Promise<void>): Promise<void> {
    this.#asked = answer.finally(() => {
      this.#asked = undefined;
    });
    return this.#asked;
  }

  /** Learns all pieces from what was asked ahead, unless it has come to nothing, or the file has changed since. */
  async #learnAll(ahead: Promise<Known> | Known): Promise<void> {
    const known = await ahead;
    if (known?.inode.version === this.#inode.version) this.#take(known, 0);
    else await this.#ask(0, this.#inode.size);
  }

  /** Asks for the pieces from a position on, as many as a page holds. */
  async #ask(from: number, to: number): Promise<void> {
    const { ino } = this.#inode;
    const request = { ino, offset: from, length: to - from, limit: MAX_EXTENTS_PAGE, host: this.#io.hostName };
    const reply = await this.#io.session.call(Namenode.getExtents, request);
    // One that is older than what we have written ourselves is of no use: the next will be newer.
    if (reply.inode.version >= this.#inode.version) this.#take(reply, from);
  }

  /** The pieces of a range, and where the first one is missing. */
  #known(from: number, to: number): { pieces: Piece<Source>[]; gap: number | undefined } {
    const pieces: Piece<Source>[] = [];
    let gap: number | undefined;
    this.#extents.visit(
      from,
      to,
      (piece) => pieces.push(piece),
      (start) => {
        gap ??= start;
      },
    );
    return { pieces, gap };
  }

  /** Puts a page of extents, complete from `from` on, into the map. */
  #take({ inode, extents, blocks, covered, inline }: GetExtentsReply, from: number): void {
    if (covered <= from) throw new CairnError("EPROTO", `no extents of inode ${inode.ino} at ${from}`);
    if (inode.version > this.#inode.version) {
      this.#inode = inode;
      this.#forgetAll();
    }
    const sources = new Map<number, BlockSource>();
    for (const located of blocks) sources.set(located.block.id, sourceOf(located));
    for (const block of inline) this.#keep(block);
    this.#extents.put(from, covered - from, null, from);
    for (const { offset, length, block, blockOffset } of extents) {
      const source = sources.get(block);
      if (source === undefined || length < 1 || blockOffset + length > source.length) {
        throw new CairnError("EPROTO", `an extent of inode ${inode.ino} at ${offset} points nowhere`);
      }
      this.#extents.put(offset, length, source, blockOffset);
    }
  }

  /** Keeps an inline block that came along. A damaged one is asked for again when it is read. */
  #keep(inline: InlineBlock): void {
    if (isIntact(inline)) this.#blocks.keep(inline.id, inline.data);
  }

  #forgetAll(): void {
    this.#extents.clear();
    this.#certain = true;
  }
}

function sourceOf(located: Located): BlockSource {
  const { id, length } = located.block;
  return { id, length, located: () => located };
}
