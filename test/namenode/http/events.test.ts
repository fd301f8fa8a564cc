import { EventEmitter } from "node:events";
import { get, type IncomingMessage, type ServerResponse } from "node:http";
import { expect } from "chai";
import type { Clock, Timer } from "../../../common/clock.js";
import { silentLogger } from "../../../common/log.js";
import {
  BEAT_MS,
  EventStream,
  HEARTBEAT_MS,
  LISTENER_BYTES_PER_S,
  MAX_LISTENERS,
  SLOW_MS,
} from "../../../namenode/http/events.js";
import { type Status, statusJson } from "../../../namenode/http/status.js";
import { until } from "../../support/until.js";
import { fakeCluster, serveFake } from "./fake.js";

/** A clock that a test moves on; only `every` can be waited for. */
class FakeClock implements Clock {
  #now = 1_000_000;
  readonly ticking = new Set<{ ms: number; fn: () => void; next: number }>();
  now = () => this.#now;
  monotonic = () => this.#now;
  timestamp = () => ({ sec: this.#now / 1000, nsec: 0 });
  after(): Timer {
    throw new Error("not expected here");
  }
  every(ms: number, fn: () => void): Timer {
    const timer = { ms, fn, next: this.#now + ms };
    this.ticking.add(timer);
    return { clear: () => this.ticking.delete(timer) };
  }
  advance(ms: number): void {
    for (const end = this.#now + ms; this.#now < end; ) {
      this.#now++;
      for (const timer of this.ticking) {
        if (timer.next > this.#now) continue;
        timer.next += timer.ms;
        timer.fn();
      }
    }
  }
}

/** The part of a response that a stream uses. `stuck` bytes are not taken by the other side. */
class FakeResponse extends EventEmitter {
  readonly written: string[] = [];
  writableLength = 0;
  stuck = false;
  destroyed = false;
  write(data: Buffer | string): void {
    this.written.push(String(data));
    if (this.stuck) this.writableLength += data.length;
  }
  destroy(): void {
    this.destroyed = true;
    this.emit("close");
  }
  get kinds(): string[] {
    return this.written.map((message) => /^event: (\w+)\n/.exec(message)![1]!);
  }
}

describe("namenode/http/events", () => {
  let clock: FakeClock;
  let cluster: ReturnType<typeof fakeCluster>;
  let asked: number;
  let stream: EventStream;
  const listen = () => {
    const res = new FakeResponse();
    stream.add(res as unknown as ServerResponse);
    return res;
  };

  beforeEach(() => {
    clock = new FakeClock();
    cluster = fakeCluster(3);
    asked = 0;
    const status = (): Status => {
      asked++;
      return statusJson(cluster, clock.now());
    };
    stream = new EventStream(status, clock, silentLogger);
  });

  it("sends the status at once and then only what changed, at most once a beat", () => {
    const res = listen();
    expect(res.kinds).to.deep.equal(["status"]);
    expect(JSON.parse(res.written[0]!.split("\ndata: ")[1]!)).to.deep.equal(statusJson(cluster, clock.now()));
    clock.advance(3 * BEAT_MS);
    expect(res.kinds).to.deep.equal(["status"]);
    for (let i = 0; i < 100; i++) {
      cluster.files++;
      clock.advance(BEAT_MS / 100);
    }
    expect(res.kinds).to.deep.equal(["status", "status"]);
    expect(JSON.parse(res.written[1]!.split("\ndata: ")[1]!).files).to.be.closeTo(cluster.files, 1);
  });

  it("asks for the status once for all listeners, and not at all without any", () => {
    const all = Array.from({ length: 10 }, listen);
    asked = 0;
    clock.advance(BEAT_MS);
    expect(asked).to.equal(1);
    for (const res of all) res.emit("close");
    expect(stream.size).to.equal(0);
    expect(clock.ticking.size).to.equal(0);
    clock.advance(10 * BEAT_MS);
    expect(asked).to.equal(1);
    listen();
    clock.advance(BEAT_MS);
    expect(asked).to.equal(3);
  });

  it("says that it is there when nothing changes", () => {
    const res = listen();
    clock.advance(2 * HEARTBEAT_MS + BEAT_MS);
    expect(res.kinds).to.deep.equal(["status", "heartbeat", "heartbeat"]);
    expect(res.written[1]).to.match(/^event: heartbeat\ndata: \d+\n\n$/);
  });

  it("queues one status at most for a slow listener, then drops it; others are not held up", () => {
    const [slow, good] = [listen(), listen()];
    slow.stuck = true;
    for (let i = 0; i < SLOW_MS / BEAT_MS; i++) {
      cluster.files++;
      clock.advance(BEAT_MS);
    }
    expect(slow.kinds).to.deep.equal(["status", "status"]);
    expect(good.kinds.length).to.equal(1 + SLOW_MS / BEAT_MS);
    expect(slow.destroyed).to.equal(false);
    clock.advance(2 * BEAT_MS);
    expect(slow.destroyed).to.equal(true);
    expect(stream.size).to.equal(1);
  });

  it("lets a listener that caught up see the newest state", () => {
    const res = listen();
    res.stuck = true;
    for (let i = 0; i < 5; i++) {
      cluster.files++;
      clock.advance(BEAT_MS);
    }
    res.stuck = false;
    res.writableLength = 0;
    clock.advance(BEAT_MS);
    expect(res.kinds).to.deep.equal(["status", "status", "status"]);
    expect(JSON.parse(res.written[2]!.split("\ndata: ")[1]!).files).to.equal(cluster.files);
  });

  it("sends a large cluster's status less often", () => {
    cluster = fakeCluster(1000);
    const res = listen();
    const seconds = 30;
    for (let i = 0; i < seconds; i++) {
      cluster.files++;
      clock.advance(BEAT_MS);
    }
    const sent = res.written.reduce((n, message) => n + message.length, 0);
    expect(res.kinds.length).to.be.greaterThan(3);
    expect(sent).to.be.at.most(seconds * LISTENER_BYTES_PER_S + res.written[0]!.length);
  });

  it("takes no more listeners than its bound", () => {
    for (let i = 0; i < MAX_LISTENERS; i++) {
      expect(stream.full).to.equal(false);
      listen();
    }
    expect(stream.full).to.equal(true);
  });

  it("drops its listeners when there is no status, and serves new ones afterwards", () => {
    const res = listen();
    const good = cluster;
    cluster = null as unknown as typeof cluster;
    clock.advance(BEAT_MS);
    expect(res.destroyed).to.equal(true);
    cluster = good;
    expect(listen().kinds).to.deep.equal(["status"]);
  });
});

describe("namenode/http: /api/events", () => {
  const open = (url: string) =>
    new Promise<IncomingMessage>((resolve, reject) => get(`${url}/api/events`, resolve).on("error", reject));

  it("streams over HTTP, turns away the listener too many, and takes one when another has gone", async () => {
    const cluster = fakeCluster(1);
    const server = await serveFake({ status: () => cluster });
    const streams: IncomingMessage[] = [];
    try {
      for (let i = 0; i < MAX_LISTENERS; i++) streams.push(await open(server.url));
      const first = streams[0]!;
      expect(first.statusCode).to.equal(200);
      expect(first.headers).to.include({
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
      });
      let text = "";
      first.setEncoding("utf8").on("data", (s: string) => {
        text += s;
      });
      await until(() => text.includes("event: status\ndata: {"), { what: "the first status" });
      cluster.files = 4_242_424;
      await until(() => text.includes('"files":4242424'), { what: "the changed status" });

      const tooMany = await open(server.url);
      tooMany.resume();
      expect([tooMany.statusCode, tooMany.headers["retry-after"]]).to.deep.equal([503, "10"]);
      streams.pop()!.destroy();
      await until(
        async () => {
          const next = await open(server.url);
          if (next.statusCode === 200) streams.push(next);
          else next.resume();
          return next.statusCode === 200;
        },
        { what: "a free place" },
      );
    } finally {
      for (const res of streams) res.destroy();
      await server.close();
    }
  });
});
