import { expect } from "chai";
import { crashAt } from "./crash-points.js";
import { CRASH_SCRIPTS } from "./crash-scripts.js";

/** At every point what was not synced meets the worst; at every third one it is tried as well that it goes as chance has it. */
const CHANCE_EVERY = 3;
/** Changes of disks that a script makes at least. */
const LEAST_CHANGES = 3;

describe("what docs/durability.md promises", function () {
  this.timeout(600_000);

  for (const script of CRASH_SCRIPTS) {
    it(`holds wherever the power of all machines goes: ${script.name}`, async () => {
      for (let point = 1, finished = false; !finished; point++) {
        const worst = await crashAt(script, point, "worst");
        expect(worst.fault, `the power goes before change ${point}, and the worst comes of it`).to.equal(undefined);
        finished = worst.finished;
        if (finished) expect(worst.changes).to.be.at.least(LEAST_CHANGES);
        if (point % CHANCE_EVERY !== 0) continue;
        const { fault } = await crashAt(script, point, 0.5, point);
        expect(fault, `the power goes before change ${point}, and chance decides`).to.equal(undefined);
      }
    });
  }
});
