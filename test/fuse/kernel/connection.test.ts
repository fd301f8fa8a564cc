import { expect } from "chai";
import { CairnError } from "../../../common/errors.js";
import { silentLogger } from "../../../common/log.js";
import { MAX_REQUEST, Opcode } from "../../../fuse/kernel/abi.js";
import { Buffers } from "../../../fuse/kernel/buffers.js";
import { Connection, type Handler, type Handlers } from "../../../fuse/kernel/connection.js";
import { encodeBytes } from "../../../fuse/kernel/reply.js";
import { FakeClock } from "../../support/fake-clock.js";
import { until } from "../../support/until.js";

/** The kernel's side: sends requests, collects replies. */
class FakeKernel {
  readonly clock = new FakeClock();
  readonly replies: { unique: number; error: number; data: string }[] = [];
  readonly connection: Connection;
  resumed = 0;
  refuse = false;

  constructor(handlers: Handlers) {
    const device = {
      write: (message: Buffer) => {
        expect(message.readUInt32LE(0)).to.equal(message.length);
        const [unique, error] = [Number(message.readBigUInt64LE(8)), message.readInt32LE(4)];
        this.replies.push({ unique, error, data: message.toString("latin1", 16) });
        return !this.refuse;
      },
      resume: () => {
        this.resumed++;
      },
    };
    this.connection = new Connection(device, handlers, { clock: this.clock, log: silentLogger });
  }

  /** Sends a request as the device does: in the buffer that the connection gave. False when it wants no more. */
  send(opcode: number, unique: number, body: Buffer = Buffer.alloc(0)): boolean {
    const into = this.connection.next();
    expect(into.length).to.equal(MAX_REQUEST);
    into.fill(0, 0, 40);
    into.writeUInt32LE(40 + body.length, 0);
    into.writeUInt32LE(opcode, 4);
    into.writeBigUInt64LE(BigInt(unique), 8);
    body.copy(into, 40);
    return this.connection.request(into.subarray(0, 40 + body.length));
  }

  interrupt(unique: number): void {
    const body = Buffer.alloc(8);
    body.writeBigUInt64LE(BigInt(unique));
    this.send(Opcode.INTERRUPT, unique + 1, body);
  }

  async answered(count: number): Promise<void> {
    await until(() => this.replies.length >= count, { what: `${count} replies` });
  }
}

