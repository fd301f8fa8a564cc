import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Registry } from "prom-client";
import { type Clock, RealClock } from "../../common/clock.js";
import { InvariantError } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import type { StatusReplyInit } from "../../proto/gen/types.js";
import { type Asset, loadAssets } from "./assets.js";
import { BEAT_MS, EventStream } from "./events.js";
import { ClusterMetrics } from "./metrics.js";
import { statusJson } from "./status.js";

export interface HttpOptions {
  /** The cluster as it is now. Synchronous: asked for every page view, and once a second while a page is open. */
  status(): StatusReplyInit;
  /** Where other parts of the process register their metrics; ours are added. Default: a registry of our own. */
  metrics?: Registry;
  log: Logger;
  clock?: Clock;
}

/** On every answer. The page uses nothing from outside and nothing inline, and may not be framed. */
const HEADERS: OutgoingHttpHeaders = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};
const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json; charset=utf-8";

/**
 * The namenode's answers to HTTP, for ListenOptions.onHttp: the status page at `/`, the same as JSON at `/api/status`
 * (Status in status.ts) and live at `/api/events` (events.ts), `/metrics` for Prometheus, `/healthz`. Only GET and HEAD.
 */
export function createHttp(options: HttpOptions): (req: IncomingMessage, res: ServerResponse) => void {
  const { log } = options;
  const clock = options.clock ?? new RealClock();
  const status = () => statusJson(options.status(), clock.now());
  const assets = loadAssets();
  const events = new EventStream(status, clock, log);
  const metrics = new ClusterMetrics(options.metrics);

  const routes = new Map<string, (req: IncomingMessage, res: ServerResponse) => void | Promise<void>>([
    ["/healthz", (_req, res) => send(res, 200, TEXT, "ok\n")],
    ["/api/status", (_req, res) => send(res, 200, JSON_TYPE, JSON.stringify(status()))],
    ["/api/events", (req, res) => stream(req, res, events)],
    ["/metrics", async (_req, res) => send(res, 200, metrics.contentType, await metrics.expose(status(), events.size))],
  ]);
  for (const [path, asset] of assets) routes.set(path, (req, res) => sendAsset(req, res, asset));

  return (req, res) => {
    const fail = (err: unknown): void => {
      if (err instanceof InvariantError) throw err;
      log.error({ err, url: req.url }, "an HTTP request failed");
      if (res.headersSent) res.destroy();
      else send(res, 500, TEXT, "the namenode could not answer: see its log\n");
    };
    const path = (req.url ?? "").split("?", 1)[0]!;
    const route = routes.get(path);
    if (route === undefined) return send(res, 404, TEXT, "no such page\n");
    if (req.method !== "GET" && req.method !== "HEAD") {
      // Closing spares us from reading what the request may carry.
      return send(res, 405, TEXT, "only GET and HEAD\n", { allow: "GET, HEAD", connection: "close" });
    }
    try {
      route(req, res)?.catch(fail);
    } catch (err) {
      fail(err);
    }
  };
}

/** Sends a whole answer; node leaves the body out for HEAD. */
function send(
  res: ServerResponse,
  code: number,
  type: string,
  body: string | Buffer,
  more: OutgoingHttpHeaders = {},
): void {
  res.writeHead(code, {
    ...HEADERS,
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
    ...more,
  });
  res.end(body);
}

/** Assets may be kept by the browser but are asked about each time: a new release shows at once. */
function sendAsset(req: IncomingMessage, res: ServerResponse, { type, body, etag }: Asset): void {
  const caching = { etag, "cache-control": "no-cache" };
  const known = (req.headers["if-none-match"] ?? "").split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  if (!known.includes(etag) && !known.includes("*")) return send(res, 200, type, body, caching);
  res.writeHead(304, { ...HEADERS, ...caching });
  res.end();
}

function stream(req: IncomingMessage, res: ServerResponse, events: EventStream): void {
  if (events.full) {
    return send(res, 503, TEXT, "too many listeners: try /api/status\n", { "retry-after": "10" });
  }
  res.writeHead(200, {
    ...HEADERS,
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no", // nginx in between would hold events back
  });
  if (req.method === "HEAD") return void res.end();
  res.write(`retry: ${BEAT_MS}\n\n`);
  events.add(res);
}
