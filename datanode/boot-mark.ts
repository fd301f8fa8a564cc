import { join } from "node:path";
import { z } from "zod";
import type { Clock } from "../common/clock.js";
import { codeOf, wrap } from "../common/errors.js";
import type { Disk } from "./disk.js";

/** What was written longer ago is on the platter, ms: the kernel brings it there after 30 s (dirty_expire_centisecs), a slow disk later. */
const SETTLED_MS = 600_000;
/** How often the mark moves on while replicas are written, ms. */
const STEP_MS = 60_000;
/** How far the times of files may be behind the clock, ms. */
const GRAIN_MS = 1_000;
/** Bad replicas that are written down at most. With more, all are looked for again. */
const MAX_BAD = 10_000;

const schema = z.object({ boot: z.string(), sinceMs: z.number(), bad: z.array(z.number()).max(MAX_BAD) });
type Mark = z.infer<typeof schema>;

/**
 * Since when what was written to a volume may not be on the platter, and in which boot of the machine that is: the BOOT file of a
 * volume. If another boot finds it, the power may have gone, and what was written since then may be torn. It also names those that
 * are known to be: whoever is told so may forget it.
 */
export class BootMark {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #clock: Clock;
  readonly #onFailure: (err: unknown) => void;
  #boot = "";
  /** Whether the file speaks of an earlier boot, whose replicas have not all been looked into. */
  #isEarlier = false;
  #bad: readonly number[] = [];
  #savedMs = Number.POSITIVE_INFINITY;
  /** Moments of the last SETTLED_MS: monotonic, and by the wall clock, which may jump. */
  #moments: { at: number; wallMs: number }[] = [];
  /** The last save, once it is done; saves come one after the other. Undefined: none is under way. */
  #saving: Promise<void> | undefined;

  /** @param onFailure told when the mark could not be moved on; whatever waits for a save gets its error itself */
  constructor(disk: Disk, volume: string, clock: Clock, onFailure: (err: unknown) => void) {
    this.#disk = disk;
    this.#path = join(volume, "BOOT");
    this.#clock = clock;
    this.#onFailure = onFailure;
  }

  /**
   * Reads the mark, or makes it.
   * @returns which replicas may be torn: those of the blocks `bad`, and those whose files were written to at `sinceMs` or later, ms since
   * 1970; undefined: no others
   */
  async open(boot: string): Promise<{ sinceMs: number | undefined; bad: readonly number[] }> {
    this.#boot = boot;
    const found = await this.#read();
    const wallMs = found?.sinceMs ?? this.#clock.now() - GRAIN_MS;
    this.#moments = [{ at: this.#clock.monotonic(), wallMs }];
    if (found === undefined) await this.#save();
    this.#savedMs = wallMs;
    this.#isEarlier = found !== undefined && found.boot !== boot;
    this.#bad = found?.bad ?? [];
    return { sinceMs: this.#isEarlier ? wallMs : undefined, bad: this.#bad };
  }

  /** The last bytes of a replica are about to be written: if a promise is returned, after it. */
  writing(): Promise<void> | undefined {
    const at = this.#clock.monotonic();
    const wallMs = this.#clock.now() - GRAIN_MS;
    const wasSetBack = wallMs < this.#sinceMs;
    if (wasSetBack || at - (this.#moments.at(-1)?.at ?? 0) >= STEP_MS) {
      this.#moments.push({ at, wallMs });
      while (this.#moments.length > 1 && this.#moments[1]!.at <= at - SETTLED_MS) this.#moments.shift();
      // A mark that is behind is only of less use.
      if (!this.#isEarlier && this.#sinceMs > this.#savedMs && this.#saving === undefined)
        this.#save().catch(this.#onFailure);
    }
    return this.#sinceMs < this.#savedMs ? this.#save() : undefined;
  }

  /** Every replica that may be torn has been looked into; those of the blocks `bad` are. EIO, ENOSPC: the next start does it again. */
  async settled(bad: readonly number[]): Promise<void> {
    if (bad.length > MAX_BAD || (bad.length === 0 && this.#bad.length === 0 && !this.#isEarlier)) return;
    this.#bad = bad;
    this.#isEarlier = false;
    await this.#save();
  }

  /** Resolves when nothing is being written any more. */
  async close(): Promise<void> {
    await this.#saving?.catch(() => undefined); // whoever asked for it has its error
  }

  get #sinceMs(): number {
    return Math.min(...this.#moments.map(({ wallMs }) => wallMs));
  }

  async #read(): Promise<Mark | undefined> {
    let text: string;
    try {
      text = await this.#disk.readText(this.#path);
    } catch (err) {
      if (codeOf(err) === "ENOENT") return undefined;
      throw wrap(err, `cannot read ${this.#path}`);
    }
    try {
      return schema.parse(JSON.parse(text));
    } catch {
      return { boot: "", sinceMs: 0, bad: [] }; // it makes no sense: anything may be torn
    }
  }

  /** Writes what holds when it is its turn. */
  #save(): Promise<void> {
    const before = this.#saving ?? Promise.resolve();
    const saving = before.catch(() => undefined).then(() => this.#write());
    const done = saving.finally(() => {
      if (this.#saving === done) this.#saving = undefined;
    });
    this.#saving = done;
    return done;
  }

  async #write(): Promise<void> {
    const sinceMs = this.#sinceMs;
    const boot = this.#isEarlier ? "" : this.#boot;
    try {
      await this.#disk.replaceText(this.#path, `${JSON.stringify({ boot, sinceMs, bad: this.#bad })}\n`);
      this.#savedMs = sinceMs;
    } catch (err) {
      throw wrap(err, `cannot write ${this.#path}`);
    }
  }
}
