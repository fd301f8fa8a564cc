import { createServer, request } from "node:http";
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer } from "node:net";
import { expect } from "chai";
import { CairnError, codeOf } from "../../common/errors.js";
import { LinkAuth } from "../../proto/auth.js";
import { connect, LinkPool, PersistentLink } from "../../proto/connect.js";
import { Dispatcher } from "../../proto/dispatch.js";
import type { Link } from "../../proto/link.js";
import { isLoopback } from "../../proto/server.js";
import { Echo, Wires } from "../support/echo.js";
import { until } from "../support/until.js";

async function failure(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  return promise.then(
    () => {
      throw new Error("it should have failed");
    },
    (err) => err,
  );
}

const echo = () => new Dispatcher().serve(Echo, { say: ({ name }) => ({ value: name }) });

describe("connecting", () => {
  const wires = new Wires();
  const options = { dispatcher: new Dispatcher(), auth: new LinkAuth(), log: wires.log };
  const persistent: PersistentLink[] = [];
  afterEach(async () => {
    for (const link of persistent.splice(0)) link.close();
    await wires.close();
  });

  function keep(port: number, more: Partial<ConstructorParameters<typeof PersistentLink>[0]> = {}): PersistentLink {
    const link = new PersistentLink({ host: "127.0.0.1", port, ...options, ...more });
    persistent.push(link);
    return link;
  }

  it("says who refused, and why", async () => {
    const server = await wires.listen(echo(), { secret: "right" });
    const wrong = await failure(wires.connect(server, { auth: new LinkAuth("wrong") }));
    expect(wrong.code).to.equal("EACCES");
    expect(wrong.message).to.include(`127.0.0.1:${server.port}`).and.include("wrong cluster secret");
    expect((await failure(wires.connect(server))).message).to.include("required");
    const link = await wires.connect(server, { auth: new LinkAuth("right") });
    expect(link.isOpen).to.equal(true);
    await server.close();
    const gone = await failure(wires.connect(server, { auth: new LinkAuth("right") }));
    expect(gone.code).to.equal("ECONNREFUSED");
    expect(gone.message).to.include(String(server.port));
  });

  it("is EPROTO where something else answers", async () => {
    const web = createServer((_req, res) => res.end("a web page"));
    await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
    expect((await failure(connect("127.0.0.1", (web.address() as AddressInfo).port, options))).code).to.equal("EPROTO");
    web.close();
    const noise = createTcpServer((socket) => socket.end("220 mail.example.com ESMTP\r\n"));
    await new Promise<void>((resolve) => noise.listen(0, "127.0.0.1", resolve));
    const err = await failure(connect("127.0.0.1", (noise.address() as AddressInfo).port, options));
    expect(codeOf(err)).to.be.oneOf(["EPROTO", "EIO", "ECONNRESET"]);
    expect(err).to.be.instanceOf(CairnError);
    noise.close();
  });

  it("will not listen on an open address without a secret, or on a port that is taken", async () => {
    expect((await failure(wires.listen(echo(), { host: "0.0.0.0" }))).code).to.equal("EINVAL");
    const server = await wires.listen(echo());
    const err = await failure(wires.listen(echo(), { port: server.port }));
    expect(err.code).to.equal("EADDRINUSE");
    expect(err.message).to.include(String(server.port));
    for (const host of ["localhost", "127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]) {
      expect(isLoopback(host), host).to.equal(true);
    }
    for (const host of ["0.0.0.0", "10.0.0.1", "1127.0.0.1", "::", "example.com"]) {
      expect(isLoopback(host), host).to.equal(false);
    }
  });

  it("answers pages and links on one port, and survives what is neither", async () => {
    const server = await wires.listen(echo());
    const page = await fetch(`http://127.0.0.1:${server.port}/`);
    expect(await page.text()).to.equal("a page");
    const socket = connectTcp(server.port, "127.0.0.1");
    socket.end("\x16\x03\x01 not HTTP at all\r\n\r\n");
    let answer = "";
    for await (const part of socket) answer += part;
    expect(answer).to.include("400");
    const status = await new Promise<number | undefined>((resolve) => {
      const headers = { connection: "upgrade", upgrade: "websocket" };
      const req = request({ port: server.port, host: "127.0.0.1", path: "/other", headers }, (res) => {
        res.resume();
        resolve(res.statusCode);
      });
      req.end();
    });
    expect(status).to.equal(404);
    expect((await (await wires.connect(server)).call(Echo.say, { name: Buffer.from("x") })).value.toString()).to.equal(
      "x",
    );
  });

  it("closes a server in time though a peer does not say good-bye", async () => {
    const server = await wires.listen(echo());
    const socket = connectTcp(server.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(
      "GET /link HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    await until(() => server.links.size === 1, { what: "the link" });
    const started = performance.now();
    await server.close();
    expect(performance.now() - started).to.be.lessThan(3_000);
    socket.destroy();
  });

  describe("a pool", () => {
    it("shares one link per address, and makes a new one when that is gone", async () => {
      const server = await wires.listen(echo());
      const pool = new LinkPool(options);
      const [a, b] = await Promise.all([pool.get("127.0.0.1", server.port), pool.get("127.0.0.1", server.port)]);
      expect(a).to.equal(b);
      a.terminate("gone");
      const c = await pool.get("127.0.0.1", server.port);
      expect(c).not.to.equal(a);
      expect(await c.call(Echo.say, {})).to.have.property("value");
      await pool.close();
      expect(c.isOpen).to.equal(false);
      expect((await failure(pool.get("127.0.0.1", server.port))).code).to.equal("ENOTCONN");
    });

    it("tries again after a failure", async () => {
      const server = await wires.listen(echo());
      await server.close();
      const pool = new LinkPool(options);
      const both = [pool.get("127.0.0.1", server.port), pool.get("127.0.0.1", server.port)];
      for (const get of both) expect((await failure(get)).code).to.equal("ECONNREFUSED");
      const again = await wires.listen(echo(), { port: server.port });
      expect((await pool.get("127.0.0.1", again.port)).isOpen).to.equal(true);
      await pool.close();
    });
  });

  describe("a persistent link", () => {
    it("comes back by itself, greeting before anybody else's call", async () => {
      const calls: string[] = [];
      const dispatcher = new Dispatcher().serve(Echo, {
        say: ({ name }) => {
          calls.push(name.toString());
          return { value: name };
        },
      });
      const server = await wires.listen(dispatcher);
      const lost: Error[] = [];
      const link = keep(server.port, {
        onConnect: async (up: Link) => {
          await up.call(Echo.say, { name: Buffer.from("hello") });
        },
        onDisconnect: (reason) => lost.push(reason),
      });
      await link.call(Echo.say, { name: Buffer.from("one") });
      await server.close();
      await until(() => link.link === undefined, { what: "the loss to be noticed" });
      const waiting = link.call(Echo.say, { name: Buffer.from("two") });
      await until(() => lost.length >= 2, { what: "attempts in vain" });
      await wires.listen(dispatcher, { port: server.port });
      await waiting;
      expect(calls).to.deep.equal(["hello", "one", "hello", "two"]);
    });

    it("fails what was under way with ENOTCONN, and what waits too long with ETIMEDOUT and the cause", async () => {
      const hang = new Dispatcher().serve(Echo, { say: () => new Promise(() => {}) });
      const server = await wires.listen(hang);
      const link = keep(server.port);
      const call = failure(link.call(Echo.say, {}));
      await until(() => link.link !== undefined, { what: "the link" });
      await new Promise((resolve) => setTimeout(resolve, 20));
      await server.close();
      expect((await call).code).to.equal("ENOTCONN");
      const err = await failure(link.call(Echo.say, {}, { deadlineMs: 200 }));
      expect(err.code).to.equal("ETIMEDOUT");
      expect(err.message).to.include("ECONNREFUSED");
    });

    it("drops a connection on which the greeting failed, and gives up when that is fatal", async () => {
      const server = await wires.listen(echo());
      let attempts = 0;
      const link = keep(server.port, {
        onConnect: async () => {
          attempts++;
          throw new CairnError(attempts < 3 ? "EBUSY" : "EPERM", "not now");
        },
        fatal: (err) => codeOf(err) === "EPERM",
      });
      expect((await failure(link.ready(5_000))).code).to.equal("EPERM");
      expect(attempts).to.equal(3);
      expect((await failure(link.call(Echo.say, {}))).code).to.equal("EPERM");
      await until(() => server.links.size === 0, { what: "the connections to be dropped" });
    });

    it("closes at once, whatever it is doing", async () => {
      const server = await wires.listen(echo());
      await server.close();
      const link = keep(server.port);
      const waiting = failure(link.ready(30_000));
      await new Promise((resolve) => setTimeout(resolve, 100));
      link.close();
      expect((await waiting).code).to.equal("ENOTCONN");
      expect((await failure(link.call(Echo.say, {}))).code).to.equal("ENOTCONN");
    });
  });
});
