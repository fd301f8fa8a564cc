import { expect } from "chai";
import fc from "fast-check";
import { CairnError } from "../../../common/errors.js";
import { conflicts, LAST_BYTE, type LockKind, type LockSpace } from "../../../common/lock.js";
import type { HeldLock, LockRequest } from "../../../namenode/locks/request.js";
import { LOCK_LIMITS, type LockLimits, LockTable } from "../../../namenode/locks/table.js";

const INO = 5;
const EX: LockKind = "exclusive";
const SH: LockKind = "shared";

/** Owners, and the processes that they are, are called by letters here. */
const numberOf = (letter: string) => letter.charCodeAt(0);
const letterOf = ({ pid }: { pid: number }) => String.fromCharCode(pid);

/** A table, and what it has decided. */
class Locks {
  readonly decided: string[] = [];
  readonly table: LockTable;
  #ticket = 0;

  constructor(limits: Partial<LockLimits> = {}) {
    this.table = new LockTable(
      (waiter, refusal) => this.decided.push(`${letterOf(waiter)}#${waiter.ticket} ${refusal?.code ?? "locked"}`),
      { ...LOCK_LIMITS, ...limits },
    );
  }

  request(owner: string, kind: LockKind | undefined, at: Partial<LockRequest> = {}): LockRequest {
    const pid = numberOf(owner);
    return { session: 1, space: "range", owner: BigInt(pid), ino: INO, kind, first: 0n, last: LAST_BYTE, pid, ...at };
  }

  /** Tries; what came of it. */
  try(owner: string, kind: LockKind | undefined, at: Partial<LockRequest> = {}): string {
    return outcome(() => this.table.set(this.request(owner, kind, at)));
  }

