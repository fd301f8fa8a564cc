import { expect } from "chai";
import { silentLogger } from "../../common/log.js";
import { WorkQueue } from "../../datanode/work-queue.js";

describe("work queue of a datanode", () => {
  /** A queue whose items end when the test says so. */
  function controlled(limit = 10) {
    const ends = new Map<string, () => void>();
    const begun: string[] = [];
    const queue = new WorkQueue<string>({
      name: "test",
      parallel: 1,
      limit,
      log: silentLogger,
      run: (item) => {
        begun.push(item);
        return new Promise((resolve) => ends.set(item, resolve));
      },
    });
    return { queue, begun, end: (item: string) => ends.get(item)?.() };
  }

  it("forgets what waits, and says when what was under way is done", async () => {
    const { queue, begun, end } = controlled();
    for (const item of ["a", "b", "c"]) queue.add(item);
    let forgotten = false;
    const done = queue.forget().then(() => {
      forgotten = true;
    });
    await Promise.resolve();
    expect(forgotten).to.equal(false);
    end("a");
    await done;
    expect(begun).to.deep.equal(["a"]);
    expect(queue.add("d")).to.equal(true);
    expect(begun).to.deep.equal(["a", "d"]);
    end("d");
    await queue.close();
    expect(queue.add("e")).to.equal(false);
  });

  it("refuses what does not fit", () => {
    const { queue } = controlled(1);
    expect([queue.add("a"), queue.add("b"), queue.add("c")]).to.deep.equal([true, true, false]);
  });
});
