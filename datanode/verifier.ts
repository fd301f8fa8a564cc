import { CairnError, codeOf, messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import { type ReplicaChange, ReplicaChangeState } from "../proto/gen/types.js";
import { BlockFile } from "./block-file.js";
import type { RateLimit } from "./rate-limit.js";
import type { PlacedReplica } from "./replica-map.js";
import type { ReplicaStore } from "./store.js";

/** What came of reading a replica through. gone: it was deleted, or its volume dropped, meanwhile. missing: its file is not there. */
export type Verdict = "good" | "corrupt" | "missing" | "gone";

export interface VerifierOptions {
  store: ReplicaStore;
  /** Told of every replica that turns out corrupt. */
  report: (change: ReplicaChange) => void;
  log: Logger;
}

/** Reads replicas from their first byte to their footers, and has bad and missing ones reported. */
export class Verifier {
  readonly #options: VerifierOptions;

  constructor(options: VerifierOptions) {
    this.#options = options;
  }

  /** Reads a replica through, no faster than `limit` allows. Rejects when nothing can be said of it (EMFILE, ECANCELED …). */
  async verify(replica: PlacedReplica, limit: RateLimit): Promise<Verdict> {
    const { store, report, log } = this.#options;
    const { id, generation, length } = replica;
    try {
      await this.#readThrough(replica, limit);
      return "good";
    } catch (err) {
      if (store.map.get(id)?.generation !== generation) return "gone";
      const code = codeOf(err);
      if (code !== "ENOENT" && code !== "EBADMSG" && code !== "EIO") throw err;
      log.warn({ block: id, generation, err: messageOf(err) }, "a replica is bad");
      if (code === "ENOENT") {
        store.lost(replica);
        return "missing";
      }
      report({ block: { id, generation, length }, state: ReplicaChangeState.CORRUPT });
      return "corrupt";
    }
  }

  /** From a newly opened file: what is cached of an open one says nothing of the disk. */
  async #readThrough(replica: PlacedReplica, limit: RateLimit): Promise<void> {
    const { store } = this.#options;
    const file = await BlockFile.open(store.volumeOf(replica), replica, store.volumes.version.cluster);
    try {
      let length = 0;
      for await (const { run } of file.pieces((bytes) => limit.pass(bytes))) {
        for (const chunk of run.chunks) length += chunk.length;
      }
      if (length !== replica.length) throw new CairnError("EBADMSG", `${file.path} has ${length} bytes`);
    } finally {
      await file.close();
    }
  }
}