/** A promise and what resolves it. */
function gate() {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

const serve = (handler: Handler): Handlers => new Map([[Opcode.LOOKUP, handler]]);

describe("fuse kernel: connection", () => {
  it("answers each request with its own number, whatever the order", async () => {
    const first = gate();
    const kernel = new FakeKernel(
      serve(async ({ header }) => {
        if (header.unique === 2) await first.opened;
        return encodeBytes(Buffer.from(`for ${header.unique}`));
      }),
    );
    kernel.send(Opcode.LOOKUP, 2);
    kernel.send(Opcode.LOOKUP, 4);
    await kernel.answered(1);
    first.open();
    await kernel.answered(2);
    expect(kernel.replies).to.deep.equal([
      { unique: 4, error: 0, data: "for 4" },
      { unique: 2, error: 0, data: "for 2" },
    ]);
  });

  it("tells a request at once when its program was interrupted, so that it need not wait for the grace to be over", async () => {
    const kernel = new FakeKernel(
      serve(({ signal }) => {
        return new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => reject(new CairnError("EINTR", "a test")));
        });
      }),
    );
    kernel.send(Opcode.LOOKUP, 2);
    kernel.interrupt(2);
    await kernel.answered(1);
    expect(kernel.replies).to.deep.equal([{ unique: 2, error: -4, data: "" }]);
  });

  it("turns errors into errnos, and what it does not know into ENOSYS", async () => {
    const kernel = new FakeKernel(
      serve(async ({ header }) => {
        throw header.unique === 2 ? new CairnError("ENOTEMPTY", "a test") : new Error("a test");
      }),
    );
    kernel.send(Opcode.LOOKUP, 2);
    kernel.send(Opcode.LOOKUP, 4);
    kernel.send(4711, 6);
    await kernel.answered(3);
    expect(new Map(kernel.replies.map((r) => [r.unique, r.error]))).to.deep.equal(
      new Map([
        [2, -39],
        [4, -5],
        [6, -38],
      ]),
    );
  });

  it("answers what says nothing with nothing, and what wants no reply not at all", async () => {
    let forgotten = 0;
    const kernel = new FakeKernel(
      new Map<number, Handler>([
        [Opcode.UNLINK, async () => {}],
        [
          Opcode.FORGET,
          async () => {
            forgotten++;
          },
        ],
      ]),
    );
    kernel.send(Opcode.FORGET, 2);
    kernel.send(Opcode.UNLINK, 4);
    await kernel.answered(1);
    expect(kernel.replies).to.deep.equal([{ unique: 4, error: 0, data: "" }]);
    expect(forgotten).to.equal(1);
  });

  it("drops bytes that are no request", async () => {
    const kernel = new FakeKernel(serve(async () => {}));
    kernel.connection.request(Buffer.alloc(39));
    kernel.connection.request(Buffer.alloc(40));
    kernel.send(Opcode.LOOKUP, 2);
    await kernel.answered(1);
    expect(kernel.replies.length).to.equal(1);
  });

  it("lets small requests live on when their buffer is used again, and large ones keep theirs", async () => {
    const go = gate();
    const kernel = new FakeKernel(
      serve(async ({ body }) => {
        await go.opened;
        return encodeBytes(body.name());
      }),
    );
    const buffers = new Set<Buffer>();
    for (const [unique, letter, length] of [
      [2, "a", 10],
      [4, "b", 100_000],
      [6, "c", 100_000],
      [8, "d", 10],
    ] as const) {
      buffers.add(kernel.connection.next());
      kernel.send(Opcode.LOOKUP, unique, Buffer.concat([Buffer.alloc(length, letter), Buffer.of(0)]));
    }
    expect(buffers.size).to.equal(3);
    go.open();
    await kernel.answered(4);
    for (const { unique, data } of kernel.replies) {
      expect(data).to.equal({ 2: "a", 4: "b", 6: "c", 8: "d" }[unique]!.repeat(data.length));
      expect(data.length).to.equal(unique === 2 || unique === 8 ? 10 : 100_000);
    }
  });

  it("reads no more while 64 large requests are under way", async () => {
    const go = gate();
    const kernel = new FakeKernel(serve(() => go.opened));
    const body = Buffer.alloc(100_000);
    let sent = 0;
    while (kernel.send(Opcode.LOOKUP, ++sent * 2, body)) expect(sent).to.be.lessThan(64);
    expect(sent).to.equal(64);
    expect(kernel.resumed).to.equal(0);
    go.open();
    await kernel.answered(64);
    await until(() => kernel.resumed > 0, { what: "reading to go on" });
    expect(kernel.resumed).to.equal(1);
    expect(kernel.send(Opcode.LOOKUP, 1000, body)).to.equal(true);
  });

  it("gives a request up some time after its program was interrupted, and has what comes of it taken back", async () => {
    const go = gate();
    const taken: boolean[] = [];
    const kernel = new FakeKernel(
      serve(async (request) => {
        await go.opened;
        taken.push(request.answer(encodeBytes(Buffer.from("late"))));
      }),
    );
    kernel.send(Opcode.LOOKUP, 2);
    kernel.interrupt(2);
    expect(kernel.replies).to.deep.equal([]);
    await kernel.clock.advance(1000);
    expect(kernel.replies).to.deep.equal([{ unique: 2, error: -4, data: "" }]);
    go.open();
    await until(() => taken.length > 0, { what: "the late reply" });
    expect(taken).to.deep.equal([false]);
    expect(kernel.replies.length).to.equal(1);
  });

  it("does not disturb requests that are answered in time", async () => {
    const go = gate();
    const kernel = new FakeKernel(serve(() => go.opened));
    kernel.send(Opcode.LOOKUP, 2);
    kernel.interrupt(2);
    kernel.interrupt(98);
    go.open();
    await kernel.answered(1);
    await kernel.clock.advance(5000);
    expect(kernel.replies).to.deep.equal([{ unique: 2, error: 0, data: "" }]);
  });

  it("tells a handler when the kernel no longer wants its reply", async () => {
    const taken: boolean[] = [];
    const kernel = new FakeKernel(
      serve(async (request) => {
        taken.push(request.answer(encodeBytes(Buffer.from("handle 7"))));
      }),
    );
    kernel.refuse = true;
    kernel.send(Opcode.LOOKUP, 2);
    await until(() => taken.length > 0, { what: "the reply" });
    expect(taken).to.deep.equal([false]);
  });
});

describe("fuse kernel: buffers", () => {
  it("are used again, and bounded: who comes later waits in turn", async () => {
    const buffers = new Buffers(10, 2);
    const [a, b] = [buffers.take(), buffers.take()];
    expect([a.length, buffers.left]).to.deep.equal([10, 0]);
    const order: string[] = [];
    const waiting = ["first", "second"].map(async (who) => {
      const buffer = await buffers.wait();
      order.push(who);
      return buffer;
    });
    buffers.give(b);
    buffers.give(a);
    expect(await Promise.all(waiting)).to.deep.equal([b, a]);
    expect(order).to.deep.equal(["first", "second"]);
    buffers.give(a);
    expect(buffers.take()).to.equal(a);
  });
});
