import { expect } from "chai";
import { WebSocket } from "ws";
import { CairnError, codeOf } from "../../common/errors.js";
import { MAX_CALLS_IN_FLIGHT, MAX_MESSAGE, MIB } from "../../common/limits.js";
import { type CallContext, Dispatcher, WithBody } from "../../proto/dispatch.js";
import { encodeFrame } from "../../proto/frame.js";
import { EnvelopeKind, GetXattrRequest, type XattrReplyInit } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import type { LinkServer } from "../../proto/server.js";
import { Echo, Note, Wires } from "../support/echo.js";
import { until } from "../support/until.js";

type Answer = XattrReplyInit | WithBody<XattrReplyInit>;

async function code(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "nothing",
    (err) => codeOf(err),
  );
}

describe("a link", () => {
  const wires = new Wires();
  let server: LinkServer;
  let answer: (request: { ino: number; name: Buffer }, context: CallContext) => Answer | Promise<Answer>;
  let notes: { name: Buffer; body: Buffer; raw: Buffer; link: Link }[];

  beforeEach(async () => {
    notes = [];
    answer = ({ name }) => ({ value: name });
    const dispatcher = new Dispatcher()
      .serve(Echo, { say: (request, context) => answer(request, context) })
      .take(Note, {
        take: ({ ino, name }, { body, raw, link }) => {
          if (ino === 666) throw new Error("this will not do");
          notes.push({ name, body: Buffer.from(body), raw, link });
        },
      });
    server = await wires.listen(dispatcher);
  });
  afterEach(() => wires.close());

  it("carries calls both ways, many at once, answered in any order", async () => {
    const link = await wires.connect(server, {
      dispatcher: new Dispatcher().serve(Echo, { say: ({ ino }) => ({ value: Buffer.from(`client ${ino}`) }) }),
    });
    answer = async ({ ino }, context) => {
      await new Promise((resolve) => setTimeout(resolve, (20 - ino) / 2));
      return context.link.call(Echo.say, { ino });
    };
    const replies = await Promise.all(Array.from({ length: 20 }, (_, ino) => link.call(Echo.say, { ino })));
    expect(replies.map((r) => r.value.toString())).to.deep.equal(replies.map((_, i) => `client ${i}`));
  });

  it("carries raw bytes beside requests, replies and pushes", async () => {
    const link = await wires.connect(server);
    answer = (_request, { body }) => new WithBody({ value: Buffer.from("m") }, Buffer.concat([body, body]));
    const body = Buffer.alloc(MIB, 5);
    const reply = await link.callWithBody(Echo.say, {}, { body });
    expect(reply.message.value.toString()).to.equal("m");
    expect(reply.body.equals(Buffer.alloc(2 * MIB, 5))).to.equal(true);
    link.push(Note.take, { name: Buffer.from("n") }, body.subarray(0, 10));
    await until(() => notes.length === 1, { what: "the push" });
    expect(notes[0]).to.deep.include({ name: Buffer.from("n"), body: body.subarray(0, 10) });
  });

  it("keeps the order of pushes, and passes frames on unchanged", async () => {
    const link = await wires.connect(server);
    for (let i = 0; i < 200; i++) link.push(Note.take, { name: Buffer.from([i]) }, Buffer.alloc(i * 100, i));
    await until(() => notes.length === 200, { what: "the pushes" });
    expect(notes.map((n) => n.name[0])).to.deep.equal(notes.map((_, i) => i));
    const { raw } = notes[7]!;
    link.sendFrame(raw);
    await until(() => notes.length === 201, { what: "the push passed on" });
    expect(notes[200]!.body.equals(Buffer.alloc(700, 7))).to.equal(true);
  });

  it("says when the memory of a reply is free", async () => {
    const link = await wires.connect(server);
    let freed = 0;
    answer = () => new WithBody({}, Buffer.alloc(10), () => freed++);
    await link.call(Echo.say, {});
    await until(() => freed === 1, { what: "the memory to be free" });
    let hold!: () => void;
    answer = async () => {
      await new Promise<void>((resolve) => {
        hold = resolve;
      });
      return new WithBody({}, Buffer.alloc(10), () => freed++);
    };
    const lost = code(link.call(Echo.say, {}));
    await until(() => hold !== undefined, { what: "the call" });
    link.terminate("gone");
    hold();
    await lost;
    await until(() => freed === 2, { what: "the memory of a reply that nobody gets to be free" });
  });

  it("hands on errors with their errno, whether thrown at once or later, and EIO for others", async () => {
    const link = await wires.connect(server);
    answer = () => {
      throw new CairnError("ENOENT", "no such thing");
    };
    const err = await link.call(Echo.say, {}).catch((e: unknown) => e);
    expect(err).to.be.instanceOf(CairnError);
    expect(err).to.include({ code: "ENOENT", message: "no such thing" });
    answer = async () => {
      throw new CairnError("EDQUOT", "too much");
    };
    expect(await code(link.call(Echo.say, {}))).to.equal("EDQUOT");
    answer = () => {
      throw new TypeError("a bug");
    };
    expect(await code(link.call(Echo.say, {}))).to.equal("EIO");
    expect(link.isOpen).to.equal(true);
  });

  it("says ENOSYS, at once, to a method that nobody serves", async () => {
    const link = await wires.connect(server);
    const unknown = { ...Echo.say, name: "Echo.Whisper" };
    expect(await code(link.call(unknown, {}, { deadlineMs: 5_000 }))).to.equal("ENOSYS");
  });

  it("is ETIMEDOUT when no reply comes in time, and the other side hears of it", async () => {
    const link = await wires.connect(server);
    let signal: AbortSignal | undefined;
    let deadline = 0;
    answer = (_request, context) => {
      signal = context.signal;
      deadline = context.deadlineMs;
      return new Promise(() => {});
    };
    expect(await code(link.call(Echo.say, {}, { deadlineMs: 150 }))).to.equal("ETIMEDOUT");
    expect(deadline).to.equal(150);
    await until(() => signal?.aborted, { what: "the signal" });
    answer = () => ({ value: Buffer.from("still here") });
    expect((await link.call(Echo.say, {})).value.toString()).to.equal("still here");
  });

  it("gives a call up when its signal says so, also to a handler that looks only later", async () => {
    const link = await wires.connect(server);
    let context: CallContext | undefined;
    answer = (_request, c) => {
      context ??= c;
      return new Promise(() => {});
    };
    const controller = new AbortController();
    const call = code(link.call(Echo.say, {}, { signal: controller.signal }));
    await until(() => context, { what: "the call" });
    controller.abort();
    expect(await call).to.equal("ECANCELED");
    const after = link.call(Echo.say, {}, { deadlineMs: 200 }); // comes after the cancellation
    await code(after);
    expect(context!.signal.aborted).to.equal(true);
    expect(await code(link.call(Echo.say, {}, { signal: AbortSignal.abort() }))).to.equal("ECANCELED");
  });

  it("fails its calls with ENOTCONN when it breaks, on both sides", async () => {
    const link = await wires.connect(server);
    let signal: AbortSignal | undefined;
    answer = (_request, context) => {
      signal = context.signal;
      return new Promise(() => {});
    };
    const call = code(link.call(Echo.say, {}));
    await until(() => signal, { what: "the call" });
    for (const other of server.links) other.terminate("killed");
    expect(await call).to.equal("ENOTCONN");
    expect(signal!.aborted).to.equal(true);
    expect((await link.closed).code).to.equal("ENOTCONN");
    expect(await code(link.call(Echo.say, {}))).to.equal("ENOTCONN");
    link.push(Note.take, {}); // a no-op
    expect(link.isOpen).to.equal(false);
  });

  it("closes in good order, with a reason", async () => {
    const link = await wires.connect(server);
    await link.call(Echo.say, {});
    const [other] = server.links as Set<Link>;
    link.close("going home — für heute"); // a reason must not be more than ASCII
    link.close("again");
    expect((await other!.closed).message).to.include("going home");
    expect(server.links.size).to.equal(0);
  });

  it("lets no more calls out than its bound, and gives up those that wait too long", async () => {
    const link = await wires.connect(server);
    const waiting: (() => void)[] = [];
    answer = () => new Promise((resolve) => waiting.push(() => resolve({})));
    const calls = Array.from({ length: MAX_CALLS_IN_FLIGHT }, () => link.call(Echo.say, {}));
    await until(() => waiting.length === MAX_CALLS_IN_FLIGHT, { what: "the calls to arrive" });
    const late = code(link.call(Echo.say, {}, { deadlineMs: 100 }));
    const patient = link.call(Echo.say, {});
    expect(await late).to.equal("ETIMEDOUT");
    expect(waiting.length).to.equal(MAX_CALLS_IN_FLIGHT);
    for (const go of waiting.splice(0)) go();
    await Promise.all(calls);
    await until(() => waiting.length === 1, { what: "the call that waited" });
    waiting[0]!();
    await patient;
  });

  it("gives the place of a call that was given up while it waited to the next one", async () => {
    const link = await wires.connect(server);
    const waiting: (() => void)[] = [];
    answer = () => new Promise((resolve) => waiting.push(() => resolve({})));
    const calls = Array.from({ length: MAX_CALLS_IN_FLIGHT }, () => link.call(Echo.say, {}));
    await until(() => waiting.length === MAX_CALLS_IN_FLIGHT, { what: "the calls to arrive" });
    const given = new AbortController();
    const abandoned = code(link.call(Echo.say, {}, { signal: given.signal }));
    const next = link.call(Echo.say, {}, { deadlineMs: 300 }).catch((err: Error) => err.message);
    given.abort();
    waiting.shift()!();
    expect(await abandoned).to.equal("ECANCELED");
    // It is on its way, though the other side reads no further calls until it has answered half of those it has.
    expect(await next).to.match(/no reply in time/);
    for (const go of waiting.splice(0)) go();
    await Promise.all(calls);
  });

  it("refuses to send what is over the limit, and goes on", async () => {
    const link = await wires.connect(server);
    expect(await code(link.call(Echo.say, { name: Buffer.alloc(MAX_MESSAGE) }))).to.equal("EMSGSIZE");
    answer = () => ({ value: Buffer.alloc(MAX_MESSAGE) });
    expect(await code(link.call(Echo.say, {}))).to.equal("EMSGSIZE");
    answer = () => ({});
    await link.call(Echo.say, {});
  });

  it("notices a peer that says nothing any more", async () => {
    const quiet = await wires.listen(
      new Dispatcher().serve(Echo, { say: (request, context) => answer(request, context) }),
    );
    const link = await wires.connect(quiet, { pingMs: 20, idleMs: 100 });
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(link.isOpen).to.equal(true); // pings are answered
    answer = () => new Promise(() => {});
    for (let i = 0; i < MAX_CALLS_IN_FLIGHT; i++) void code(link.call(Echo.say, {})); // it stops reading then
    expect((await link.closed).message).to.match(/nothing heard/);
  });

  describe("that is sent garbage", () => {
    const envelope = (kind: number, method: string, message = Buffer.alloc(0), id = 1) =>
      encodeFrame({ kind: kind as 0, method, message, id });
    const garbage: [string, Buffer | string][] = [
      ["a text", "hello"],
      ["nothing", Buffer.alloc(0)],
      ["random bytes", Buffer.from("a3f1774e11ff00aa3c", "hex")],
      ["an unknown kind of message", envelope(17, "Echo.Say")],
      ["an unknown push with a long, strange name", envelope(EnvelopeKind.PUSH, "☃".repeat(200))],
      [
        "a push that its handler cannot take",
        envelope(EnvelopeKind.PUSH, "Note.Take", Buffer.from(GetXattrRequest.encode({ ino: 666 }).finish())),
      ],
      ["an undecodable request", envelope(EnvelopeKind.CALL, "Echo.Say", Buffer.from([0xff, 0xff, 0xff]))],
      ["more than a message may have", Buffer.alloc(MAX_MESSAGE + 1)],
    ];
    for (const [what, bytes] of garbage) {
      it(`closes (${what}), and the others go on`, async () => {
        const good = await wires.connect(server);
        const ws = new WebSocket(`ws://127.0.0.1:${server.port}/link`);
        await new Promise((resolve) => ws.once("open", resolve));
        const closed = new Promise<number>((resolve) => {
          ws.once("close", resolve);
          ws.on("error", () => {});
        });
        ws.send(bytes);
        expect(await closed).to.be.oneOf([1006, 1008, 1009]);
        expect((await good.call(Echo.say, { name: Buffer.from("ok") })).value.toString()).to.equal("ok");
      });
    }

    it("does not mind replies to calls that were never made", async () => {
      const link = await wires.connect(server);
      for (const other of server.links) other.sendFrame(envelope(EnvelopeKind.REPLY, "", Buffer.alloc(0), 99));
      await link.call(Echo.say, {});
      for (const other of server.links) other.sendFrame(envelope(EnvelopeKind.CANCEL, "", Buffer.alloc(0), 99));
      await link.call(Echo.say, {});
      expect(link.isOpen).to.equal(true);
    });
  });
});
