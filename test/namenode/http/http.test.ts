import { request } from "node:http";
import { connect } from "node:net";
import { expect } from "chai";
import { Counter, Registry } from "prom-client";
import type { Status } from "../../../namenode/http/status.js";
import { type FakeStatus, fakeCluster, serveFake } from "./fake.js";

/** A request whose path is sent as it is (fetch would tidy it up). */
function raw(port: number, path: string, method = "GET", headers: Record<string, string> = {}) {
  return new Promise<{ code: number; headers: Record<string, unknown>; body: string }>((resolve, reject) => {
    request({ port, path, method, headers }, (res) => {
      let body = "";
      res.setEncoding("utf8").on("data", (s: string) => {
        body += s;
      });
      res.on("end", () => resolve({ code: res.statusCode!, headers: res.headers, body })).on("error", reject);
    })
      .on("error", reject)
      .end();
  });
}

describe("namenode/http", () => {
  let status: FakeStatus;
  let server: Awaited<ReturnType<typeof serveFake>>;
  let broken: Error | undefined;

  beforeEach(async () => {
    status = fakeCluster(3);
    broken = undefined;
    server = await serveFake({
      status: () => {
        if (broken) throw broken;
        return status;
      },
    });
  });
  afterEach(() => server.close());

  const ROUTES: [path: string, type: string, contains: string][] = [
    ["/", "text/html; charset=utf-8", "<title>CairnFS</title>"],
    ["/style.css", "text/css; charset=utf-8", "prefers-color-scheme: dark"],
    ["/lists.css", "text/css; charset=utf-8", "table"],
    ["/app.js", "text/javascript; charset=utf-8", "listen("],
    ["/live.js", "text/javascript; charset=utf-8", "EventSource"],
    ["/datanodes.js", "text/javascript; charset=utf-8", "showDatanodes"],
    ["/format.js", "text/javascript; charset=utf-8", "bytes"],
    ["/icon.svg", "image/svg+xml", "<svg"],
    ["/api/status", "application/json; charset=utf-8", '"capacity"'],
    ["/metrics", "text/plain; version=0.0.4; charset=utf-8", "cairn_capacity_bytes"],
    ["/healthz", "text/plain; charset=utf-8", "ok"],
  ];
  for (const [path, type, contains] of ROUTES) {
    it(`answers ${path}, and HEAD without a body`, async () => {
      const got = await raw(server.port, path);
      expect(got.code).to.equal(200);
      expect(got.headers["content-type"]).to.equal(type);
      expect(got.body).to.contain(contains);
      expect(Number(got.headers["content-length"])).to.equal(Buffer.byteLength(got.body));
      const head = await raw(server.port, path, "HEAD");
      expect(head.code).to.equal(200);
      expect(head.body).to.equal("");
      expect(head.headers["content-type"]).to.equal(type);
    });
  }

  it("lets the page use nothing from outside and nothing inline, on every answer", async () => {
    for (const path of [...ROUTES.map(([p]) => p), "/nothing"]) {
      const { headers } = await raw(server.port, path);
      const policy = String(headers["content-security-policy"]);
      expect(policy).to.contain("default-src 'none'").and.contain("frame-ancestors 'none'");
      expect(policy).not.to.match(/unsafe|https?:|\*/);
      expect(headers["x-content-type-options"]).to.equal("nosniff");
      expect(headers["referrer-policy"]).to.equal("no-referrer");
    }
    const { body } = await raw(server.port, "/");
    expect(body).not.to.match(/<style|style=|<script>|\son\w+=|(src|href)="(https?:)?\/\//);
  });

  it("lets assets be kept and asked about, and keeps answers that change out of caches", async () => {
    for (const path of ["/", "/style.css", "/app.js"]) {
      const { headers } = await raw(server.port, path);
      expect(headers["cache-control"]).to.equal("no-cache");
      const etag = String(headers["etag"]);
      for (const known of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
        const again = await raw(server.port, path, "GET", { "if-none-match": known });
        expect([again.code, again.body, again.headers["etag"]]).to.deep.equal([304, "", etag]);
      }
      expect((await raw(server.port, path, "GET", { "if-none-match": '"other"' })).code).to.equal(200);
    }
    for (const path of ["/api/status", "/metrics", "/healthz"]) {
      expect((await raw(server.port, path)).headers["cache-control"]).to.equal("no-store");
    }
  });

  it("refuses methods that would change something", async () => {
    for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
      for (const path of ["/", "/api/status", "/api/events", "/metrics"]) {
        const { code, headers } = await raw(server.port, path, method);
        expect([code, headers["allow"]]).to.deep.equal([405, "GET, HEAD"]);
      }
    }
  });

  it("knows no path but those of its table", async () => {
    const outside = [
      "/../http.js",
      "/..%2fhttp.js",
      "/assets/app.js",
      "/./app.js",
      "//app.js",
      "/app.js/",
      "/app.js%00",
      "/etc/passwd",
      "/../../../../../../../etc/passwd",
      "/__proto__",
      "/constructor",
      `/${"a".repeat(8000)}`,
    ];
    for (const path of outside) {
      const { code, body } = await raw(server.port, path);
      expect([code, body], path).to.deep.equal([404, "no such page\n"]);
    }
    expect((await raw(server.port, "/healthz?verbose=1")).code).to.equal(200);
  });

  it("gives the status as JSON of a documented shape, sorted, with plain numbers", async () => {
    status.datanodes.reverse();
    status.events = [{ timeMs: 1_700_000_000_000, severity: "warning", message: "datanode 2 is suspect" }];
    const before = Date.now();
    const json = JSON.parse((await raw(server.port, "/api/status")).body) as Status;
    expect(json.nowMs).to.be.within(before, Date.now());
    const { datanodes, events, health, nowMs: _, ...totals } = json;
    const { datanodes: __, events: ___, ...wanted } = status;
    expect(totals).to.deep.equal(wanted);
    expect(health).to.deep.equal({
      state: "healthy",
      summary: "Healthy",
      details: ["Every block has all the copies it should have"],
    });
    expect(datanodes.map((d) => d.id)).to.deep.equal([1, 2, 3]);
    const { address, volumes, ...own } = status.datanodes.find((d) => d.address.id === 1)!;
    expect(datanodes[0]).to.deep.equal({
      id: 1,
      address: "10.20.0.11:9864",
      host: "10.20.0.11",
      port: 9864,
      rack: address.rack,
      ...own,
      volumes: volumes!.map((v) => ({ failed: false, error: "", ...v })),
    });
    expect(events).to.deep.equal(status.events);
  });

  it("fills in what a status does not say", async () => {
    status = { datanodes: [{ address: { host: "fd00::1", port: 9864 } }], events: [{}] } as unknown as FakeStatus;
    const json = JSON.parse((await raw(server.port, "/api/status")).body) as Status;
    expect(json.capacity).to.equal(0);
    expect(json.datanodes[0]).to.include({ id: 0, address: "[fd00::1]:9864", state: "dead", lastHeartbeatMs: 0 });
    expect(json.events[0]).to.deep.equal({ timeMs: 0, severity: "info", message: "" });
  });

  it("exposes the cluster to Prometheus as of the moment of asking", async () => {
    status.missing = 3;
    status.datanodes[1]!.state = "dead";
    status.datanodes[2]!.lastHeartbeatMs = 0;
    const { body } = await raw(server.port, "/metrics");
    const lines = body.split("\n");
    expect(lines).to.include("cairn_blocks_missing 3");
    expect(lines).to.include(`cairn_edit_index ${status.lastIndex}`);
    expect(lines).to.include("cairn_edits_unsynced 6");
    expect(lines).to.include("cairn_sessions 14");
    expect(lines).to.include('cairn_datanodes{state="live"} 2').and.include('cairn_datanodes{state="dead"} 1');
    expect(lines).to.include('cairn_datanode_up{datanode="2",address="10.20.0.12:9864",rack="/rack3"} 0');
    const ages = lines.filter((line) => line.startsWith("cairn_datanode_heartbeat_age_seconds{"));
    expect(ages).to.have.length(2);
    expect(body).to.match(/^process_resident_memory_bytes \d+/m);

    status.datanodes.pop();
    const after = (await raw(server.port, "/metrics")).body;
    expect(after).not.to.contain('datanode="3"');
  });

  it("adds its metrics to a registry it is given", async () => {
    const metrics = new Registry();
    new Counter({ name: "cairn_test_calls_total", help: "calls", registers: [metrics] }).inc(7);
    const other = await serveFake({ status: () => status, metrics });
    try {
      const { body } = await raw(other.port, "/metrics");
      expect(body)
        .to.match(/^cairn_test_calls_total 7$/m)
        .and.match(/^cairn_files \d+$/m);
    } finally {
      await other.close();
    }
  });

  it("says so when there is no status, and goes on", async () => {
    broken = new Error("the store is closed");
    for (const path of ["/api/status", "/metrics"]) {
      const { code, body } = await raw(server.port, path);
      expect([code, body]).to.deep.equal([500, "the namenode could not answer: see its log\n"]);
    }
    broken = undefined;
    expect((await raw(server.port, "/api/status")).code).to.equal(200);
  });

  it("survives a client that leaves in the middle of a request", async () => {
    const socket = connect(server.port, "127.0.0.1", () => {
      socket.write("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
      socket.destroy();
    });
    await new Promise((resolve) => socket.once("close", resolve));
    expect((await raw(server.port, "/healthz")).code).to.equal(200);
  });
});
