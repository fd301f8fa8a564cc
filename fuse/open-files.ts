import type { FileContent } from "../client/contract.js";
import { invariant } from "../common/errors.js";
import type { Inode } from "../proto/gen/types.js";
import type { Question } from "./cache.js";

/** What one handle of an open file has not been told yet. */
export interface Share {
  /** The first error since its last flush or fsync. */
  failure: unknown;
}

/** A regular file that is open in this mount: what all its handles share. */
export class OpenFile {
  readonly content: FileContent;
  /** The last attributes the namenode gave; the only ones there are once the file has no name left. */
  inode: Inode;
  /**
   * Something was written since the namenode last said what the attributes are; undefined: nothing. It is when that began: no
   * commit of it is older.
   */
  written: Question | undefined;
  readonly #shares = new Set<Share>();

  constructor(content: FileContent, inode: Inode) {
    this.content = content;
    this.inode = inode;
  }

  get handles(): number {
    return this.#shares.size;
  }

  /** One handle more. */
  retain(): Share {
    const share: Share = { failure: undefined };
    this.#shares.add(share);
    return share;
  }

  /** One handle less. */
  drop(share: Share): void {
    invariant(this.#shares.delete(share), "a file is released once per open");
  }

  /** Whether there is anything that the namenode does not know of. */
  get dirty(): boolean {
    return this.content.dirty;
  }

  /**
   * Commits what was written because something else needs it committed (an mtime that is to stay). A failure is thrown, and
   * again by the next flush of every handle: whoever wrote must hear of it at close.
   */
  commit(): Promise<void> {
    return this.#heard(() => this.content.flush());
  }

  /**
   * FileContent.flush on behalf of a handle. What went wrong with the file is thrown to every handle that was open then, once, as Linux
   * does: none takes it from another.
   */
  async flush(share: Share): Promise<void> {
    await this.#heard(() => this.content.flush()).catch(() => undefined); // share has it
    throwFailure(share);
  }

  /** FileContent.fsync, as flush. */
  async fsync(share: Share): Promise<void> {
    await this.#heard(() => this.content.fsync()).catch(() => undefined); // share has it
    throwFailure(share);
  }

  /** Has all handles hear of a failure; it is thrown besides. */
  async #heard(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (err) {
      for (const share of this.#shares) share.failure ??= err;
      throw err;
    }
  }

  /** The attributes as programs on this mount must see them: unflushed writes included. */
  attributes(committed: Inode): Inode {
    if (!this.written) return this.content.attributes(committed);
    return { ...this.content.attributes(committed), size: this.content.size };
  }
}

function throwFailure(share: Share): void {
  const { failure } = share;
  share.failure = undefined;
  if (failure !== undefined) throw failure;
}
