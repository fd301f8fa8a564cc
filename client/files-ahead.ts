import { messageOf } from "../common/errors.js";
import { MAX_AHEAD, MAX_EXTENTS_PAGE, MAX_FILE_SIZE, MIB } from "../common/limits.js";
import { Namenode } from "../proto/gen/services.js";
import type { GetExtentsReply, Inode } from "../proto/gen/types.js";
import { isIntact } from "../proto/inline.js";
import type { CachedBlocks } from "./cached-blocks.js";
import type { ClientIo } from "./io.js";

/** Files that were read ahead and nobody has opened yet, at most. With more, the oldest are forgotten. */
const MAX_FILES = 1024;
/** Their bytes, at most: a quarter of the memory in which blocks are kept unless set otherwise (ClientOptions.readMemory). */
const MAX_BYTES = 16 * MIB;
/** Calls under way, at most: beyond that nothing is read ahead. */
const MAX_CALLS = 4;

/** What a file's content is as of one version of it; undefined when that was not to be had. */
export type Known = GetExtentsReply | undefined;

interface Ahead {
  readonly version: number;
  readonly bytes: number;
  /** A promise while it is on its way, which never rejects. */
  answer: GetExtentsReply | Promise<Known>;
}

/**
 * The content of small files that are likely to be opened soon, asked for many at a time. It is of a certain version of the file, and
 * blocks never change, so it is right whenever it is known that the file has that version: whoever opens the file knows, by what
 * protects all that he knows of it. The bytes lie among the blocks that were read.
 */
export class FilesAhead {
  readonly #io: ClientIo;
  readonly #blocks: CachedBlocks;
  /** The oldest first. */
  readonly #files = new Map<number, Ahead>();
  #bytes = 0;
  #calls = 0;

  constructor(io: ClientIo, blocks: CachedBlocks) {
    this.#io = io;
    this.#blocks = blocks;
  }

  /** Bytes of files that are here, or on their way, and were not taken. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Asks for files, unless they are here or too much is asked already. */
  ask(inodes: readonly Inode[]): void {
    const wanted = inodes
      .filter(({ ino, version }) => this.#files.get(ino)?.version !== version)
      .slice(0, MAX_AHEAD + 1);
    const [first, ...rest] = wanted;
    if (first === undefined || this.#calls >= MAX_CALLS) return;
    this.#calls++;
    const answers = this.#call(first, rest).finally(() => {
      this.#calls--;
    });
    for (const { ino, version, size } of wanted) {
      this.forget(ino);
      this.#files.set(ino, { version, bytes: size, answer: answers.then((files) => files.get(ino)) });
      this.#bytes += size;
    }
    void answers.then((files) => {
      for (const { ino, version } of wanted) this.#arrived(ino, version, files.get(ino));
    });
    this.#shrink();
  }

  /** What was read ahead of a file, if it is of this version; who takes it has it. */
  take({ ino, version }: Inode): Promise<Known> | Known {
    const ahead = this.#files.get(ino);
    this.forget(ino);
    return ahead?.version === version ? ahead.answer : undefined;
  }

  /** A file has changed, or may have. */
  forget(ino: number): void {
    const ahead = this.#files.get(ino);
    if (ahead === undefined) return;
    this.#files.delete(ino);
    this.#bytes -= ahead.bytes;
  }

  /** Any file may have changed. */
  forgetAll(): void {
    this.#files.clear();
    this.#bytes = 0;
  }

  async #call({ ino }: Inode, rest: readonly Inode[]): Promise<ReadonlyMap<number, GetExtentsReply>> {
    const ahead = rest.map((inode) => inode.ino);
    const whole = { ino, offset: 0, length: MAX_FILE_SIZE, limit: MAX_EXTENTS_PAGE };
    const files = new Map<number, GetExtentsReply>();
    try {
      const reply = await this.#io.session.call(Namenode.getExtents, { ...whole, host: this.#io.hostName, ahead });
      for (const file of [reply, ...reply.ahead]) {
        for (const inline of file.inline) if (isIntact(inline)) this.#blocks.keep(inline.id, inline.data);
        files.set(file.inode.ino, file);
        file.inline = []; // which share memory with the whole message
      }
      reply.ahead = [];
    } catch (err) {
      this.#io.log.debug({ ino, files: rest.length }, `could not read ahead: ${messageOf(err)}`);
    }
    return files;
  }

  #arrived(ino: number, version: number, file: Known): void {
    const ahead = this.#files.get(ino);
    if (ahead?.version !== version) return; // taken, or forgotten
    if (file?.inode.version === version) ahead.answer = file;
    else this.forget(ino);
  }

  #shrink(): void {
    for (const ino of this.#files.keys()) {
      if (this.#files.size <= MAX_FILES && this.#bytes <= MAX_BYTES) return;
      this.forget(ino);
    }
  }
}
