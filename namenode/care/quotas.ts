import type { Clock } from "../../common/clock.js";
import { CairnError, messageOf } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import type { GetQuotasRequest, QuotasReplyInit, SetQuotaRequest } from "../../proto/gen/types.js";
import { DentryRecord } from "../../proto/gen/types.js";
import type { Editor } from "../contract.js";
import { inRange } from "../namespace/checks.js";
import { dentriesOf, dirOfQuota, nameOfDentry, QUOTAS } from "../namespace/keys.js";
import { livingDirectory } from "../namespace/operations/context.js";
import { countBelow, quotasAbove, readQuota, shownQuota, type Usage } from "../namespace/quotas.js";
import { readInode } from "../namespace/records.js";
import { isDirectory } from "../namespace/types.js";
import type { KeyValue } from "../store/kv.js";
import type { Store } from "../store/store.js";

/** Names looked at in one turn of the event loop. */
const SLICE = 500;
/** Files charged anew by one edit. */
const ADOPTED = 500;
/** Pause before a count that failed (the disk is full) is tried again, ms. */
const RETRY_MS = 10_000;

/** What quotas are kept with. */
export interface QuotaParts {
  readonly store: Pick<Store, "snapshot">;
  readonly editor: Editor;
  /** Undefined when an edit may be made now; else resolves when one may. */
  readonly room: () => Promise<void> | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * The quotas of directories. A new one counts changes from its edit on; what is there already is counted in a snapshot, and the
 * usage is corrected by the difference between the two at that moment, which stays the same whatever changes later.
 */
export class Quotas {
  readonly #parts: QuotaParts;
  #counting: Promise<void> | undefined;
  #closed = false;

  constructor(parts: QuotaParts) {
    this.#parts = parts;
  }

  /** Goes on with what has not been counted before the namenode was stopped. */
  start(): void {
    this.#count();
  }

  /** Stops counting. */
  close(): Promise<void> {
    this.#closed = true;
    return this.#counting ?? Promise.resolve();
  }

  /** Admin.SetQuota. ESTALE, ENOTDIR, EINVAL. */
  async set({ ino, names, bytes }: SetQuotaRequest): Promise<Record<string, never>> {
    const { editor, room } = this.#parts;
    livingDirectory(editor.kv, ino);
    inRange(names, 0, Number.MAX_SAFE_INTEGER, "names of a quota");
    inRange(bytes, 0, Number.MAX_SAFE_INTEGER, "bytes of a quota");
    await room();
    const { index } = editor.apply({ setQuota: { dir: ino, names, bytes } });
    await editor.appended(index);
    this.#count();
    return {};
  }

  /** Admin.GetQuotas. ESTALE, ENOTDIR. */
  get({ ino }: GetQuotasRequest): QuotasReplyInit {
    const { kv } = this.#parts.editor;
    livingDirectory(kv, ino);
    const quotas = quotasAbove(kv, ino).map(({ dir, quota }) => shownQuota(dir, quota));
    return { quotas: quotas.reverse() };
  }

  /** Counts every quota anew, as fsck --repair does. */
  async recount(): Promise<void> {
    for (const dir of quotasOf(this.#parts.editor.kv)) await this.#countOne(dir);
  }

  /** Resolves when nothing is being counted. */
  async settled(): Promise<void> {
    await this.#counting;
  }

  /** Counts those that have not been, one after the other. */
  #count(): void {
    this.#counting ??= this.#countAll().finally(() => {
      this.#counting = undefined;
    });
  }

  async #countAll(): Promise<void> {
    const { editor, log, clock } = this.#parts;
    for (;;) {
      const next = quotasOf(editor.kv).find((dir) => readQuota(editor.kv, dir)?.counted === false);
      if (next === undefined || this.#closed) return;
      try {
        await this.#countOne(next);
      } catch (err) {
        if (!(err instanceof CairnError)) throw err;
        log.warn({ err: messageOf(err), directory: next }, "a quota could not be counted: trying again");
        await new Promise<void>((resolve) => clock.after(this.#closed ? 0 : RETRY_MS, resolve));
      }
    }
  }

  async #countOne(dir: number): Promise<void> {
    const { store, editor, room, log } = this.#parts;
    await this.#adoptBelow(dir);
    const snapshot = await store.snapshot();
    try {
      const quota = readQuota(snapshot, dir);
      const counted = quota && (await this.#inSlices(countBelow(snapshot, dir)));
      if (quota === undefined || counted === undefined) return;
      await room();
      const names = counted.names - quota.usedNames;
      const bytes = counted.bytes - quota.usedBytes;
      if (quota.counted && names === 0 && bytes === 0) return;
      if (quota.counted) log.warn({ directory: dir, names, bytes }, "the usage of a quota was wrong, and is corrected");
      const { index } = editor.apply({ countQuota: { dir, since: quota.since, names, bytes } });
      await editor.appended(index);
    } finally {
      snapshot.close();
    }
  }

  /** Charges the files below a directory that are charged to none to those that they are in. */
  async #adoptBelow(dir: number): Promise<void> {
    const { editor, room } = this.#parts;
    const { kv } = editor;
    const dirs = [dir];
    let seen = 0;
    for (let at = dirs.pop(); at !== undefined && !this.#closed; at = dirs.pop()) {
      let names: Uint8Array[] = [];
      const adopt = async () => {
        if (names.length === 0) return;
        await room();
        editor.apply({ adopt: { dir: at!, names } });
        names = [];
      };
      for (const [key, value] of kv.range(dentriesOf(at))) {
        if (++seen % SLICE === 0) await this.#pause();
        const { ino, type } = DentryRecord.decode(value);
        if (isDirectory({ mode: type })) dirs.push(ino);
        else if (readInode(kv, ino)?.parent === 0) names.push(nameOfDentry(key));
        if (names.length >= ADOPTED) await adopt();
      }
      await adopt();
    }
  }

  /** Runs a count, a slice per turn of the event loop; undefined when the namenode is stopped meanwhile. */
  async #inSlices(count: Generator<void, Usage>): Promise<Usage | undefined> {
    for (let i = 1; ; i++) {
      const step = count.next();
      if (step.done) return step.value;
      if (i % SLICE === 0) await this.#pause();
      if (this.#closed) return undefined;
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.#parts.clock.after(0, resolve));
  }
}

/** The directories that have a quota. */
function quotasOf(kv: KeyValue): number[] {
  return Array.from(kv.range(QUOTAS), ([key]) => dirOfQuota(key));
}
