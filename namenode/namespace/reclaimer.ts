import type { Clock, Timer } from "../../common/clock.js";
import { CairnError, messageOf } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import type { Editor } from "../contract.js";
import { RECLAIM } from "./keys.js";

/** Entries of the store that one edit frees, at most: some milliseconds of work. */
const BATCH = 500;
/** Pause between two such edits, ms, so that requests come first. */
const PAUSE_MS = 10;
/** Pause after the disk had no room for one, ms. */
const RETRY_MS = 1_000;

/** Frees in the background what deleted inodes hold. */
export class Reclaimer {
  readonly #editor: Editor;
  readonly #clock: Clock;
  readonly #log: Logger;
  #timer: Timer | undefined;
  #running = false;

  constructor(editor: Editor, clock: Clock, log: Logger) {
    this.#editor = editor;
    this.#clock = clock;
    this.#log = log;
    editor.onApplied((_edit, { reclaimable }) => {
      if (reclaimable && this.#running) this.#schedule(PAUSE_MS);
    });
  }

  /** After the replay: goes on with what was left. */
  start(): void {
    this.#running = true;
    if (!this.#editor.kv.range(RECLAIM).next().done) this.#schedule(PAUSE_MS);
  }

  close(): void {
    this.#running = false;
    this.#timer?.clear();
  }

  #schedule(ms: number): void {
    this.#timer ??= this.#clock.after(ms, () => {
      this.#timer = undefined;
      this.#reclaim();
    });
  }

  #reclaim(): void {
    try {
      this.#editor.apply({ reclaim: { extents: BATCH } });
    } catch (err) {
      if (!(err instanceof CairnError)) throw err;
      this.#log.debug({ err: messageOf(err) }, "reclaiming waits");
      this.#schedule(RETRY_MS);
    }
  }
}
