import type { Clock } from "../../common/clock.js";
import type { Logger } from "../../common/log.js";
import type { EventInit } from "../../proto/gen/types.js";

/** Events kept; the oldest goes when one more comes. */
const MAX_EVENTS = 200;

export type Severity = "info" | "warning" | "error";

/** What happened lately, for people. Everything is also in the log. */
export class Events {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #ring: EventInit[] = [];

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Notes an event that happens now. */
  add(severity: Severity, message: string): void {
    this.#log[severity === "warning" ? "warn" : severity](message);
    this.#ring.push({ timeMs: this.#clock.now(), severity, message });
    if (this.#ring.length > MAX_EVENTS) this.#ring.shift();
  }

  /** Newest first. */
  list(): EventInit[] {
    return this.#ring.toReversed();
  }
}
