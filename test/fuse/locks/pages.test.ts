import { expect } from "chai";
import { silentLogger } from "../../../common/log.js";
import { Notifier } from "../../../fuse/kernel/notifier.js";

describe("fuse kernel: pages from before a lock", () => {
  /** Messages that are being written: the test says when the kernel is done with the oldest. */
  const written: (() => void)[] = [];
  const notifier = () =>
    new Notifier(
      (_message, done) => written.push(() => done(null)),
      () => {},
      silentLogger,
    );
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  afterEach(() => {
    written.length = 0;
  });

  it("are waited for until the kernel has forgotten them, and not those it was still forgetting when one began to wait", async () => {
    const kernel = notifier();
    const over: string[] = [];
    kernel.forgetContent(5); // being written
    void kernel.contentForgotten(5).then(() => over.push("first"));
    void kernel.contentForgotten(5).then(() => over.push("second"));
    void kernel.contentForgotten(6).then(() => over.push("other"));
    written[0]!();
    await settle();
    expect(over).to.deep.equal([]);
    written[1]!();
    await settle();
    expect(over).to.deep.equal(["first", "second"]);
    written[2]!();
    await settle();
    expect(over).to.deep.equal(["first", "second", "other"]);
  });

  it("are waited for no longer when the mount has gone", async () => {
    const kernel = notifier();
    const waiting = kernel.contentForgotten(5);
    const behind = kernel.contentForgotten(6);
    kernel.close();
    written[0]!();
    await Promise.all([waiting, behind, kernel.contentForgotten(7)]);
  });
});
