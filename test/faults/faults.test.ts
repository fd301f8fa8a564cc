import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { requireFuse } from "../support/cluster.js";
import { run } from "../support/run.js";
import { until } from "../support/until.js";

const MAIN = fileURLToPath(new URL("main.js", import.meta.url));
/** How long one case may take on a busy machine, ms. */
const CASE_MS = 400_000;
/** How soon after a fault everything must be healthy here, s: what is measured is what is lost, not how busy the machine is. */
const HEALTHY_S = "180";
const SEED = "1";

/** The short form of the matrix (npm run faults): a fault of each sort, and a few of the kills. */
const SHORT: Record<string, string[]> = {
  "everything killed right after an fsync": ["--case", "kill-all"],
  "machines cut off for longer than any timeout": ["--case", "cut-half"],
  "ten kills at random moments": ["--kills", "10"],
};

describe("nothing acknowledged is lost, with real processes:", function () {
  this.timeout(CASE_MS + 30_000);
  before(requireFuse);

  for (const [what, flags] of Object.entries(SHORT)) {
    it(what, async () => {
      const args = [MAIN, ...flags, "--seed", SEED, "--healthy", HEALTHY_S];
      const { code, stdout, stderr } = await run(process.execPath, args, { timeoutMs: CASE_MS });
      if (code !== 0) throw new Error(`exit status ${code}\n${stdout}${stderr}`);
    });
  }

  it("and nothing is left of a test that was ended in the middle", async () => {
    const folder = mkdtempSync(join(tmpdir(), "cairn-faults-test-"));
    const child = spawn(process.execPath, [MAIN, "--case", "kill-all"], {
      env: { ...process.env, TMPDIR: folder },
      stdio: "ignore",
    });
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    try {
      await until(() => processesOf(folder).some((argv) => argv.includes("mount")), {
        timeoutMs: CASE_MS / 2,
        what: "a mount to be started",
      });
      child.kill("SIGTERM");
      await ended;
      expect(readdirSync(folder)).to.deep.equal([]);
      await until(() => processesOf(folder).length === 0, { timeoutMs: 60_000, what: "all processes to be gone" });
      expect(readFileSync("/proc/self/mountinfo", "utf8")).not.to.contain(folder);
    } finally {
      child.kill("SIGKILL");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

/** The command lines of all processes that name a path below a folder. */
function processesOf(folder: string): string[][] {
  const lines = readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      } catch {
        return []; // it has ended meanwhile
      }
    });
  return lines.filter((argv) => argv.some((word) => word.includes(`${folder}/`)));
}
