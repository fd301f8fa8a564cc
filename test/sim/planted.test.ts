import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { PLANTED, simulateWith } from "./planted.js";

/** The compiled project. */
const DIST = fileURLToPath(new URL("../..", import.meta.url));

describe("a simulator that is worth something", function () {
  this.timeout(1_200_000);

  for (const bug of PLANTED) {
    it(`notices within 100 seeds that ${bug.name}`, async () => {
      const seeds = ["--seed", `${bug.firstSeed}`, "--runs", "100"];
      const { found, output } = await simulateWith(bug, DIST, [...seeds, "--ops", "300"]);
      expect(found, output.slice(-2000)).to.equal(true);
    });
  }
});
