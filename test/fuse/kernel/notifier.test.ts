import { expect } from "chai";
import type { Logger } from "../../../common/log.js";
import { silentLogger } from "../../../common/log.js";
import { Notifier } from "../../../fuse/kernel/notifier.js";

/** A kernel that takes a message when the test says so. */
class SlowKernel {
  readonly written: string[] = [];
  readonly atOnce: string[] = [];
  readonly notifier: Notifier;
  #done: ((err: NodeJS.ErrnoException | null) => void) | undefined;

  constructor(log: Logger = silentLogger) {
    this.notifier = new Notifier(
      (message, done) => {
        if (this.#done) throw new Error("two at a time");
        this.written.push(describeMessage(message));
        this.#done = done;
      },
      (message) => this.atOnce.push(describeMessage(message)),
      log,
    );
  }

  /** The message under way is taken. */
  take(err: NodeJS.ErrnoException | null = null): void {
    const done = this.#done;
    this.#done = undefined;
    done?.(err);
  }

  /** Takes all there are; returns them. */
  all(): string[] {
    while (this.#done) this.take();
    return this.written.splice(0);
  }
}

function describeMessage(message: Buffer): string {
  expect(message.readUInt32LE(0)).to.equal(message.length);
  expect(message.readBigUInt64LE(8), "unique").to.equal(0n);
  const code = message.readInt32LE(4);
  if (code === 8) return "names";
  const ino = message.readBigUInt64LE(16);
  if (code === 2) return `${message.readBigInt64LE(24) < 0n ? "attributes" : "content"} ${ino}`;
  expect(code).to.equal(3);
  const length = message.readUInt32LE(24);
  expect(message.length).to.equal(32 + length + 1);
  expect(message.at(-1)).to.equal(0);
  return `name ${ino}/${message.toString("utf8", 32, 32 + length)}`;
}

describe("fuse kernel: notifications", () => {
  it("are written one at a time, each thing once, attributes at once", () => {
    const kernel = new SlowKernel();
    const { notifier } = kernel;
    notifier.forgetName(1, Buffer.from("a"));
    notifier.forgetContent(7);
    notifier.forgetName(1, Buffer.from("b"));
    notifier.forgetName(1, Buffer.from("b"));
    notifier.forgetContent(7);
    notifier.forgetAttributes(9);
    expect(kernel.written).to.deep.equal(["name 1/a"]);
    expect(kernel.atOnce).to.deep.equal(["attributes 7", "attributes 7", "attributes 9"]);
    expect(kernel.all()).to.deep.equal(["name 1/a", "name 1/b", "content 7"]);
    notifier.forgetContent(7);
    expect(kernel.all()).to.deep.equal(["content 7"]);
  });

  it("go on after the kernel did not know what they were about", () => {
    const kernel = new SlowKernel();
    kernel.notifier.forgetName(1, Buffer.from("a"));
    kernel.notifier.forgetName(1, Buffer.from("b"));
    kernel.take(Object.assign(new Error("no such entry"), { code: "ENOENT" }));
    expect(kernel.all()).to.deep.equal(["name 1/a", "name 1/b"]);
  });

  it("are one for all names when too many wait", () => {
    const kernel = new SlowKernel();
    for (let i = 0; i < 10_000; i++) kernel.notifier.forgetName(1, Buffer.from(String(i)));
    const written = kernel.all();
    expect(written.length).to.be.below(6000);
    expect(written.slice(0, 2)).to.deep.equal(["name 1/0", "names"]);
  });

  it("end with the mount", () => {
    const kernel = new SlowKernel();
    kernel.notifier.forgetName(1, Buffer.from("a"));
    kernel.notifier.forgetName(1, Buffer.from("b"));
    kernel.notifier.close();
    expect(kernel.all()).to.deep.equal(["name 1/a"]);
  });
});
