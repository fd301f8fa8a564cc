import { expect } from "chai";
import { run } from "./run.js";

/** Seeds that every test run simulates, and operations in each. */
const SEEDS = 40;
const OPERATIONS = 150;

describe("simulated clusters", function () {
  this.timeout(900_000);

  for (let first = 1; first <= SEEDS; first += 10) {
    it(`keep every promise under faults, seeds ${first} to ${first + 9}`, async () => {
      for (let seed = first; seed < first + 10; seed++) {
        const { violation, history } = await run({ seed, operations: OPERATIONS });
        expect(violation, `seed ${seed}:\n${history.slice(-40).join("\n")}\n`).to.equal(undefined);
      }
    });
  }

  it("are the same for the same seed", async () => {
    const [a, b] = [await run({ seed: 7, operations: 100 }), await run({ seed: 7, operations: 100 })];
    expect(a.history).to.deep.equal(b.history);
    expect(a.events).to.equal(b.events);
  });

  it("see faults of every kind, and files made in both ways", async () => {
    const seen = new Set<string>();
    const met = new Set<string>();
    for (let seed = 1001; seed <= 1012; seed++) {
      const result = await run({ seed, operations: 150 });
      expect(result.violation).to.equal(undefined);
      for (const fault of result.faults.keys()) seen.add(fault);
      for (const what of result.met.keys()) met.add(what);
    }
    expect([...met]).to.include.members(["files made by mounts", "files made by calls", "recalls"]);
    expect(seen.size).to.be.greaterThan(12);
  });
});
