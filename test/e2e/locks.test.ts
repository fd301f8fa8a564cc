import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { mountAt } from "../../fuse/mountinfo.js";
import { Locker } from "../fuse/locks/locker.js";
import { CAIRN, requireFuse, TestCluster } from "../support/cluster.js";
import { until } from "../support/until.js";

/** Long enough for a machine that is busy, short enough to wait for, ms. */
const LEASE_MS = 20_000;
const COUNTERS = 8;
const ROUNDS = 15;

describe("locks on two mounts", function () {
  this.timeout(900_000);
  let cluster: TestCluster;
  let second: ChildProcess;
  const lockers: Locker[] = [];
  let files = 0;
  /** One file, as each mount shows it. */
  let one: string;
  let two: string;

  before(async () => {
    requireFuse();
    cluster = await TestCluster.start({ datanodes: 1, env: { CAIRN_NAMENODE_LEASE_MS: String(LEASE_MS) } });
    const dir = join(cluster.root, "mnt2");
    mkdirSync(dir);
    const args = [CAIRN, "mount", dir, "--binding", "kernel", "--namenode", `http://127.0.0.1:${cluster.port}`];
    second = spawn(process.execPath, args, { stdio: "ignore", env: cluster.env });
    await until(() => mountAt(dir), { timeoutMs: 300_000, what: "the second mount" });
  });
  after(() => cluster?.destroy());
  beforeEach(() => {
    const name = `file-${files++}`;
    one = join(cluster.mount, name);
    two = join(cluster.root, "mnt2", name);
  });
  afterEach(() => {
    for (const locker of lockers.splice(0)) locker.kill();
  });

  /** A process that has a file open, under the name f. */
  async function opener(path: string): Promise<Locker> {
    const locker = await Locker.start();
    lockers.push(locker);
    expect(await locker.now(`open f ${path}`)).to.equal("ok");
    return locker;
  }

  /** Has a process wait for a lock. It must not have it when it is looked at. */
  function waits(locker: Locker, command: string) {
    let early: string | undefined;
    const answer = locker.ask(command).then((text) => {
      early = text;
      return text;
    });
    return { answer, pending: () => expect(early, `${command} is not to be had yet`).to.equal(undefined) };
  }

  it("hold for ranges: refused, named, waited for; what was written is read", async () => {
    const [a, b] = [await opener(one), await opener(two)];
    expect(await a.now("trylock f ex 10 10")).to.equal("ok");
    expect(await b.now("trylock f sh 0 10")).to.equal("ok");
    expect(await b.now("trylock f sh 19 1")).to.equal("EAGAIN");
    expect(await b.now("getlk f sh 0 0")).to.equal(`ex 10 10 ${a.pid}`);
    expect(await b.now("read f")).to.equal("-");
    const { answer, pending } = waits(b, "lock f ex 0 0");
    expect(await a.now("write f hello")).to.equal("ok");
    pending();
    expect(await a.now("lock f un 10 10")).to.equal("ok");
    expect(await answer).to.equal("ok");
    expect(await b.now("read f")).to.equal("hello");
    expect(await b.now("write f HELLO")).to.equal("ok");
    expect(await b.now("close f")).to.equal("ok");
    expect(await a.now("lock f sh 0 0")).to.equal("ok");
    expect(await a.now("read f")).to.equal("HELLO");
  });

  it("hold for whole files (flock), shared and exclusive, until the file is closed", async () => {
    const [a, b, c] = [await opener(one), await opener(two), await opener(two)];
    expect(await a.now("flock f sh")).to.equal("ok");
    expect(await b.now("tryflock f sh")).to.equal("ok");
    expect(await c.now("tryflock f ex")).to.equal("EAGAIN");
    expect(await b.now("flock f un")).to.equal("ok");
    expect(await c.now("trylock f ex 0 0"), "ranges are another matter").to.equal("ok");
    const { answer, pending } = waits(c, "flock f ex");
    expect(await a.now("getlk f sh 0 0")).to.include("ex 0 0");
    pending();
    expect(await a.now("close f")).to.equal("ok");
    expect(await answer).to.equal("ok");
    expect(await b.now("tryflock f sh")).to.equal("EAGAIN");
    c.kill();
    expect(await b.now("flock f sh"), "its process has ended").to.equal("ok");
  });

  it("are EDEADLK for one of those who wait for one another", async () => {
    const [a, b] = [await opener(one), await opener(two)];
    await a.now("lock f ex 0 1");
    await b.now("lock f ex 1 1");
    const wait = async (locker: Locker, command: string) => {
      const answer = await locker.now(command);
      // Who is refused gives the other what it waits for.
      if (answer !== "ok") await locker.now("close f");
      return answer;
    };
    const both = await Promise.all([wait(a, "lock f ex 1 1"), wait(b, "lock f ex 0 1")]);
    expect(both.sort()).to.deep.equal(["EDEADLK", "ok"]);
  });

  it("are waited for no longer after Ctrl-C, and are not had then", async () => {
    const [a, b, c] = [await opener(one), await opener(two), await opener(two)];
    for (const [lock, unlock] of [
      ["lock f ex 0 0", "lock f un 0 0"],
      ["flock f ex", "flock f un"],
    ] as const) {
      await a.now(lock);
      const { answer, pending } = waits(b, lock);
      expect(await c.now(`try${lock}`)).to.equal("EAGAIN");
      pending();
      let isOver = false;
      void answer.finally(() => {
        isOver = true;
      });
      await until(
        () => {
          if (!isOver) b.interrupt();
          return isOver;
        },
        { timeoutMs: 300_000, what: "the one who waits to stop" },
      );
      expect(await answer).to.equal("EINTR");
      await a.now(unlock);
      expect(await c.now(`try${lock}`)).to.equal("ok");
      await c.now(unlock);
    }
  });

  it("work on a file that has lost its name, and for open file descriptions", async () => {
    const [a, b] = [await opener(one), await opener(one)];
    unlinkSync(one);
    expect(await a.now("trylock f ex 0 0")).to.equal("ok");
    expect(await b.now("trylock f ex 0 0")).to.equal("EAGAIN");
    expect(await a.now("write f x")).to.equal("ok");
    expect(await a.now("close f")).to.equal("ok");
    expect(await b.now("ofdlock f ex 0 0")).to.equal("ok");
    expect(await b.now("read f")).to.equal("x");
  });

  it(`let ${COUNTERS} processes count in one file, and no count is lost`, async () => {
    const counters = await Promise.all(Array.from({ length: COUNTERS }, (_, i) => opener(i % 2 === 0 ? one : two)));
    const done = await Promise.all(counters.map((counter) => counter.ask(`count f ${ROUNDS}`)));
    expect(done).to.deep.equal(counters.map(() => "ok"));
    for (const counter of counters.slice(0, 2)) {
      expect(await counter.now("lock f sh 0 0")).to.equal("ok");
      expect((await counter.now("read f")).trim()).to.equal(String(COUNTERS * ROUNDS));
    }
  });

  it("outlive the namenode's death", async () => {
    const [a, b, c] = [await opener(one), await opener(two), await opener(two)];
    await a.now("lock f ex 0 10");
    await a.now("flock f ex");
    await b.now("lock f sh 20 10");
    const { answer, pending } = waits(b, "lock f ex 0 1");
    await cluster.restart("namenode");
    expect(await c.now("trylock f sh 0 1")).to.equal("EAGAIN");
    expect(await c.now("tryflock f sh")).to.equal("EAGAIN");
    expect(await c.now("trylock f ex 20 1")).to.equal("EAGAIN");
    expect(await c.now("trylock f ex 40 1")).to.equal("ok");
    expect(await a.now("write f held")).to.equal("ok");
    pending();
    expect(await a.now("close f")).to.equal("ok");
    expect(await answer).to.equal("ok");
    expect(await b.now("read f")).to.equal("held");
  });

  it("take with them what a mount wrote under them, that was cut off for longer than its lease", async () => {
    const [a, b] = [await opener(one), await opener(two)];
    await b.now("lock f ex 0 0");
    await b.now("write f stale");
    second.kill("SIGSTOP");
    expect(await a.ask("lock f ex 0 0")).to.equal("ok");
    expect(await a.now("write f fresh")).to.equal("ok");
    expect(await a.now("close f")).to.equal("ok");
    second.kill("SIGCONT");
    await until(async () => (await b.now("read f")) === "EIO", { timeoutMs: 300_000, what: "reads to fail" });
    expect(await b.now("write f stale")).to.equal("EIO");
    expect(await b.now("close f")).to.equal("EIO");
    const [c, d] = [await opener(one), await opener(two)];
    expect([await c.now("read f"), await d.now("read f")]).to.deep.equal(["fresh", "fresh"]);
  });

  it("end with a mount that was killed, when its lease has run out", async () => {
    const [a, b] = [await opener(one), await opener(two)];
    await b.now("lock f ex 0 0");
    await b.now("flock f ex");
    const ended = new Promise((resolve) => second.once("exit", resolve));
    second.kill("SIGKILL");
    await ended;
    expect(await a.now("trylock f ex 0 0")).to.equal("EAGAIN");
    expect(await a.now("lock f ex 0 0")).to.equal("ok");
    expect(await a.now("tryflock f ex")).to.equal("ok");
  });
});
