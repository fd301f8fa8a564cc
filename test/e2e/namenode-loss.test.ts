import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { requireFuse, TestCluster } from "../support/cluster.js";
import { Load } from "../support/load.js";
import { quote, sh } from "../support/run.js";
import { until } from "../support/until.js";

/** How soon after its start a namenode must answer, ms. */
const ANSWER_MS = 20_000;
const ROUNDS = 3;
/** How long something that must hang is given to do so, ms. */
const HANG_MS = 1_000;

describe("a namenode killed under a reading and writing load", function () {
  this.timeout(900_000);
  let cluster: TestCluster;
  const loads: Load[] = [];
  before(async () => {
    requireFuse();
    cluster = await TestCluster.start();
  });
  after(() => {
    for (const load of loads) load.kill();
    cluster?.destroy();
  });

  it("answers within two seconds of its start, and programs only wait", async () => {
    loads.push(new Load(`${cluster.mount}/a`), new Load(`${cluster.mount}/b`));
    const written = () => Math.min(...loads.map((load) => load.written));
    const goesOn = (more: number) => {
      const goal = written() + more;
      return until(() => written() >= goal, { timeoutMs: 300_000, what: `both loads to write ${more} files more` });
    };
    const took: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      await goesOn(10);
      await cluster.kill("namenode");
      const starting = cluster.up();
      starting.catch(() => undefined); // awaited below
      const answered = until(() => answers(cluster), { timeoutMs: 300_000, what: "the namenode to answer" });
      await until(() => cluster.startedMs("namenode") !== undefined, { what: "the namenode to be started" });
      const startedMs = cluster.startedMs("namenode") ?? 0;
      took.push((await answered) - startedMs);
      await starting;
    }
    await goesOn(10);
    for (const load of loads) await load.stop();
    for (const load of loads) await load.verify();
    // The quickest, because what the machine does besides is not ours; a start that is slow by itself is always slow.
    expect(Math.min(...took), `ms until it answered: ${took.map(Math.round).join(", ")}`).to.be.below(ANSWER_MS);
    await cluster.healthy();
  });
});

describe("a program that waits for a lost namenode", function () {
  this.timeout(900_000);
  let cluster: TestCluster;
  const programs: ChildProcess[] = [];
  before(async () => {
    requireFuse();
    cluster = await TestCluster.start({ datanodes: 1, env: { CAIRN_MOUNT_BINDING: "kernel" } });
  });
  after(() => {
    for (const program of programs) program.kill("SIGKILL");
    cluster?.destroy();
  });

  it("is freed by a signal, whatever it waits in", async () => {
    const at = (name: string) => quote(join(cluster.mount, name));
    await sh(`mkdir ${at("d")} ${at("unseen")} && echo text > ${at("d/f")}`);
    // What the mount knows nothing of is asked for.
    await cluster.restart("namenode");
    await sh(`mkdir ${at("connected")}`);
    const stuck = [
      `open(${py(cluster, "d/f")}).read()`,
      `os.listdir(${py(cluster, "unseen")})`,
      `os.stat(${py(cluster, "unseen/x")})`,
      `os.mkdir(${py(cluster, "d/new")})`,
      `os.rename(${py(cluster, "d/f")}, ${py(cluster, "d/g")})`,
      "written.flush(); os.fsync(written.fileno())",
      "written.close()",
      "written.flush(); fcntl.lockf(written, fcntl.LOCK_EX)",
    ];
    const started = stuck.flatMap((step, i) =>
      (["SIGINT", "SIGKILL"] as const).map((signal) => {
        const lines = [
          "import fcntl, os, signal, sys",
          "signal.signal(signal.SIGINT, signal.SIG_DFL)",
          `written = open(${py(cluster, `written-${i}-${signal}`)}, "w"); written.write("x" * 100_000)`,
          'print("ready", flush=True); sys.stdin.readline()',
          'print("going", flush=True)',
          step,
        ];
        return { step, signal, program: new Program(lines.join("\n")) };
      }),
    );
    programs.push(...started.map(({ program }) => program.child));
    const all = (what: string) =>
      Promise.all(started.map(({ program }) => until(() => program.said.includes(what), { timeoutMs: 300_000, what })));
    await all("ready");
    await cluster.kill("namenode", "SIGSTOP");
    for (const { program } of started) program.child.stdin.write("go\n");
    await all("going");
    await sleep(HANG_MS);
    const early = started.filter(({ program }) => program.ended !== undefined).map(({ step }) => step);
    expect(early, "what does not ask the namenode at all").to.deep.equal([]);
    for (const { program, signal } of started) program.child.kill(signal);
    for (const { step, signal, program } of started) {
      await until(() => program.ended !== undefined, { timeoutMs: 120_000, what: `${signal} to end ${step}` });
    }
    await cluster.kill("namenode", "SIGCONT");
    expect(await sh(`cat ${at("d/")}*; ls -d ${at("unseen")}`)).to.match(/^text/);
  });
});

/** A path in the mount, in Python. */
function py(cluster: TestCluster, name: string): string {
  return JSON.stringify(join(cluster.mount, name));
}

/** A program in Python, what it has said, and how it ended. */
class Program {
  readonly child: ChildProcessWithoutNullStreams;
  said = "";
  ended: string | undefined;

  constructor(text: string) {
    this.child = spawn("python3", ["-c", text]);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.on("data", (data) => {
        this.said += String(data);
      });
    }
    this.child.stdin.on("error", () => {}); // it has ended
    this.child.on("exit", (code, signal) => {
      this.ended = signal ?? String(code);
    });
  }
}

/** When the namenode was seen to answer, ms since 1970; undefined when it does not. */
async function answers(cluster: TestCluster): Promise<number | undefined> {
  try {
    await cluster.status();
    return Date.now();
  } catch {
    return undefined;
  }
}
