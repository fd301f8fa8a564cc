import type { Clock, Timer } from "../../common/clock.js";
import { MAX_DELEGATIONS, RECALL_MS } from "../../common/limits.js";
import type { Logger } from "../../common/log.js";
import { ClientPush } from "../../proto/gen/services.js";
import type { Link } from "../../proto/link.js";

interface Delegation {
  readonly dir: number;
  readonly session: number;
  /** Resolves when it is given back, or taken; made when it is recalled. */
  recall: Promise<void> | undefined;
  end: () => void;
  deadline: Timer | undefined;
}

export interface DelegationsOptions {
  clock: Clock;
  log: Logger;
  /** A session's connection, while it has one. */
  link: (session: number) => Link | undefined;
}

/**
 * Which directories are delegated: one client may make files in them by itself, and bring them when they have content, because nobody
 * else looks. Before anyone does, the delegation is recalled: he waits until what was made is here. In memory only: after a
 * restart nothing is delegated. A client that does not answer loses it; then its files come as anybody's, EEXIST where the name was
 * given to another meanwhile.
 */
export class Delegations {
  readonly #options: DelegationsOptions;
  readonly #delegations = new Map<number, Delegation>();
  /** Session → its directories. */
  readonly #bySession = new Map<number, Set<number>>();

  constructor(options: DelegationsOptions) {
    this.#options = options;
  }

  /** How many there are. */
  get size(): number {
    return this.#delegations.size;
  }

  /** Delegates a directory to a session. False when it is another's, is being recalled, or the session has too many. */
  grant(dir: number, session: number): boolean {
    const known = this.#delegations.get(dir);
    if (known !== undefined) return known.session === session && known.recall === undefined;
    const dirs = this.#bySession.get(session) ?? new Set<number>();
    if (dirs.size >= MAX_DELEGATIONS) return false;
    this.#bySession.set(session, dirs.add(dir));
    this.#delegations.set(dir, { dir, session, recall: undefined, end: () => {}, deadline: undefined });
    return true;
  }

  /**
   * A session is about to see, or to change, what is in a directory. @param session undefined: of nobody who could have a delegation
   * @returns undefined when no other has it delegated; else resolves when that is over, after RECALL_MS at the latest
   */
  recall(dir: number, session: number | undefined): Promise<void> | undefined {
    const delegation = this.#delegations.get(dir);
    if (delegation === undefined || delegation.session === session) return undefined;
    delegation.recall ??= this.#recall(delegation);
    return delegation.recall;
  }

  /** As recall, of all directories that are among some. */
  async recallAmong(isAmong: (dir: number) => boolean): Promise<void> {
    await Promise.all([...this.#delegations.keys()].filter(isAmong).map((dir) => this.recall(dir, undefined)));
  }

  /** A session has given directories back. */
  returned(session: number, dirs: readonly number[]): void {
    for (const dir of dirs) if (this.#delegations.get(dir)?.session === session) this.#end(dir);
  }

  /** A session has ended. */
  ended(session: number): void {
    for (const dir of [...(this.#bySession.get(session) ?? [])]) this.#end(dir);
  }

  /** The namenode ends: nobody waits any longer. */
  close(): void {
    for (const dir of [...this.#delegations.keys()]) this.#end(dir);
  }

  #recall(delegation: Delegation): Promise<void> {
    const { clock, log, link } = this.#options;
    const { dir, session } = delegation;
    link(session)?.push(ClientPush.recall, { dirs: [dir] });
    delegation.deadline = clock.after(RECALL_MS, () => {
      log.warn({ session, dir }, `a client did not give a directory back within ${RECALL_MS} ms: it is taken from it`);
      this.#end(dir);
    });
    return new Promise((resolve) => {
      delegation.end = resolve;
    });
  }

  #end(dir: number): void {
    const delegation = this.#delegations.get(dir);
    if (delegation === undefined) return;
    this.#delegations.delete(dir);
    const dirs = this.#bySession.get(delegation.session);
    dirs?.delete(dir);
    if (dirs?.size === 0) this.#bySession.delete(delegation.session);
    delegation.deadline?.clear();
    delegation.end();
  }
}
