import type { FileContent } from "../client/contract.js";
import { invariant } from "../common/errors.js";
import type { Inode } from "../proto/gen/types.js";
import { withFields } from "../proto/with-fields.js";
import type { Question } from "./cache.js";

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
  #handles = 0;

  constructor(content: FileContent, inode: Inode) {
    this.content = content;
    this.inode = inode;
  }

  get handles(): number {
    return this.#handles;
  }

  /** One handle more. */
  retain(): void {
    this.#handles++;
  }

  /** One handle less. */
  drop(): void {
    invariant(this.#handles > 0, "a file is released once per open");
    this.#handles--;
  }

  /** Whether there is anything that the namenode does not know of. */
  get dirty(): boolean {
    return this.content.dirty;
  }

  /** The attributes as programs on this mount must see them: unflushed writes included. */
  attributes(committed: Inode): Inode {
    if (!this.written) return this.content.attributes(committed);
    return withFields(this.content.attributes(committed), { size: this.content.size });
  }
}
