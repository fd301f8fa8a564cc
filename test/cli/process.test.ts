import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { ended, processInfo, readPidFile, terminate, writePidFile } from "../../cli/cluster/process.js";
import { until } from "../support/until.js";

describe("pid files", () => {
  let folder: string;
  let path: string;
  let child: ChildProcess;
  const words = ["--data-dir", "/some where/else"];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "cairn-pid-"));
    path = join(folder, "pid");
    child = spawn("sleep", ["60"], { argv0: "sleep" });
    await until(() => child.pid, { what: "the process" });
  });
  afterEach(() => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true });
  });
  const pid = () => child.pid ?? 0;

  it("are believed when the process is the one that was recorded", () => {
    writePidFile(path, pid());
    expect(readPidFile(path, ["60"])).to.equal(pid());
  });

  it("are not believed when the process is another program", () => {
    writePidFile(path, pid());
    expect(readPidFile(path, words)).to.equal(undefined);
  });

  it("are not believed when the process started after they were written", () => {
    writePidFile(path, pid());
    const before = Date.now() / 1000 - 60;
    utimesSync(path, before, before);
    expect(readPidFile(path, ["60"])).to.equal(undefined);
  });

  it("are not believed when the process has ended, or is a zombie", async () => {
    writePidFile(path, pid());
    const zombie = spawn("sh", ["-c", "sleep 0 & echo $!; exec sleep 60"], { stdio: ["ignore", "pipe", "ignore"] });
    try {
      const id = await new Promise<number>((resolve) => zombie.stdout?.once("data", (d) => resolve(Number(d))));
      await until(() => processInfo(id) === undefined, { what: "the child of sleep to be a zombie" });
    } finally {
      zombie.kill("SIGKILL");
    }
    child.kill("SIGKILL");
    expect(await ended(pid(), 5_000)).to.equal(true);
    expect(readPidFile(path, ["60"])).to.equal(undefined);
  });

  it("are not believed when they hold anything but a number, or are not there", () => {
    for (const text of ["", "-1", "0", "1 2", `${pid()}x`, "99999999999"]) {
      writeFileSync(path, text);
      expect(readPidFile(path, []), text).to.equal(undefined);
    }
    expect(readPidFile(join(folder, "none"), [])).to.equal(undefined);
  });
});

describe("ending a process", () => {
  it("is by SIGTERM, and by SIGKILL when that does not help", async () => {
    const willing = spawn("sleep", ["60"]);
    expect(await terminate(willing.pid ?? 0, 5_000)).to.equal(true);
    const script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    const stubborn = spawn("bash", ["-c", script], { stdio: ["ignore", "pipe", "ignore"] });
    await new Promise((resolve) => stubborn.stdout?.once("data", resolve));
    expect(await terminate(stubborn.pid ?? 0, 200)).to.equal(false);
    expect(processInfo(stubborn.pid ?? 0)).to.equal(undefined);
  });
});

describe("what is known of a process", () => {
  it("is its command line and when it started", () => {
    const info = processInfo(process.pid);
    expect(info?.argv[0]).to.match(/node/);
    expect(Math.abs((info?.startedMs ?? 0) - performance.timeOrigin)).to.be.below(2_000);
  });
});