  /** Waits if it must; what came of it. Tickets are 1, 2, 3, … */
  wait(owner: string, kind: LockKind, at: Partial<LockRequest> = {}): string {
    return outcome(() => this.table.set(this.request(owner, kind, at), ++this.#ticket));
  }

  /** What an owner holds: [first, last, kind]. */
  held(owner: string, at: Partial<LockRequest> = {}): unknown[] {
    const pieces = this.table.held(this.request(owner, EX, at), at.ino ?? INO);
    return pieces.map(({ first, last, kind }) => [Number(first), Number(last), kind]);
  }
}

function outcome(act: () => string): string {
  try {
    return act();
  } catch (err) {
    if (!(err instanceof CairnError)) throw err;
    return err.code;
  }
}

const at = (first: number, last: number): Partial<LockRequest> => ({ first: BigInt(first), last: BigInt(last) });
const FLOCK: Partial<LockRequest> = { space: "whole" };

describe("the lock table", () => {
  let locks: Locks;
  beforeEach(() => {
    locks = new Locks();
  });

  it("lets many share, and one alone have a range", () => {
    expect(locks.try("a", SH, at(0, 9))).to.equal("done");
    expect(locks.try("b", SH, at(5, 20))).to.equal("done");
    expect(locks.try("c", EX, at(9, 9))).to.equal("EAGAIN");
    expect(locks.try("c", EX, at(21, 30))).to.equal("done");
    expect(locks.try("a", EX, at(0, 4))).to.equal("done");
    expect(locks.try("a", EX, at(0, 5))).to.equal("EAGAIN");
    expect(locks.held("a")).to.deep.equal([
      [0, 4, EX],
      [5, 9, SH],
    ]);
  });

  it("says what is in the way: the first in the file", () => {
    locks.try("b", SH, at(50, 60));
    locks.try("a", EX, at(10, 19));
    const blocker = locks.table.test(locks.request("c", EX) as HeldLock)!;
    expect(blocker).to.include({ kind: EX, first: 10n, last: 19n, pid: 97, owner: 97n, session: 1 });
    expect(locks.table.test(locks.request("c", SH, at(50, 60)) as HeldLock)).to.equal(undefined);
    expect(locks.table.test(locks.request("a", EX, at(0, 49)) as HeldLock)).to.equal(undefined);
  });

  it("tells owners of different sessions, files and kinds of locks apart", () => {
    expect(locks.try("a", EX)).to.equal("done");
    expect(locks.try("a", EX, { session: 2 })).to.equal("EAGAIN");
    expect(locks.try("b", EX, { ino: 6 })).to.equal("done");
    expect(locks.try("b", EX, FLOCK)).to.equal("done");
  });

  it("serves those who wait in the order in which they came, readers together", () => {
    locks.try("a", EX);
    expect(locks.wait("b", SH)).to.equal("waiting");
    expect(locks.wait("c", EX)).to.equal("waiting");
    expect(locks.wait("d", SH)).to.equal("waiting");
    locks.try("a", undefined);
    expect(locks.decided).to.deep.equal(["b#1 locked"]);
    locks.try("b", undefined);
    expect(locks.decided).to.deep.equal(["b#1 locked", "c#2 locked"]);
    locks.try("c", undefined);
    expect(locks.decided).to.deep.equal(["b#1 locked", "c#2 locked", "d#3 locked"]);
  });

  it("lets nobody who comes later starve a writer that waits, but does not keep waiting for it those it waits for", () => {
    locks.try("a", SH);
    expect(locks.wait("w", EX)).to.equal("waiting");
    expect(locks.wait("b", SH)).to.equal("waiting");
    expect(locks.try("c", SH), "who does not wait takes what is free").to.equal("done");
    expect(locks.wait("a", SH, { ino: 6 })).to.equal("done");
    expect(locks.wait("a", SH, at(0, 5)), "it would wait for itself").to.equal("done");
    locks.table.forget(1);
    expect(locks.table.count).to.equal(0);
  });

  it("keeps the place of one that asks again", () => {
    locks.try("a", EX);
    locks.wait("b", EX);
    locks.wait("c", EX);
    expect(outcome(() => locks.table.set(locks.request("b", EX), 1))).to.equal("waiting");
    locks.try("a", undefined);
    expect(locks.decided).to.deep.equal(["b#1 locked"]);
    expect(
      outcome(() => locks.table.set(locks.request("b", EX), 1)),
      "after the grant, unheard",
    ).to.equal("done");
  });

  it("lets those behind one that gives up go on", () => {
    locks.try("a", SH);
    locks.wait("b", EX);
    locks.wait("c", SH);
    locks.table.cancel(1, 1);
    locks.table.cancel(1, 1);
    locks.table.cancel(1, 99);
    expect(locks.decided).to.deep.equal(["c#2 locked"]);
  });

  it("reports a deadlock to the one who closes the circle, over files and sessions", () => {
    for (const [i, owner] of ["a", "b", "c"].entries()) locks.try(owner, EX, { ino: i, session: i });
    expect(locks.wait("a", EX, { ino: 1, session: 0 })).to.equal("waiting");
    expect(locks.wait("b", EX, { ino: 2, session: 1 })).to.equal("waiting");
    expect(locks.wait("c", SH, { ino: 0, session: 2 })).to.equal("EDEADLK");
    locks.try("c", undefined, { ino: 2, session: 2 });
    expect(locks.decided).to.deep.equal(["b#2 locked"]);
  });

  it("reports a deadlock to one that waits already when others close the circle", () => {
    // Two threads of b: one has asked for x, the other waits for what c has.
    locks.try("a", EX);
    locks.try("c", EX, { ino: 6 });
    expect(locks.wait("b", EX)).to.equal("waiting");
    expect(locks.wait("c", EX)).to.equal("waiting");
    expect(locks.wait("b", EX, { ino: 6 })).to.equal("waiting");
    locks.try("a", undefined);
    expect(locks.decided).to.deep.equal(["b#1 locked", "c#2 EDEADLK"]);
  });

  it("knows no deadlock of flocks, and gives up what is held while it waits for another kind", () => {
    locks.try("a", SH, FLOCK);
    locks.try("b", SH, FLOCK);
    expect(locks.wait("a", EX, FLOCK)).to.equal("waiting");
    expect(locks.held("a", FLOCK)).to.deep.equal([]);
    expect(locks.wait("b", EX, FLOCK), "alone by now").to.equal("done");
    expect(locks.try("b", SH, FLOCK)).to.equal("done");
    expect(locks.try("c", SH, FLOCK)).to.equal("done");
    expect(locks.try("b", EX, FLOCK)).to.equal("EAGAIN");
    expect(locks.held("b", FLOCK), "as on Linux").to.deep.equal([]);
    expect(locks.held("c", FLOCK)).to.have.length(1);
    locks.try("c", undefined, FLOCK);
    expect(locks.decided).to.deep.equal(["a#1 locked"]);
  });

  it("frees all that a session had and waited for when it ends", () => {
    locks.try("a", EX, { session: 1 });
    locks.try("a", EX, { session: 1, ...FLOCK });
    locks.wait("b", EX, { session: 2 });
    locks.wait("c", EX, { session: 3 });
    locks.table.forget(2);
    expect(locks.decided).to.deep.equal([]);
    locks.table.forget(1);
    expect(locks.decided).to.deep.equal(["c#2 locked"]);
    locks.table.forget(3);
    expect(locks.table.count).to.equal(0);
  });

  it("grants nothing while it is frozen but what was held of old", () => {
    locks.table.freeze();
    const old = { ...locks.request("a", EX, at(0, 9)), kind: EX };
    expect(locks.table.restore([old])).to.equal(true);
    expect(locks.try("b", EX, at(50, 60))).to.equal("EAGAIN");
    expect(locks.wait("b", EX, at(50, 60))).to.equal("waiting");
    expect(locks.wait("c", EX, at(0, 0))).to.equal("waiting");
    expect(locks.table.restore([{ ...old, owner: 100n, kind: SH }])).to.equal(false);
    locks.table.thaw();
    expect(locks.decided).to.deep.equal(["b#1 locked"]);
    locks.try("a", undefined);
    expect(locks.decided).to.deep.equal(["b#1 locked", "c#2 locked"]);
  });

  it("is bounded per file, per session, in all, and in waiters", () => {
    locks = new Locks({ perFile: 3, perSession: 4, total: 5, waiting: 1 });
    for (const i of [0, 2, 4]) expect(locks.try("a", EX, at(i, i))).to.equal("done");
    expect(locks.try("a", EX, at(6, 6))).to.equal("ENOLCK");
    expect(locks.try("a", EX, at(0, 4)), "one range instead of three").to.equal("done");
    expect(locks.try("a", undefined, at(2, 2))).to.equal("done");
    expect(locks.try("a", EX, { ino: 6 })).to.equal("done");
    expect(locks.try("a", EX, { ino: 7 })).to.equal("done");
    expect(locks.try("a", EX, { ino: 8 })).to.equal("ENOLCK");
    expect(locks.try("b", EX, { session: 2, ino: 8 })).to.equal("done");
    expect(locks.try("b", EX, { session: 2, ino: 9 })).to.equal("ENOLCK");
    expect(locks.wait("c", EX, { session: 3 })).to.equal("waiting");
    expect(locks.wait("d", EX, { session: 3 })).to.equal("ENOLCK");
    expect(locks.try("a", undefined), "unlocking is always possible").to.equal("done");
  });

  it("agrees with a table of single bytes, whatever is asked of it", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const model = new Model();
        for (const [i, s] of steps.entries()) model.step(s, i + 1);
      }),
      { seed: 3, numRuns: 400 },
    );
  });
});

