import type { SimCluster } from "./cluster.js";

/** A promise of the file system that it has not kept. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** Faults that ended this long ago excuse no error any more, ms. */
const AFTERMATH_MS = 150_000;

/** What all actors and faults of a run share: the history, whether errors are excused, and the first violation. */
export class Checker {
  readonly history: string[] = [];
  /** Operations so far. */
  operations = 0;
  /** Errors that faults excuse, by code. */
  readonly excused = new Map<string, number>();
  /** Told of every promise that a program is given: what it was, and the program's machine. */
  readonly promises: ((what: string, machine: string) => void)[] = [];
  /** How often what matters happened, by what it was. */
  readonly met = new Map<string, number>();
  /** The first broken promise. */
  violation: Violation | undefined;
  #cluster: SimCluster | undefined;
  #active = 0;
  #lastFault = 0;

  attach(cluster: SimCluster): void {
    this.#cluster = cluster;
  }

  readonly tell = (what: string): void => {
    this.history.push(`${(this.#cluster?.time.now ?? 0).toFixed(2).padStart(11)}  ${what}`);
  };

  /** A program is promised something. */
  promise(what: string, machine: string): void {
    for (const listener of this.promises) listener(what, machine);
  }

  /** Something happened that a run is to have met. */
  meet(what: string): void {
    this.met.set(what, (this.met.get(what) ?? 0) + 1);
  }

  /** A fault begins. */
  begin(): void {
    this.#active++;
  }

  /** A fault is over; its consequences may not be. */
  end(): void {
    this.#active--;
    this.#lastFault = this.#cluster!.time.now;
  }

  /** Whether nothing is wrong, nor was of late. */
  get isCalm(): boolean {
    return this.#active === 0 && this.#cluster!.time.now - this.#lastFault > AFTERMATH_MS;
  }

  /** Notes a violation, unless `ok`. */
  check(ok: boolean, promise: string): void {
    if (ok || this.violation) return;
    this.tell(`VIOLATION: ${promise}`);
    this.violation = new Violation(promise);
  }

  /** An operation failed: only a fault is an excuse. */
  excuse(code: string, what: string): void {
    this.tell(`${what}: ${code}`);
    this.check(!this.isCalm, `${what} succeeds when nothing is wrong, and did not (${code})`);
    this.excused.set(code, (this.excused.get(code) ?? 0) + 1);
  }

  /** Something threw that nothing may throw. */
  fatal(err: unknown): void {
    this.check(false, `no program breaks: ${err instanceof Error ? (err.stack ?? err.message) : String(err)}`);
  }
}
