import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { RealClock } from "../../../common/clock.js";
import { silentLogger } from "../../../common/log.js";
import { MemoryStore } from "../../../namenode/store/memory.js";
import { openStorage } from "../../../namenode/store/storage.js";
import { tempFolder } from "./temp.js";
import { applyTestEdit, replay } from "./test-edit.js";

const ROUNDS = 4;
const ALL = { gte: "", lt: "\xff" };

describe("a process killed while it appends and flushes", () => {
  const temp = tempFolder();

  /** Runs the child on a folder for some edits more and kills it; returns the last index that it said was in the journal. */
  async function runAndKill(folder: string, edits: number): Promise<number> {
    const script = fileURLToPath(new URL("crash-child.js", import.meta.url));
    const child = spawn(process.execPath, [script, folder], { stdio: ["ignore", "pipe", "inherit"] });
    const exited = once(child, "exit");
    let output = "";
    let first: number | undefined;
    child.stdout.on("data", (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-200);
      const lines = output.split("\n");
      const last = Number(lines.at(-2) ?? 0);
      first ??= last;
      if (last >= first + edits) child.kill("SIGKILL");
    });
    const [, signal] = await exited;
    expect(signal).equal("SIGKILL");
    return Number(output.split("\n").at(-2));
  }

  it("has every edit that was acknowledged, in the store and the journal together, and nothing else", async () => {
    const folder = temp.path("data");
    const model = new MemoryStore();
    let modelIndex = 0;
    let flushed = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const acknowledged = await runAndKill(folder, 2000 + round * 3111);
      const storage = await openStorage({ folder, clock: new RealClock(), log: silentLogger });
      const { store, journal } = storage;
      expect(journal.lastIndex).least(acknowledged);
      expect(store.appliedIndex).most(journal.lastIndex);
      if (store.appliedIndex > 0) flushed++;
      // The store alone is what the edits up to its index make, the store with the journal what all of them make.
      while (modelIndex < store.appliedIndex) applyTestEdit(model, ++modelIndex);
      expect([...store.range(ALL)]).eql([...model.range(ALL)]);
      replay(storage);
      while (modelIndex < journal.lastIndex) applyTestEdit(model, ++modelIndex);
      expect([...store.range(ALL)]).eql([...model.range(ALL)]);
      await storage.close();
    }
    expect(flushed).greaterThan(0);
  });
});
