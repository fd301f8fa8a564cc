import { expect } from "chai";
import { GiveUp } from "../../common/give-up.js";

describe("giving something up", () => {
  it("tells those who listen, once, and those who ask later", () => {
    const end = new GiveUp();
    const told: string[] = [];
    const never = () => told.push("never");
    end.addEventListener("abort", () => told.push("first"));
    end.addEventListener("abort", never);
    end.addEventListener("abort", () => told.push("second"));
    end.removeEventListener("abort", never);
    expect(end.aborted).to.equal(false);
    end.abort();
    end.abort();
    expect(end.aborted).to.equal(true);
    expect(told).to.deep.equal(["first", "second"]);
  });
});
