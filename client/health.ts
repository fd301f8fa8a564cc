import type { Clock } from "../common/clock.js";
import { codeOf } from "../common/errors.js";

/** How long a datanode that failed is asked last, and not written to, ms. */
export const AVOID_MS = 60_000;
/** Datanodes remembered at most; the oldest failures are forgotten first. */
const MAX_REMEMBERED = 1024;

/** Which datanodes failed this client lately. */
export class DatanodeHealth {
  readonly #clock: Clock;
  readonly #failed = new Map<number, { until: number; code: string }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Remembers a failure of a datanode. */
  failed(datanode: number, err: unknown): void {
    this.#failed.delete(datanode);
    if (this.#failed.size >= MAX_REMEMBERED) this.#failed.delete(this.#failed.keys().next().value!);
    this.#failed.set(datanode, { until: this.#clock.monotonic() + AVOID_MS, code: codeOf(err) });
  }

  /** A datanode did what was asked of it. */
  worked(datanode: number): void {
    if (this.#failed.size > 0) this.#failed.delete(datanode);
  }

  /** Whether a datanode is better left alone now. */
  isAvoided(datanode: number): boolean {
    const failure = this.#failed.get(datanode);
    if (failure === undefined) return false;
    if (failure.until > this.#clock.monotonic()) return true;
    this.#failed.delete(datanode);
    return false;
  }

  /** All datanodes to leave alone now. */
  avoided(): number[] {
    return [...this.#failed.keys()].filter((id) => this.isAvoided(id));
  }

  /** Whether a datanode is avoided because it had no room. */
  get someFull(): boolean {
    return this.avoided().some((id) => this.#failed.get(id)?.code === "ENOSPC");
  }

  /** Gives every datanode another chance. */
  forgive(): void {
    this.#failed.clear();
  }
}
