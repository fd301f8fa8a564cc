/** Syncs of directories, shared: who asks while one is under way gets the next, together with all others who ask by then. */
export class DirectorySyncs {
  readonly #sync: (directory: string) => Promise<void>;
  readonly #running = new Map<string, Promise<void>>();
  readonly #next = new Map<string, Promise<void>>();

  /** @param sync brings the names in one directory to the platter */
  constructor(sync: (directory: string) => Promise<void>) {
    this.#sync = sync;
  }

  /** Resolves when every name that is in the directory now is on the platter. */
  sync(directory: string): Promise<void> {
    const running = this.#running.get(directory);
    if (running === undefined) return this.#start(directory);
    let next = this.#next.get(directory);
    if (next === undefined) {
      next = running
        .catch(() => undefined) // whoever asked for it has its error
        .then(() => {
          this.#next.delete(directory);
          return this.#start(directory);
        });
      this.#next.set(directory, next);
    }
    return next;
  }

  #start(directory: string): Promise<void> {
    const running = this.#sync(directory).finally(() => {
      if (this.#running.get(directory) === running) this.#running.delete(directory);
    });
    this.#running.set(directory, running);
    return running;
  }
}
