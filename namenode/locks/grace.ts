/** Waits, after a restart, for the sessions that may have locks. */
export class Grace {
  /** Resolves when all that were waited for are back or have ended. */
  readonly ended: Promise<void>;
  readonly #expected = new Set<number>();
  readonly #done: () => void;
  #resolve!: () => void;

  /** @param done called when all are back or have ended, before `ended` resolves */
  constructor(done: () => void) {
    this.#done = done;
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Begins, once, to wait for sessions. */
  wait(sessions: Iterable<number>): void {
    for (const session of sessions) this.#expected.add(session);
  }

  /** Whether anybody is waited for. */
  get isOn(): boolean {
    return this.#expected.size > 0;
  }

  /** Whether a session is waited for. */
  expects(session: number): boolean {
    return this.#expected.has(session);
  }

  /** A session is back, or has ended. */
  over(session: number): void {
    if (!this.#expected.delete(session) || this.isOn) return;
    this.#done();
    this.#resolve();
  }
}
