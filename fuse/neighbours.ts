import type { CairnClient, Name } from "../client/contract.js";
import type { Clock } from "../common/clock.js";
import { MAX_AHEAD, MAX_INLINE, MAX_INLINE_PAGE } from "../common/limits.js";
import type { Dentry, Inode } from "../proto/gen/types.js";
import type { MetadataCache } from "./cache.js";
import { isRegular } from "./inode.js";
import { ListedOrders } from "./listed.js";

/** Files asked for ahead at first; twice as many each time, up to MAX_AHEAD, as long as they are opened. */
const FIRST = 2;
/** How many places a program may leave out, and is still taken to go through a directory in order. */
const NEAR = 8;
/** How many places in a row are passed over, because their files were read, are not known or not small, before the search ends. */
const MAX_PASSED = 32;
/** Directories that are being read at the same time, at most. */
const MAX_READINGS = 64;
/** A directory of which nothing was opened for so long is not being read any more, ms. */
const IDLE_MS = 10_000;

/** How the small files of a directory are being opened. */
interface Reading {
  readonly dir: number;
  /** When the last one was, monotonic ms. */
  at: number;
  last: number;
  order: Order;
  /** The place in the order up to which files were asked for. */
  reach: number;
  /** Files to ask for at a time. */
  window: number;
  /** Asked for, and not opened yet: never more than two windows. */
  readonly waiting: Set<number>;
  /** How many were waiting when the last ones had been asked for. */
  asked: number;
}

/** An order of inode numbers. */
interface Order {
  /** Negative when it is not in the order. */
  placeOf(ino: number): number;
  /** Undefined after the last place. */
  at(place: number): number | undefined;
}

/** Files that were made one after the other have numbers one after the other. */
const BY_NUMBER: Order = { placeOf: (ino) => ino, at: (place) => place };

/**
 * Which small files will be opened next: a program that opens those of a directory one after the other, as the directory lists them
 * (grep -r, tar, find; a shell's *, but for its locale) or by their numbers, as they were made (cp -r), goes on so. They are asked for
 * ahead, in one call for many. Only files of which this mount knows what they are at this moment, so that what comes is as well protected as that.
 */
export class Neighbours {
  readonly #client: Pick<CairnClient, "readAhead">;
  readonly #cache: Pick<MetadataCache, "inode" | "hasPagesOf">;
  readonly #clock: Clock;
  readonly #orders = new ListedOrders(({ inode }) => isSmall(inode));
  /** By directory, the one used last at the end. */
  readonly #readings = new Map<number, Reading>();
  /** What was a good window in the directory before: a program that goes through a tree goes on so. */
  #window = FIRST;

  constructor(
    client: Pick<CairnClient, "readAhead">,
    cache: Pick<MetadataCache, "inode" | "hasPagesOf">,
    clock: Clock,
  ) {
    this.#client = client;
    this.#cache = cache;
    this.#clock = clock;
  }

  /** A page of a directory was listed: the entries whose names are greater than `after`. */
  listed(dir: number, after: Name, entries: readonly Dentry[], more: boolean): void {
    this.#orders.listed(dir, after, entries, more);
  }

  /** A file is about to be read of which the kernel has no pages. */
  opened(inode: Inode): void {
    const { ino, parent: dir } = inode;
    if (!isSmall(inode) || dir === 0) return;
    const now = this.#clock.monotonic();
    const known = this.#readings.get(dir);
    if (known === undefined || now - known.at > IDLE_MS) return this.#begin(inode, now);
    this.#readings.delete(dir);
    this.#readings.set(dir, known);
    known.at = now;
    if (known.waiting.delete(ino)) {
      // More are on their way while the rest of these are opened.
      if (known.waiting.size <= known.asked / 2) this.#ask(known, known.window * 2, []);
    } else {
      const step = this.#step(known, ino);
      known.waiting.clear();
      if (step === undefined) known.window >>= 1;
      else {
        known.order = step.order;
        known.reach = step.place + 1;
        this.#ask(known, Math.max(FIRST, known.window), [inode]);
      }
    }
    known.last = ino;
  }

  /** The first file of a directory. Whoever begins with the first one in some order will go through all of them. */
  #begin(inode: Inode, now: number): void {
    const { ino, parent: dir } = inode;
    this.#judge();
    const first = this.#firstOf(inode);
    const [order, reach] = [first ?? BY_NUMBER, first === undefined ? 0 : first.placeOf(ino) + 1];
    const reading = { dir, at: now, last: ino, order, reach, window: 0, waiting: new Set<number>(), asked: 0 };
    this.#readings.delete(dir);
    this.#readings.set(dir, reading);
    if (this.#readings.size > MAX_READINGS) this.#readings.delete(this.#readings.keys().next().value!);
    if (this.#window > 0 && first !== undefined) this.#ask(reading, this.#window, [inode]);
  }

  /** The order in which a file is the first one of its directory; undefined when it is not so in any, or the directory was not listed. */
  #firstOf({ ino, parent: dir }: Inode): Order | undefined {
    const inos = this.#orders.of(dir);
    if (inos[0] === ino) return this.#listing(dir);
    return inos.length > 0 && inos.every((other) => other >= ino) ? BY_NUMBER : undefined;
  }

  /** Another directory is turned to: what of the one before was asked for in vain? */
  #judge(): void {
    const before = [...this.#readings.values()].at(-1);
    if (before !== undefined && before.waiting.size > (before.asked * 3) / 4) this.#window >>= 1;
  }

  /** The order, and the place in it, in which a file comes soon after the one that was opened last; undefined when in none. */
  #step({ dir, last }: Reading, ino: number): { order: Order; place: number } | undefined {
    for (const order of [this.#listing(dir), BY_NUMBER]) {
      const from = order.placeOf(last);
      if (from < 0) continue;
      for (let place = from + 1; place <= from + NEAR; place++) if (order.at(place) === ino) return { order, place };
    }
    return undefined;
  }

  #listing(dir: number): Order {
    const inos = this.#orders.of(dir);
    return { placeOf: (ino) => inos.indexOf(ino), at: (place) => inos[place] };
  }

  /** Asks for the next files of a directory, together with those that are being opened. */
  #ask(reading: Reading, window: number, opened: readonly Inode[]): void {
    reading.window = Math.min(window, MAX_AHEAD);
    this.#window = reading.window;
    const next = this.#next(reading, MAX_INLINE_PAGE - opened.reduce((bytes, { size }) => bytes + size, 0));
    if (next.length === 0) return;
    this.#client.readAhead([...opened, ...next]);
    for (const { ino } of next) reading.waiting.add(ino);
    reading.asked = reading.waiting.size;
  }

  /** The next files of a directory, as many as the window holds, and no more bytes than there is room for. */
  #next(reading: Reading, room: number): Inode[] {
    const { dir, order, window, waiting } = reading;
    const next: Inode[] = [];
    let left = room;
    for (let passed = 0; next.length < window && passed < MAX_PASSED; reading.reach++) {
      const ino = order.at(reading.reach);
      if (ino === undefined) break;
      const inode = waiting.has(ino) ? undefined : this.#cache.inode(ino);
      if (inode === undefined || inode.parent !== dir || !isSmall(inode) || this.#cache.hasPagesOf(inode)) {
        passed++;
        continue;
      }
      left -= inode.size;
      if (left < 0) break;
      next.push(inode);
      passed = 0;
    }
    return next;
  }
}

/** Whether a file is one that the namenode has the bytes of. */
function isSmall(inode: Inode): boolean {
  return isRegular(inode) && inode.inline > 0 && inode.size > 0 && inode.size <= MAX_INLINE;
}
