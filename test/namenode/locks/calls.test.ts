import { expect } from "chai";
import { codeOf } from "../../../common/errors.js";
import { LAST_BYTE, type LockKind } from "../../../common/lock.js";
import { encodeLock, type FileLock } from "../../../proto/lock.js";
import { dump, fakeLink, LEASE_MS, SESSION, World } from "../namespace/world.js";

const OTHER = 1234;
/** Owners have all their 64 bits. */
const OWNER = 2n ** 64n - 1n;

function lock(kind: LockKind | undefined, more: Partial<FileLock> = {}) {
  return encodeLock({ ino: 9, space: "range", owner: OWNER, kind, first: 0n, last: LAST_BYTE, pid: 7, ...more });
}

describe("calls for locks", () => {
  let world: World;
  let other: ReturnType<typeof fakeLink>;
  beforeEach(async () => {
    world = await World.open();
    other = fakeLink();
    await open(world, OTHER);
  });

  const open = (at: World, session: number, more: object = {}) =>
    at.call("openSession", { session, name: "n", host: "h", ...more }, session === OTHER ? other.link : at.link.link);
  const set = (session: number, kind: LockKind | undefined, ticket = 0, at = world, signal?: AbortSignal) =>
    at.lockCall("setLock", { session, ticket, lock: lock(kind) }, signal).then(
      ({ waiting }) => (waiting ? "waiting" : "done"),
      (err: unknown) => codeOf(err),
    );
  const marks = (at: World) => dump(at.kv).filter(([key]) => key.startsWith("K")).length;
  /** The namenode is started again; the journal is all it has. */
  const restart = () => World.open({ journal: world.journal });
  const incarnationOf = async (at: World) => (await open(at, SESSION)).incarnation;

  it("lock, and push what becomes of those who wait", async () => {
    expect(await set(SESSION, "exclusive")).to.equal("done");
    expect(await set(OTHER, "exclusive")).to.equal("EAGAIN");
    expect(await set(OTHER, "exclusive", 1)).to.equal("waiting");
    expect(other.pushed).to.deep.equal([]);
    expect(await set(SESSION, undefined)).to.equal("done");
    expect(other.pushed).to.deep.equal([{ ticket: 1, refused: undefined }]);
    expect(await set(OTHER, "exclusive", 1), "asked again").to.equal("done");
  });

  it("say who is in the way", async () => {
    await world.lockCall("setLock", { session: SESSION, lock: lock("shared", { first: 5n, last: 2n ** 60n + 1n }) });
    const test = async (kind: LockKind) =>
      (await world.lockCall("testLock", { session: OTHER, lock: lock(kind) })).blocker;
    expect(await test("shared")).to.equal(null);
    expect(await test("exclusive")).to.deep.equal({ ...lock("shared", { first: 5n, last: 2n ** 60n + 1n }) });
  });

  it("give up waiting, and say what is held by then", async () => {
    await set(SESSION, "exclusive");
    await set(OTHER, "exclusive", 5);
    const cancel = (ticket: number) =>
      world.lockCall("cancelLock", { session: OTHER, ticket, lock: lock("exclusive") });
    expect((await cancel(5)).locks).to.deep.equal([]);
    await set(OTHER, "exclusive", 6);
    await set(SESSION, undefined);
    expect((await cancel(6)).locks, "it came too late").to.deep.equal([lock("exclusive")]);
  });

  it("are refused what is no lock, and to who has no session", async () => {
    const code = (more: object, session = SESSION) =>
      world.lockCall("setLock", { session, lock: { ...lock("shared"), ...more } }).then(() => "ok", codeOf);
    expect(await code({})).to.equal("ok");
    expect(await code({ owner: Buffer.alloc(9) })).to.equal("EINVAL");
    expect(await code({ last: Buffer.alloc(8, 255) })).to.equal("EINVAL");
    expect(await code({ first: Buffer.from([0, 0, 0, 0, 0, 0, 0, 2]), last: Buffer.alloc(8) })).to.equal("EINVAL");
    expect(await code({ ino: 0 })).to.equal("EINVAL");
    expect(await code({ mode: 7 })).to.equal("EINVAL");
    expect(await code({}, 999)).to.equal("ENOTCONN");
  });

  it("leave in the store who has locks, once, until the session has ended", async () => {
    await set(SESSION, "shared");
    const { lastIndex } = world.editor;
    await set(SESSION, undefined);
    await set(SESSION, "exclusive");
    expect(world.editor.lastIndex).to.equal(lastIndex);
    expect(marks(world)).to.equal(1);
    await set(OTHER, "exclusive", 1);
    await world.call("closeSession", { session: SESSION });
    expect(other.pushed, "it had the lock").to.have.length(1);
    expect(marks(world)).to.equal(1);
    await world.call("closeSession", { session: OTHER });
    expect(marks(world)).to.equal(0);
  });

  it("free the locks of a session whose lease has run out", async () => {
    await set(SESSION, "exclusive");
    await set(OTHER, "exclusive", 1);
    for (let i = 0; i < 4; i++) {
      world.clock.advance(LEASE_MS / 3);
      await world.call("keepAlive", { session: OTHER });
    }
    expect(other.pushed).to.have.length(1);
  });

  it("lock nothing after a restart until those who had locks say what they hold", async () => {
    const incarnation = await incarnationOf(world);
    await set(SESSION, "exclusive");
    await set(OTHER, "shared");
    const after = await restart(); // which opens SESSION, with no locks
    const tried = set(SESSION, "shared", 0, after);
    expect(await set(SESSION, "shared", 1, after)).to.equal("waiting");
    const reply = await open(after, OTHER, { incarnation, locks: [lock("exclusive", { ino: 9 })] });
    expect(reply.locksLost).to.equal(false);
    expect(await tried).to.equal("EAGAIN");
    expect(after.link.pushed).to.deep.equal([]);
    expect(await set(OTHER, undefined, 0, after)).to.equal("done");
    expect(after.link.pushed).to.have.length(1);
  });

  it("wait no longer for one that does not come back than its lease", async () => {
    const incarnation = await incarnationOf(world);
    await set(OTHER, "exclusive");
    const after = await restart();
    const tried = set(SESSION, "exclusive", 0, after);
    for (let i = 0; i < 4; i++) {
      after.clock.advance(LEASE_MS / 3);
      await after.call("keepAlive", { session: SESSION });
    }
    expect(await tried).to.equal("done");
    const late = await open(after, OTHER, { incarnation, locks: [lock("exclusive")] });
    expect(late.locksLost).to.equal(true);
    expect(await set(OTHER, "shared", 0, after)).to.equal("EAGAIN");
  });

  it("take nothing for one that gave up while all waited", async () => {
    await set(OTHER, "exclusive");
    const after = await restart();
    const giveUp = new AbortController();
    const tried = set(SESSION, "exclusive", 0, after, giveUp.signal);
    giveUp.abort();
    await open(after, OTHER);
    expect(await tried).to.equal("ECANCELED");
    expect(await set(OTHER, "exclusive", 0, after)).to.equal("done");
  });

  it("keep the locks over a reconnection, and tell one whose session has ended that they are lost", async () => {
    const incarnation = await incarnationOf(world);
    await set(OTHER, "exclusive");
    const again = { incarnation, locks: [lock("exclusive")] };
    expect((await open(world, OTHER, again)).locksLost).to.equal(false);
    expect(await set(SESSION, "shared")).to.equal("EAGAIN");
    await world.call("closeSession", { session: OTHER });
    expect((await open(world, OTHER, again)).locksLost).to.equal(true);
    expect(await set(SESSION, "exclusive")).to.equal("done");
  });
});