const BYTES = 6;
const step = fc.record({
  act: fc.constantFrom("try", "try", "wait", "wait", "unlock", "unlock", "cancel", "forget"),
  owner: fc.constantFrom("a", "b", "c", "d"),
  space: fc.constantFrom<LockSpace>("range", "range", "whole"),
  ino: fc.constantFrom(5, 6),
  kind: fc.constantFrom<LockKind>("shared", "exclusive"),
  first: fc.nat({ max: BYTES - 1 }),
  length: fc.integer({ min: 1, max: BYTES }),
  ticket: fc.nat({ max: 60 }),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** A naive lock table: who holds each byte of each file, by owner. The owner's letter tells its session and process. */
class Model {
  readonly bytes = new Map<string, (LockKind | undefined)[]>();
  readonly waiting = new Map<number, HeldLock>();
  readonly table = new LockTable((waiter, refusal) => {
    expect(this.waiting.delete(waiter.ticket), "decided once").to.equal(true);
    // Refused ones closed a circle; it is checked below that others do not wait for ever.
    if (refusal === undefined) this.put(waiter, waiter.kind);
    else expect(refusal.code).to.equal("EDEADLK");
  });

  key(lock: HeldLock | LockRequest): string {
    return `${lock.ino}/${lock.space}/${letterOf(lock)}`;
  }

  put(lock: LockRequest, kind: LockKind | undefined): void {
    const key = this.key(lock);
    const bytes = this.bytes.get(key) ?? new Array(BYTES).fill(undefined);
    this.bytes.set(key, bytes.fill(kind, Number(lock.first), Number(lock.last) + 1));
  }

  isFree(lock: HeldLock): boolean {
    for (const [key, bytes] of this.bytes) {
      const [ino, space, owner] = key.split("/");
      if (Number(ino) !== lock.ino || space !== lock.space || owner === letterOf(lock)) continue;
      for (let i = Number(lock.first); i <= Number(lock.last); i++) {
        if (bytes[i] !== undefined && (bytes[i] === "exclusive" || lock.kind === "exclusive")) return false;
      }
    }
    return true;
  }

  isHolder(owner: string): boolean {
    return [...this.bytes].some(([key, bytes]) => key.endsWith(`/${owner}`) && bytes.some((b) => b !== undefined));
  }

  step({ act, owner, space, ino, kind, first, length, ticket }: Step, number: number): void {
    const range = space === "whole" ? [0, BYTES - 1] : [first, Math.min(BYTES, first + length) - 1];
    const pid = numberOf(owner);
    const session = 1 + (pid % 2);
    const [from, to] = [BigInt(range[0]!), BigInt(range[1]!)];
    const lock: HeldLock = { session, space, owner: BigInt(pid), ino, kind, first: from, last: to, pid };
    if (act === "forget") {
      for (const [key, { session: s }] of this.waiting) if (s === session) this.waiting.delete(key);
      for (const key of this.bytes.keys())
        if (1 + (key.charCodeAt(key.length - 1) % 2) === session) this.bytes.delete(key);
      this.table.forget(session);
    } else if (act === "cancel") {
      const waiter = this.waiting.get(ticket);
      this.waiting.delete(ticket);
      if (waiter) this.table.cancel(waiter.session, ticket);
    } else if (act === "unlock") {
      this.put(lock, undefined);
      this.table.set({ ...lock, kind: undefined });
    } else this.lock(lock, act === "wait" ? number : undefined);
    this.check();
  }

  lock(lock: HeldLock, ticket: number | undefined): void {
    const free = this.isFree(lock);
    const same = this.bytes.get(this.key(lock))?.[0] === lock.kind;
    const behind = [...this.waiting.values()].some(
      (w) => this.key(w) !== this.key(lock) && w.ino === lock.ino && w.space === lock.space && conflicts(w, lock),
    );
    const now = free && (ticket === undefined || !behind || this.isHolder(letterOf(lock)));
    if (now) this.put(lock, lock.kind);
    else if (lock.space === "whole" && !same) this.put({ ...lock, first: 0n, last: BigInt(BYTES - 1) }, undefined);
    if (!now && ticket !== undefined) this.waiting.set(ticket, lock);
    const result = outcome(() => this.table.set(lock, ticket));
    if (now) expect(result).to.equal("done");
    else if (ticket === undefined) expect(result).to.equal("EAGAIN");
    else if (result === "EDEADLK") {
      expect(lock.space).to.equal("range");
      this.waiting.delete(ticket);
    } else expect(result).to.equal("waiting");
  }

  /** What the table says of every owner, and that nobody waits who need not. */
  check(): void {
    for (const owner of "abcd") {
      for (const ino of [5, 6]) {
        for (const space of ["range", "whole"] as const) {
          const session = 1 + (numberOf(owner) % 2);
          const bytes: (LockKind | undefined)[] = new Array(BYTES).fill(undefined);
          for (const piece of this.table.held({ session, space, owner: BigInt(numberOf(owner)) }, ino)) {
            bytes.fill(piece.kind, Number(piece.first), Number(piece.last) + 1);
          }
          const expected = this.bytes.get(`${ino}/${space}/${owner}`) ?? new Array(BYTES).fill(undefined);
          expect(bytes, `${owner} ${space} ${ino}`).to.deep.equal(expected);
        }
      }
    }
    for (const [ticket, waiter] of this.waiting) {
      const test = this.table.test(waiter);
      expect(test === undefined).to.equal(this.isFree(waiter));
      if (test !== undefined) continue;
      const earlier = [...this.waiting].some(
        ([t, w]) =>
          t < ticket &&
          w.ino === waiter.ino &&
          w.space === waiter.space &&
          this.key(w) !== this.key(waiter) &&
          conflicts(w, waiter),
      );
      expect(earlier && !this.isHolder(letterOf(waiter)), "it waits for somebody").to.equal(true);
    }
    this.checkProgress();
  }

  /** Who waits does so for one who, in the end, waits for nobody: fcntl's locks cannot wait for one another in a circle. */
  checkProgress(): void {
    const stuck = new Map([...this.waiting].filter(([, w]) => w.space === "range"));
    const waits = (owner: string) => [...stuck.values()].some((w) => letterOf(w) === owner);
    for (let again = true; again; ) {
      again = false;
      for (const [ticket, waiter] of stuck) {
        const blockers = [...this.bytes].filter(([key, bytes]) => {
          const [ino, space, owner] = key.split("/");
          if (Number(ino) !== waiter.ino || space !== waiter.space || owner === letterOf(waiter)) return false;
          return bytes.some(
            (b, i) =>
              b !== undefined &&
              i >= waiter.first &&
              i <= waiter.last &&
              (b === "exclusive" || waiter.kind === "exclusive"),
          );
        });
        const earlier = [...stuck].filter(
          ([t, w]) => t < ticket && w.ino === waiter.ino && conflicts(w, waiter) && w.owner !== waiter.owner,
        );
        const soft = !this.isHolder(letterOf(waiter)) && earlier.length > 0;
        if (soft || blockers.some(([key]) => waits(key.split("/")[2]!))) continue;
        stuck.delete(ticket);
        again = true;
      }
    }
    expect(stuck.size, "waiting in a circle").to.equal(0);
  }
}
