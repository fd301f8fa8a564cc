import { CairnError } from "../../common/errors.js";
import type { Editor } from "../contract.js";
import { readCluster } from "./records.js";

/** Numbers reserved by one edit. */
const STEP = 1000;

/**
 * Numbers that are given out once, ever: a range of them is reserved by an edit, and given out when that edit is on the
 * disk, so that not even a loss of power makes one come twice.
 */
export class Reservation {
  readonly #editor: Editor;
  readonly #edit: (next: number) => Parameters<Editor["apply"]>[0];
  #next: number;
  #end: number;
  #refilling: Promise<void> | undefined;

  private constructor(editor: Editor, first: number, edit: (next: number) => Parameters<Editor["apply"]>[0]) {
    this.#editor = editor;
    this.#next = first;
    this.#end = first;
    this.#edit = edit;
  }

  /** Of block ids. What was reserved before a restart and not given out is lost: there are plenty. */
  static blockIds(editor: Editor): Reservation {
    return new Reservation(editor, readCluster(editor.kv).nextBlock, (next) => ({ reserveBlockIds: { next } }));
  }

  /** Of generation stamps of rebuilt pipelines. */
  static generations(editor: Editor): Reservation {
    return new Reservation(editor, readCluster(editor.kv).nextGeneration, (next) => ({ reserveGenerations: { next } }));
  }

  /** Takes `count` consecutive numbers, at most STEP. @returns the first */
  async take(count: number): Promise<number> {
    while (this.#end - this.#next < count) await this.#refill();
    const first = this.#next;
    this.#next += count;
    // Ahead of need, so that hardly anybody waits. Should the disk refuse, whoever needs it tries again, and is told.
    if (this.#end - this.#next < STEP / 2) {
      this.#refill().catch((err: unknown) => {
        if (!(err instanceof CairnError)) throw err;
      });
    }
    return first;
  }

  #refill(): Promise<void> {
    this.#refilling ??= this.#reserve().finally(() => {
      this.#refilling = undefined;
    });
    return this.#refilling;
  }

  async #reserve(): Promise<void> {
    const end = this.#end + STEP;
    const { index } = this.#editor.apply(this.#edit(end));
    await this.#editor.synced(index);
    this.#end = end;
  }
}
