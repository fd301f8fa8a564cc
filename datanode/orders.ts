import type { Clock } from "../common/clock.js";
import { codeOf } from "../common/errors.js";
import { MAX_BLOCKS_PAGE, MAX_REPLICAS } from "../common/limits.js";
import type { Logger } from "../common/log.js";
import {
  type Block,
  type DeleteCommand,
  type ReplicaChange,
  ReplicaChangeState,
  type ReplicateCommand,
} from "../proto/gen/types.js";
import type { Downstreams } from "./downstream.js";
import type { Identity } from "./identity.js";
import { RateLimit } from "./rate-limit.js";
import type { PlacedReplica } from "./replica-map.js";
import type { ReplicaStore } from "./store.js";
import { transfer } from "./transfer.js";
import type { Verifier } from "./verifier.js";
import { WorkQueue } from "./work-queue.js";

const { VERIFIED, DELETED } = ReplicaChangeState;
/** Orders of each kind that may wait. */
const MAX_TRANSFERS = 4096;
const MAX_DELETIONS = 16 * MAX_BLOCKS_PAGE;
const MAX_VERIFICATIONS = MAX_BLOCKS_PAGE;
/** Files removed at once: each occupies a thread, and a large one for long. */
const PARALLEL_DELETIONS = 1;

export interface OrdersOptions {
  store: ReplicaStore;
  verifier: Verifier;
  identity: Identity;
  downstreams: Downstreams;
  report: (change: ReplicaChange) => void;
  clock: Clock;
  log: Logger;
  /** Replicas sent at once, and bytes per second that transfers and verifications may read; 0: no limit. */
  parallelTransfers: number;
  bytesPerSecond: number;
}

/** Does what the namenode orders: sends replicas to other datanodes, deletes and verifies them. */
export class Orders {
  readonly #options: OrdersOptions;
  readonly #limit: RateLimit;
  readonly #transfers: WorkQueue<ReplicateCommand>;
  readonly #deletions: WorkQueue<Block>;
  readonly #verifications: WorkQueue<Block>;
  /** Blocks that are verified or wait for it: readers who stumble over the same replica ask once. */
  readonly #inDoubt = new Set<number>();

  constructor(options: OrdersOptions) {
    const { log, clock } = options;
    this.#options = options;
    this.#limit = new RateLimit(options.bytesPerSecond, clock);
    this.#transfers = new WorkQueue({
      name: "send a replica",
      parallel: options.parallelTransfers,
      limit: MAX_TRANSFERS,
      run: (order) => this.#transfer(order),
      log,
    });
    this.#deletions = new WorkQueue({
      name: "delete a replica",
      parallel: PARALLEL_DELETIONS,
      limit: MAX_DELETIONS,
      run: ({ id, generation }) => options.store.remove(id, generation),
      log,
    });
    this.#verifications = new WorkQueue({
      name: "verify a replica",
      parallel: 1,
      limit: MAX_VERIFICATIONS,
      run: (block) => this.#verify(block),
      log,
    });
  }

  /** Replicas being sent now. */
  get transfers(): number {
    return this.#transfers.running;
  }

  /** DatanodeCommands.Replicate. */
  replicate(order: ReplicateCommand): void {
    if (order.targets.length > 0 && order.targets.length <= MAX_REPLICAS) this.#transfers.add(order);
    else this.#options.log.warn({ block: order.block.id, targets: order.targets.length }, "an order without a sense");
  }

  /** DatanodeCommands.Delete. */
  delete({ blocks }: DeleteCommand): void {
    for (const block of blocks) this.#deletions.add(block);
  }

  /** DatanodeCommands.Verify. */
  verify({ blocks }: DeleteCommand): void {
    for (const block of blocks) this.doubt(block);
  }

  /** Has a replica verified that gave a reader trouble. */
  doubt({ id, generation, length }: Block | PlacedReplica): void {
    if (this.#inDoubt.has(id)) return;
    this.#inDoubt.add(id);
    if (!this.#verifications.add({ id, generation, length })) this.#inDoubt.delete(id);
  }

  /**
   * Forgets deletions ordered before the connection to the namenode was lost: a namenode that has started anew counts what
   * is reported to it, and might trim another copy of a replica that is then deleted here. Resolves when none is under way.
   */
  async forgetDeletions(): Promise<void> {
    await this.#deletions.forget();
  }

  /** Drops what waits, breaks off what is read slowly; resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#limit.close();
    await Promise.all([this.#transfers.close(), this.#deletions.close(), this.#verifications.close()]);
  }

  async #transfer({ block, targets }: ReplicateCommand): Promise<void> {
    const { store, identity, downstreams, clock, log } = this.#options;
    const replica = store.get(block.id, block.generation);
    const pace = (bytes: number) => this.#limit.pass(bytes);
    const started = clock.monotonic();
    try {
      await store.use(replica, (file) =>
        transfer({ file, targets, cluster: identity.cluster, downstreams, pace, clock }),
      );
      const ms = Math.round(clock.monotonic() - started);
      log.info({ block: block.id, bytes: replica.length, targets: targets.map((t) => t.id), ms }, "sent a replica");
    } catch (err) {
      if (codeOf(err) === "EEXIST") log.debug({ block: block.id }, "the target has the replica already");
      else if (this.#isOwnFault(err)) this.doubt(replica);
      throw err;
    }
  }

  /** Whether a transfer failed because of the replica here: nothing that the targets say comes with these errors. */
  #isOwnFault(err: unknown): boolean {
    const code = codeOf(err);
    return code === "EBADMSG" || code === "EIO" || code === "ENOENT";
  }

  async #verify({ id, generation }: Block): Promise<void> {
    this.#inDoubt.delete(id);
    const { store, verifier, report } = this.#options;
    const held = store.map.get(id);
    if (held === undefined || held.generation !== generation) {
      if (held === undefined) report({ block: { id, generation, length: 0 }, state: DELETED });
      return;
    }
    if ((await verifier.verify(held, this.#limit)) === "good")
      report({ block: { id, generation, length: held.length }, state: VERIFIED });
  }
}
