import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { mountAt } from "../../fuse/mountinfo.js";
import { CAIRN, requireFuse, TestCluster } from "../support/cluster.js";
import { run } from "../support/run.js";
import { until } from "../support/until.js";

/** How soon a mount sees another's change, ms: less than 100 on an idle machine, and tests run on busy ones. */
const SEEN_MS = 120_000;
const LEASE_MS = 3_000;
/** How long something that must hang is given to do so, ms. */
const HANG_MS = 1_000;

describe("two mounts of one cluster", function () {
  this.timeout(900_000);
  let cluster: TestCluster;
  let a: string;
  let b: string;
  let other: ChildProcess | undefined;

  /** Mounts the cluster a second time. */
  async function mountOther(): Promise<void> {
    mkdirSync(b, { recursive: true });
    const args = [CAIRN, "mount", b, "--root", cluster.root, "--log-level", "error"];
    other = spawn(process.execPath, args, { env: cluster.env, stdio: "ignore" });
    await until(() => mountAt(b), { timeoutMs: 300_000, what: "the second mount" });
  }

  /** Waits until something is so, as a mount must show it soon. */
  const seen = (what: string, condition: () => Promise<boolean>) => until(condition, { timeoutMs: SEEN_MS, what });
  const exists = (path: string) =>
    fs.stat(path).then(
      () => true,
      () => false,
    );
  const noBlocks = () =>
    until(async () => (await cluster.report()).blocks === 0, {
      timeoutMs: 300_000,
      what: "the blocks to be reclaimed",
    });
  /** More than is kept at the namenode with a file's name. */
  const much = (letter: string) => letter.repeat(300_000);

  before(async () => {
    requireFuse();
    cluster = await TestCluster.start({
      datanodes: 1,
      env: { CAIRN_NAMENODE_LEASE_MS: String(LEASE_MS), CAIRN_MOUNT_CACHE_MS: "60000" },
    });
    a = cluster.mount;
    b = join(cluster.root, "other");
    await mountOther();
  });
  after(() => {
    other?.kill("SIGKILL");
    cluster?.destroy();
  });

  it("see each other's names, attributes and contents, whatever they knew", async () => {
    expect(await exists(join(b, "f"))).to.equal(false);
    await fs.writeFile(join(a, "f"), "one");
    await seen("a name that did not exist", () => exists(join(b, "f")));
    expect(await fs.readFile(join(b, "f"), "utf8")).to.equal("one");
    await fs.writeFile(join(a, "f"), "three");
    await seen("new content", async () => (await fs.readFile(join(b, "f"), "utf8")) === "three");
    await fs.chmod(join(a, "f"), 0o600);
    await seen("a new mode", async () => ((await fs.stat(join(b, "f"))).mode & 0o777) === 0o600);
    await fs.rename(join(a, "f"), join(a, "g"));
    await seen("a new name", async () => (await exists(join(b, "g"))) && !(await exists(join(b, "f"))));
    await fs.unlink(join(b, "g"));
    await seen("a name that went", async () => !(await exists(join(a, "g"))));
    await fs.mkdir(join(a, "d"));
    await seen("a directory", () => exists(join(b, "d")));
    await fs.writeFile(join(b, "d", "x"), "x");
    await seen("a name in a directory made here", () => exists(join(a, "d", "x")));
    await fs.rm(join(a, "d"), { recursive: true });
    await seen("all gone", async () => (await fs.readdir(b)).length === 0);
  });

  it("see what the other has written to a file that was read ahead", async () => {
    const names = Array.from({ length: 40 }, (_, i) => `f${10 + i}`);
    await fs.mkdir(join(a, "small"));
    for (const name of names) await fs.writeFile(join(a, "small", name), `old ${name}`);
    await seen("all names", async () => (await fs.readdir(join(b, "small"))).length === names.length);
    const read = (name: string) => fs.readFile(join(b, "small", name), "utf8");
    for (const name of names.slice(0, 8)) expect(await read(name)).to.equal(`old ${name}`);
    // Of those that follow some have come along by now.
    for (const name of names.slice(8)) await fs.writeFile(join(a, "small", name), `new ${name}`);
    for (const name of names.slice(8))
      await seen(`what ${name} is now`, async () => (await read(name)) === `new ${name}`);
    await fs.rm(join(a, "small"), { recursive: true });
    await seen("all gone", async () => !(await exists(join(b, "small"))));
  });

  it("give a name to one of two who want it for themselves, also in a directory that one of them has had alone", async () => {
    const taken: string[] = [];
    const want = (mount: string, dir: string) =>
      fs.open(join(mount, dir, "f"), "wx").then(
        async (file) => {
          taken.push(dir);
          await file.writeFile(mount);
          await file.close();
        },
        (err: NodeJS.ErrnoException) => expect(err.code).to.equal("EEXIST"),
      );
    const dirs = Array.from({ length: 40 }, (_, i) => `alone-${i}`);
    for (const dir of dirs) {
      await fs.mkdir(join(a, dir));
      await fs.writeFile(join(a, dir, "first"), "");
      await Promise.all([want(a, dir), want(b, dir)]);
    }
    expect(taken.sort()).to.deep.equal([...dirs].sort());
    for (const dir of dirs) {
      const winner = await fs.readFile(join(b, dir, "f"), "utf8");
      expect(winner).to.be.oneOf([a, b]);
      await seen("what the winner wrote", async () => (await fs.readFile(join(a, dir, "f"), "utf8")) === winner);
      await fs.rm(join(b, dir), { recursive: true });
    }
  });

  it("show a file that the other has just made, and has not closed, and its writes once they are synced", async () => {
    await fs.mkdir(join(a, "open"));
    await fs.writeFile(join(a, "open", "first"), "");
    const file = await fs.open(join(a, "open", "f"), "wx");
    expect(await fs.readdir(join(b, "open"))).to.have.members(["first", "f"]);
    await file.write("text");
    await file.sync();
    await seen("what was synced", async () => (await fs.readFile(join(b, "open", "f"), "utf8")) === "text");
    await file.close();
    await fs.rm(join(a, "open"), { recursive: true });
  });

  it("show a file that stays open as it is now, as long as it is now", async () => {
    await fs.writeFile(join(a, "log"), "first\n");
    await seen("the file", () => exists(join(b, "log")));
    const reader = await fs.open(join(b, "log"));
    try {
      const whole = async () => {
        const { bytesRead, buffer } = await reader.read(Buffer.alloc(100), 0, 100, 0);
        return buffer.toString("utf8", 0, bytesRead);
      };
      expect(await whole()).to.equal("first\n");
      await fs.appendFile(join(a, "log"), "second\n");
      await seen("what was added", async () => (await whole()) === "first\nsecond\n");
      await fs.writeFile(join(a, "log"), "other\n", { flag: "r+" });
      await seen("what was overwritten", async () => (await whole()) === "other\nsecond\n");
      await fs.truncate(join(a, "log"), 3);
      await seen("the end where it is", async () => (await whole()) === "oth" && (await reader.stat()).size === 3);
    } finally {
      await reader.close();
    }
    await fs.unlink(join(a, "log"));
    await noBlocks();
  });

  it("keep a file for whoever has it open anywhere, and no longer", async () => {
    await fs.writeFile(join(a, "kept"), much("a"));
    await seen("the file", () => exists(join(b, "kept")));
    const handle = await fs.open(join(b, "kept"), "r+");
    try {
      await fs.unlink(join(a, "kept"));
      await seen("the name gone", async () => !(await exists(join(b, "kept"))));
      expect((await handle.readFile("utf8")) === much("a")).to.equal(true);
      await handle.write(much("b"), 100_000);
      await handle.sync();
      const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, 200_000);
      expect([buffer.toString(), (await handle.stat()).size]).to.deep.equal(["b", 400_000]);
      expect((await cluster.report()).blocks).to.be.greaterThan(0);
    } finally {
      await handle.close();
    }
    await noBlocks();
  });

  it("agree on what came of names that both moved and removed at once", async () => {
    const names = ["p", "q", "r"];
    /** The kernel found a file, and again another one, that was gone when it came to open it. */
    const ESTALE = 116;
    const errors = new Set(["ENOENT", "EEXIST"]);
    const churn = async (dir: string, turn: number) => {
      for (let i = 0; i < 40; i++) {
        const [from, to] = [names[(i + turn) % 3]!, names[(i * 2 + turn) % 3]!];
        const steps = [
          () => fs.writeFile(join(dir, from), String(i)),
          () => fs.rename(join(dir, from), join(dir, to)),
          () => fs.unlink(join(dir, to)),
        ];
        await steps[(i + turn) % 3]!().catch((err: NodeJS.ErrnoException) => {
          if (!errors.has(err.code ?? "") && err.errno !== -ESTALE) throw err;
        });
      }
    };
    await Promise.all([churn(a, 0), churn(b, 1)]);
    const truth = (await cluster.ok(["fs", "ls", "/"])).match(/\/?[pqr]$/gm)?.map((n) => n.replace("/", "")) ?? [];
    for (const dir of [a, b]) {
      await seen("the same names everywhere", async () => {
        const there = await Promise.all(names.map((name) => exists(join(dir, name))));
        return names.every((name, i) => there[i] === truth.includes(name));
      });
    }
    for (const name of names) await fs.rm(join(a, name), { force: true });
    await noBlocks();
  });

  it("believe nothing once they cannot hear the namenode for as long as a lease", async () => {
    await fs.writeFile(join(a, "known"), "x");
    await seen("the file", () => exists(join(b, "known")));
    expect((await run("stat", [join(b, "known")])).code).to.equal(0);
    const stat = (path: string) => run("stat", [path], { timeoutMs: HANG_MS });
    await cluster.kill("namenode", "SIGSTOP");
    try {
      const hangs = () =>
        stat(join(b, "known")).then(
          () => false,
          () => true,
        );
      await until(hangs, { timeoutMs: 300_000, what: "the mount to ask" });
    } finally {
      await cluster.kill("namenode", "SIGCONT");
    }
    await seen("the namenode again", async () => (await stat(join(b, "known")).catch(() => ({ code: 1 }))).code === 0);
    await fs.unlink(join(a, "known"));
    await seen("what changed afterwards", async () => !(await exists(join(b, "known"))));
  });

  it("give up what a killed mount had open", async () => {
    await fs.writeFile(join(a, "lost"), much("c"));
    await seen("the file", () => exists(join(b, "lost")));
    const handle = await fs.open(join(b, "lost"));
    try {
      await fs.unlink(join(a, "lost"));
      await seen("the name gone", async () => !(await exists(join(b, "lost"))));
      expect((await cluster.report()).blocks).to.be.greaterThan(0);
      other?.kill("SIGKILL");
      await noBlocks();
    } finally {
      await handle.close().catch(() => undefined);
    }
  });
});
