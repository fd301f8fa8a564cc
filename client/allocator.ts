import type { Clock, Timer } from "../common/clock.js";
import { CairnError, codeOf, messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import { Namenode } from "../proto/gen/services.js";
import type { LocatedBlock, Policy } from "../proto/gen/types.js";
import type { DatanodeHealth } from "./health.js";
import type { Session } from "./session.js";

/** Blocks asked for in one call, at most, when files are written faster than one by one. */
const MAX_AHEAD = 8;
/** How long a block is kept before it is given back, ms: the cluster it was placed for changes. */
const KEEP_MS = 20_000;
/** Policies for which blocks are kept. */
const MAX_SHELVES = 16;

interface Shelf {
  blocks: { located: LocatedBlock; until: number }[];
  /** How many to ask for next time: doubles as long as they are used up. */
  next: number;
  refill: Promise<void> | undefined;
}

/** Blocks to write to, asked for ahead of their use, so that most writers do not wait for the namenode. */
export class BlockAllocator {
  readonly #session: Session;
  readonly #health: DatanodeHealth;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #hostName: string;
  readonly #shelves = new Map<string, Shelf>();
  readonly #timer: Timer;

  constructor(session: Session, health: DatanodeHealth, clock: Clock, log: Logger, hostName: string) {
    this.#session = session;
    this.#health = health;
    this.#clock = clock;
    this.#log = log;
    this.#hostName = hostName;
    this.#timer = clock.every(KEEP_MS / 2, () => this.#tidy());
  }

  /** Stops. What is still allocated goes with the session. */
  close(): void {
    this.#timer.clear();
  }

  /** A new block and its pipeline. ENOSPC when no datanode has room. */
  async take(policy: Policy): Promise<LocatedBlock> {
    const shelf = this.#shelf(policy);
    this.#tidyShelf(shelf);
    for (;;) {
      const kept = shelf.blocks.shift();
      if (kept !== undefined) {
        if (shelf.blocks.length === 0) this.#refill(shelf, policy).catch(() => {}); // the next take() meets the error
        return kept.located;
      }
      await this.#refill(shelf, policy);
    }
  }

  /** Gives blocks back that will not be committed. */
  abandon(blocks: readonly number[]): void {
    if (blocks.length === 0) return;
    for (const id of blocks) this.#session.pending.delete(id);
    this.#session.call(Namenode.abandonBlocks, { session: this.#session.id, blocks }).catch((err) => {
      this.#log.debug({ blocks: blocks.length, err: messageOf(err) }, "blocks go with the session");
    });
  }

  #shelf(policy: Policy): Shelf {
    const key = `${policy.replicas} ${policy.blockSize}`;
    let shelf = this.#shelves.get(key);
    if (shelf === undefined) {
      if (this.#shelves.size >= MAX_SHELVES) this.#drop(this.#shelves.keys().next().value!);
      shelf = { blocks: [], next: 1, refill: undefined };
      this.#shelves.set(key, shelf);
    }
    return shelf;
  }

  #refill(shelf: Shelf, policy: Policy): Promise<void> {
    shelf.refill ??= this.#allocate(policy, shelf.next)
      .then((blocks) => {
        const until = this.#clock.monotonic() + KEEP_MS;
        for (const located of blocks) shelf.blocks.push({ located, until });
        shelf.next = Math.min(MAX_AHEAD, shelf.next * 2);
      })
      .finally(() => {
        shelf.refill = undefined;
      });
    return shelf.refill;
  }

  async #allocate(policy: Policy, count: number): Promise<LocatedBlock[]> {
    const { replicas, blockSize } = policy;
    const base = { session: this.#session.id, count, replicas, blockSize, host: this.#hostName };
    const exclude = this.#health.avoided();
    const ask = async (exclude: number[]) =>
      (await this.#session.call(Namenode.allocateBlocks, { ...base, exclude })).blocks;
    let blocks: LocatedBlock[];
    try {
      blocks = await ask(exclude);
    } catch (err) {
      // Datanodes that could not be reached get another chance before there is no room at all; full ones do not.
      const code = codeOf(err);
      const hopeless = code === "ENOSPC" ? this.#health.someFull : code !== "EAGAIN";
      if (exclude.length === 0 || hopeless) throw err;
      this.#health.forgive();
      blocks = await ask([]);
    }
    if (blocks.length === 0 || blocks.some((b) => b.replicas.length === 0)) {
      throw new CairnError("EPROTO", "the namenode allocated a block without datanodes");
    }
    for (const { block } of blocks) this.#session.pending.set(block.id, block);
    return blocks;
  }

  /** Takes out what is too old or would be written to a datanode that failed. */
  #tidyShelf(shelf: Shelf): void {
    const now = this.#clock.monotonic();
    const stale = shelf.blocks.filter(
      ({ located, until }) => until <= now || located.replicas.some((r) => this.#health.isAvoided(r.id)),
    );
    if (stale.length === 0) return;
    shelf.blocks = shelf.blocks.filter((b) => !stale.includes(b));
    this.abandon(stale.map((b) => b.located.block.id));
  }

  #tidy(): void {
    for (const [key, shelf] of this.#shelves) {
      this.#tidyShelf(shelf);
      if (shelf.blocks.length > 0) continue;
      shelf.next = 1;
      if (shelf.refill === undefined) this.#shelves.delete(key);
    }
  }

  #drop(key: string): void {
    const shelf = this.#shelves.get(key)!;
    this.#shelves.delete(key);
    this.abandon(shelf.blocks.map((b) => b.located.block.id));
  }
}
