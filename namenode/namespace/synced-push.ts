import type { Clock, Timer } from "../../common/clock.js";
import { LINK_HIGH_WATER } from "../../common/limits.js";
import { ClientPush } from "../../proto/gen/services.js";
import type { Link } from "../../proto/link.js";

/** Least time between two pushes, ms. */
const INTERVAL_MS = 50;

/** Tells clients up to where edits are on the disk. The newest index only, and not too often. */
export class SyncedPush {
  readonly #clock: Clock;
  readonly #links: () => Iterable<Link>;
  #latest = 0;
  #timer: Timer | undefined;

  /** @param links the clients' connections at the moment */
  constructor(clock: Clock, links: () => Iterable<Link>) {
    this.#clock = clock;
    this.#links = links;
  }

  /** Edits up to `index` are on the disk. */
  synced(index: number): void {
    this.#latest = index;
    this.#timer ??= this.#clock.after(INTERVAL_MS, () => {
      this.#timer = undefined;
      this.#push();
    });
  }

  close(): void {
    this.#timer?.clear();
  }

  #push(): void {
    for (const link of this.#links()) {
      // A client that does not keep up is told by a later push.
      if (link.bufferedBytes < LINK_HIGH_WATER) link.push(ClientPush.synced, { syncedIndex: this.#latest });
    }
  }
}
