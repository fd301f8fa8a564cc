/** Runs work one piece after the other, in the order of the calls. Callers are bounded by their link's calls in flight. */
export class Serial {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `work` after everything given before it has ended, however it ended. */
  run<T>(work: () => T | Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined); // the caller has the error; the next piece does not depend on it
    return result;
  }
}
