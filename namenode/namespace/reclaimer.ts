import type { Clock, Timer } from "../../common/clock.js";
import { CairnError, messageOf } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import type { Editor, Effects } from "../contract.js";
import type { KeyValue } from "../store/kv.js";
import { FORGETTING, RECLAIM } from "./keys.js";

/** Entries of the store that one edit frees, at most: some milliseconds of work. */
const BATCH = 500;
/** Pause between two such edits, ms, so that requests come first. */
const PAUSE_MS = 10;
/** Pause after the disk had no room for one, ms. */
const RETRY_MS = 1_000;

/** Something that is freed by one edit after the other. */
interface Work {
  readonly edit: Parameters<Editor["apply"]>[0];
  /** Whether an edit has left some to do. */
  readonly isMore: (effects: Effects) => boolean | undefined;
  /** Whether the store says that there is some to do. */
  readonly isLeft: (kv: KeyValue) => boolean;
}

/** What deleted inodes hold. */
const INODES: Work = {
  edit: { reclaim: { extents: BATCH } },
  isMore: ({ reclaimable }) => reclaimable,
  isLeft: (kv) => !kv.range(RECLAIM).next().done,
};
/** What was kept for deleted snapshots. */
const SNAPSHOTS: Work = {
  edit: { forgetVersions: { entries: BATCH } },
  isMore: ({ forgettable }) => forgettable,
  isLeft: (kv) => kv.get(FORGETTING) !== undefined,
};

/** Frees in the background what deleted inodes hold, and what only deleted snapshots needed. */
export class Reclaimer {
  readonly #sweeps: readonly Sweep[];

  constructor(editor: Editor, clock: Clock, log: Logger) {
    this.#sweeps = [INODES, SNAPSHOTS].map((work) => new Sweep(work, editor, clock, log));
  }

  /** After the replay: goes on with what was left. */
  start(): void {
    for (const sweep of this.#sweeps) sweep.start();
  }

  close(): void {
    for (const sweep of this.#sweeps) sweep.close();
  }
}

class Sweep {
  readonly #work: Work;
  readonly #editor: Editor;
  readonly #clock: Clock;
  readonly #log: Logger;
  #timer: Timer | undefined;
  #running = false;

  constructor(work: Work, editor: Editor, clock: Clock, log: Logger) {
    this.#work = work;
    this.#editor = editor;
    this.#clock = clock;
    this.#log = log;
    editor.onApplied((_edit, effects) => {
      if (work.isMore(effects) && this.#running) this.#schedule(PAUSE_MS);
    });
  }

  start(): void {
    this.#running = true;
    if (this.#work.isLeft(this.#editor.kv)) this.#schedule(PAUSE_MS);
  }

  close(): void {
    this.#running = false;
    this.#timer?.clear();
  }

  #schedule(ms: number): void {
    this.#timer ??= this.#clock.after(ms, () => {
      this.#timer = undefined;
      this.#free();
    });
  }

  #free(): void {
    try {
      this.#editor.apply(this.#work.edit);
    } catch (err) {
      if (!(err instanceof CairnError)) throw err;
      this.#log.debug({ err: messageOf(err) }, "reclaiming waits");
      this.#schedule(RETRY_MS);
    }
  }
}
