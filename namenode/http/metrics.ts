import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { Status } from "./status.js";

/** Figures of the whole cluster: name, help, value. */
const CLUSTER: readonly (readonly [name: string, help: string, value: (s: Status) => number])[] = [
  ["cairn_start_time_seconds", "When the namenode started, seconds since 1970", (s) => s.startedMs / 1000],
  ["cairn_capacity_bytes", "Bytes on all live datanodes", (s) => s.capacity],
  ["cairn_used_bytes", "Bytes used by blocks, all replicas", (s) => s.used],
  ["cairn_free_bytes", "Bytes that can still be written", (s) => s.free],
  ["cairn_files", "Files", (s) => s.files],
  ["cairn_directories", "Directories", (s) => s.directories],
  ["cairn_blocks", "Blocks in use", (s) => s.blocks],
  ["cairn_blocks_under_replicated", "Blocks with fewer good replicas than wanted", (s) => s.underReplicated],
  ["cairn_blocks_last_copy", "Of these, those with a single good replica", (s) => s.lastCopy],
  ["cairn_blocks_evacuating", "Blocks with too few replicas on datanodes that stay in service", (s) => s.evacuating],
  ["cairn_blocks_misplaced", "Blocks with all replicas on one rack, though there are others", (s) => s.misplaced],
  ["cairn_blocks_missing", "Blocks in use without any live replica", (s) => s.missing],
  ["cairn_replicas_corrupt", "Corrupt replicas known", (s) => s.corrupt],
  ["cairn_replications_pending", "Replicas being made, or waiting to be", (s) => s.pendingReplications],
  ["cairn_deletions_pending", "Replicas that datanodes are still to delete", (s) => s.pendingDeletions],
  ["cairn_edit_index", "Index of the newest edit: its rate is edits per second", (s) => s.lastIndex],
  ["cairn_edits_unsynced", "Edits not yet on the namenode's disk", (s) => s.lastIndex - s.syncedIndex],
  ["cairn_sessions", "Clients with an open session", (s) => s.sessions],
];
const STATES = ["live", "suspect", "dead"];

/** What `/metrics` serves: the process's own figures and the cluster's, in the text format of Prometheus. */
export class ClusterMetrics {
  readonly #registry: Registry;
  readonly #cluster: { gauge: Gauge; value: (s: Status) => number }[];
  readonly #listeners: Gauge;
  readonly #byState: Gauge<"state">;
  readonly #up: Gauge<"datanode" | "address" | "rack">;
  readonly #silence: Gauge<"datanode" | "address" | "rack">;
  readonly #inService: Gauge<"datanode" | "address" | "rack">;
  readonly #needed: Gauge<"datanode" | "address" | "rack">;
  readonly #transfers: Gauge<"datanode" | "address" | "rack">;

  /** @param registry may hold further metrics of the process; the process defaults are added unless it has them */
  constructor(registry: Registry = new Registry()) {
    this.#registry = registry;
    const registers = [registry];
    if (registry.getSingleMetric("process_start_time_seconds") === undefined) {
      collectDefaultMetrics({ register: registry });
    }
    this.#cluster = CLUSTER.map(([name, help, value]) => ({ gauge: new Gauge({ name, help, registers }), value }));
    this.#listeners = new Gauge({ name: "cairn_event_listeners", help: "Open streams of /api/events", registers });
    this.#byState = new Gauge({
      name: "cairn_datanodes",
      help: "Datanodes by state",
      registers,
      labelNames: ["state"],
    });
    const labelNames = ["datanode", "address", "rack"] as const;
    this.#up = new Gauge({ name: "cairn_datanode_up", help: "1: live, 0: suspect or dead", registers, labelNames });
    const perDatanode = (name: string, help: string) => new Gauge({ name, help, registers, labelNames });
    this.#inService = perDatanode(
      "cairn_datanode_in_service",
      "0: decommissioned, in maintenance, or on the way there",
    );
    this.#needed = perDatanode("cairn_datanode_needed_blocks", "Not in service: blocks to copy before it may go");
    this.#transfers = perDatanode("cairn_datanode_transfers", "Replicas sent or received for repairs and the like");
    this.#silence = new Gauge({
      name: "cairn_datanode_heartbeat_age_seconds",
      help: "Since the last heartbeat; absent before the first one",
      registers,
      labelNames,
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The exposition of a moment. */
  expose(status: Status, listeners: number): Promise<string> {
    for (const { gauge, value } of this.#cluster) gauge.set(value(status));
    this.#listeners.set(listeners);
    for (const state of STATES) this.#byState.set({ state }, status.datanodes.filter((d) => d.state === state).length);
    for (const gauge of [this.#inService, this.#needed, this.#transfers]) gauge.reset();
    this.#up.reset();
    this.#silence.reset();
    for (const { id, address, rack, state, lastHeartbeatMs, service, needed, transfers } of status.datanodes) {
      const labels = { datanode: id, address, rack };
      this.#inService.set(labels, service === "in service" ? 1 : 0);
      if (service !== "in service") this.#needed.set(labels, needed);
      this.#transfers.set(labels, transfers);
      this.#up.set(labels, state === "live" ? 1 : 0);
      if (lastHeartbeatMs > 0) this.#silence.set(labels, Math.max(0, status.nowMs - lastHeartbeatMs) / 1000);
    }
    return this.#registry.metrics();
  }
}
