import type { IncomingMessage, ServerResponse } from "node:http";
import { Counter, Gauge, Registry } from "prom-client";
import { messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import type { VolumeStatus } from "../proto/gen/types.js";
import type { ScrubFigures } from "./scrubber.js";

/** What a datanode shows of itself. */
export interface DatanodeFigures {
  datanode: number;
  cluster: string;
  blocks: number;
  writers: number;
  transfers: number;
  bytesWritten: number;
  bytesRead: number;
  /** Memory given out to writers and readers, bytes. */
  windows: number;
  replies: number;
  volumes: VolumeStatus[];
  /** Of the volumes that are scrubbed. */
  scrubs: ScrubFigures[];
}

/** Answers HTTP: /metrics for Prometheus, and a line for people at /. */
export function createHttp(
  figures: () => DatanodeFigures,
  log: Logger,
): (req: IncomingMessage, res: ServerResponse) => void {
  const registry = makeMetrics(figures);
  return (req, res) => {
    const path = (req.url ?? "/").split("?")[0];
    if (req.method !== "GET" && req.method !== "HEAD") return send(res, 405, "method not allowed\n");
    if (path === "/") {
      const { datanode, cluster, blocks } = figures();
      const who = datanode === 0 ? "not registered yet" : `datanode ${datanode} of cluster ${cluster}`;
      return send(res, 200, `CairnFS: ${who}, ${blocks} blocks\n`);
    }
    if (path !== "/metrics") return send(res, 404, "not found\n");
    registry.metrics().then(
      (text) => send(res, 200, text, registry.contentType),
      (err) => {
        log.error({ err: messageOf(err) }, "could not collect metrics");
        send(res, 500, "metrics are not available\n");
      },
    );
  };
}

function send(res: ServerResponse, status: number, text: string, type = "text/plain; charset=utf-8"): void {
  res.writeHead(status, { "content-type": type, "x-content-type-options": "nosniff" });
  res.end(text);
}

function makeMetrics(figures: () => DatanodeFigures): Registry {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, value: (f: DatanodeFigures) => number) =>
    new Gauge({
      name: `cairn_datanode_${name}`,
      help,
      registers,
      collect() {
        this.set(value(figures()));
      },
    });
  const counter = (name: string, help: string, value: (f: DatanodeFigures) => number) =>
    new Counter({
      name: `cairn_datanode_${name}`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(value(figures()));
      },
    });
  const perVolume = (name: string, help: string, value: (v: VolumeStatus) => number) =>
    new Gauge({
      name: `cairn_datanode_volume_${name}`,
      help,
      labelNames: ["path"],
      registers,
      collect() {
        for (const volume of figures().volumes) this.set({ path: volume.path }, value(volume));
      },
    });
  const perScrub = (name: string, help: string, value: (s: ScrubFigures) => number) =>
    new Gauge({
      name: `cairn_datanode_scrub_${name}`,
      help,
      labelNames: ["path"],
      registers,
      collect() {
        for (const scrub of figures().scrubs) this.set({ path: scrub.path }, value(scrub));
      },
    });
  gauge("blocks", "finalized replicas", (f) => f.blocks);
  gauge("writers", "open write streams", (f) => f.writers);
  gauge("transfers", "replicas being sent to other datanodes", (f) => f.transfers);
  gauge("write_window_bytes", "memory given out to writers", (f) => f.windows);
  gauge("read_memory_bytes", "memory of replies to readers", (f) => f.replies);
  counter("bytes_written_total", "stored bytes of packets taken", (f) => f.bytesWritten);
  counter("bytes_read_total", "stored bytes sent to readers", (f) => f.bytesRead);
  gauge("resident_memory_bytes", "resident memory of the process", () => process.memoryUsage.rss());
  perVolume("used_bytes", "bytes of blocks on the volume", (v) => v.used);
  perVolume("free_bytes", "bytes that may still be written", (v) => v.free);
  perVolume("failed", "1 when the volume is not used any more", (v) => Number(v.failed));
  perScrub("replicas", "replicas read again and verified since the start", (s) => s.replicas);
  perScrub("bytes", "bytes of them", (s) => s.bytes);
  perScrub("bad_replicas", "replicas found corrupt or missing since the start", (s) => s.bad);
  perScrub("passes", "passes over the whole volume since the start", (s) => s.passes);
  perScrub("progress", "share of the pass that is done, 0 to 1", (s) => s.progress);
  return registry;
}
