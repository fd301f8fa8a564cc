import type { CairnError } from "../common/errors.js";
import type { Link } from "../proto/link.js";

type Listener = (reason: CairnError) => void;

/** Who wants to know when a link is lost. Links outlive the streams that use them, so that listeners must be able to go. */
export class LinkWatch {
  readonly #listeners = new Map<Link, Set<Listener>>();

  /** Calls onLost once when the link closes (soon, if it has), unless the returned function was called before. */
  watch(link: Link, onLost: Listener): () => void {
    let listeners = this.#listeners.get(link);
    if (listeners === undefined) {
      listeners = new Set();
      this.#listeners.set(link, listeners);
      void link.closed.then((reason) => this.#lost(link, reason));
    }
    listeners.add(onLost);
    return () => listeners.delete(onLost);
  }

  #lost(link: Link, reason: CairnError): void {
    const listeners = this.#listeners.get(link);
    this.#listeners.delete(link);
    for (const onLost of [...(listeners ?? [])]) onLost(reason);
  }
}
