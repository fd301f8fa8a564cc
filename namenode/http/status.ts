import type { DatanodeStatusInit, EventInit, StatusReplyInit, VolumeStatusInit } from "../../proto/gen/types.js";
import { type Health, healthOf } from "./health.js";

/**
 * The cluster as `/api/status` gives it. A stable contract: fields are added, never renamed or given another meaning.
 * Sizes are bytes, times (`…Ms`) are milliseconds since 1970.
 */
export interface Status {
  /** The cluster's id, a UUID. */
  cluster: string;
  /** Of the namenode's software. */
  version: string;
  startedMs: number;
  /** The namenode's clock when this was made: ages are counted from here, whatever the reader's own clock says. */
  nowMs: number;
  health: Health;
  /** Bytes on all live datanodes. */
  capacity: number;
  /** Bytes used by blocks, all replicas. */
  used: number;
  /** Bytes that can still be written; capacity - used - free is taken by other data on the same disks. */
  free: number;
  files: number;
  directories: number;
  blocks: number;
  /** Blocks with fewer good replicas than wanted, but at least one. */
  underReplicated: number;
  /** Of these, those with a single good replica. */
  lastCopy: number;
  /** Blocks with enough replicas, too few of them on datanodes that stay in service. */
  evacuating: number;
  /** Blocks with all replicas on one rack, though there are others. */
  misplaced: number;
  /** Blocks in use without any live replica. */
  missing: number;
  /** Corrupt replicas known. */
  corrupt: number;
  /** Replicas being made, or waiting to be. */
  pendingReplications: number;
  /** Replicas that datanodes are still to delete. */
  pendingDeletions: number;
  /** Index of the newest edit, and of the newest one that is on the namenode's disk. */
  lastIndex: number;
  syncedIndex: number;
  /** Clients (mounts, commands) with an open session. */
  sessions: number;
  /** Every datanode known, in the order of their ids. */
  datanodes: DatanodeJson[];
  /** Newest first. */
  events: EventJson[];
}

/** A datanode in Status. */
export interface DatanodeJson {
  id: number;
  /** host:port; an IPv6 host in brackets */
  address: string;
  host: string;
  port: number;
  rack: string;
  uuid: string;
  version: string;
  /** "live", "suspect" (silent or disconnected for a moment) or "dead" (its replicas no longer count) */
  state: string;
  /** "in service", "decommissioning", "decommissioned", "entering maintenance" or "in maintenance" */
  service: string;
  /** Of those not in service: blocks to copy before it may be switched off, as last counted. */
  needed: number;
  /** When its maintenance ends; 0: when an operator says so. */
  untilMs: number;
  /** Replicas it is sending or receiving for repairs and the like. */
  transfers: number;
  /** 0: none since the namenode started */
  lastHeartbeatMs: number;
  blocks: number;
  capacity: number;
  used: number;
  free: number;
  volumes: VolumeJson[];
}

/** A volume of a datanode in Status. */
export interface VolumeJson {
  path: string;
  capacity: number;
  used: number;
  free: number;
  failed: boolean;
  /** Why it failed; empty otherwise. */
  error: string;
}

/** Something that happened, in Status. */
export interface EventJson {
  timeMs: number;
  /** "info", "warning" or "error" */
  severity: string;
  message: string;
}

/** The JSON of a status reply. */
export function statusJson(reply: StatusReplyInit, nowMs: number): Status {
  const datanodes = (reply.datanodes ?? []).map(datanodeJson).sort((a, b) => a.id - b.id);
  const counts = {
    blocks: reply.blocks ?? 0,
    underReplicated: reply.underReplicated ?? 0,
    lastCopy: reply.lastCopy ?? 0,
    evacuating: reply.evacuating ?? 0,
    misplaced: reply.misplaced ?? 0,
    missing: reply.missing ?? 0,
    corrupt: reply.corrupt ?? 0,
    pendingReplications: reply.pendingReplications ?? 0,
    pendingDeletions: reply.pendingDeletions ?? 0,
  };
  return {
    cluster: reply.cluster ?? "",
    version: reply.version ?? "",
    startedMs: reply.startedMs ?? 0,
    nowMs,
    health: healthOf({ ...counts, datanodes }),
    capacity: reply.capacity ?? 0,
    used: reply.used ?? 0,
    free: reply.free ?? 0,
    files: reply.files ?? 0,
    directories: reply.directories ?? 0,
    ...counts,
    lastIndex: reply.lastIndex ?? 0,
    syncedIndex: reply.syncedIndex ?? 0,
    sessions: reply.sessions ?? 0,
    datanodes,
    events: (reply.events ?? []).map(eventJson),
  };
}

function datanodeJson(d: DatanodeStatusInit): DatanodeJson {
  const host = d.address?.host ?? "";
  const port = d.address?.port ?? 0;
  return {
    id: d.address?.id ?? 0,
    address: `${host.includes(":") ? `[${host}]` : host}:${port}`,
    host,
    port,
    rack: d.address?.rack ?? "",
    uuid: d.uuid ?? "",
    version: d.version ?? "",
    state: d.state ?? "dead",
    service: d.service || "in service",
    needed: d.needed ?? 0,
    untilMs: d.untilMs ?? 0,
    transfers: d.transfers ?? 0,
    lastHeartbeatMs: d.lastHeartbeatMs ?? 0,
    blocks: d.blocks ?? 0,
    capacity: d.capacity ?? 0,
    used: d.used ?? 0,
    free: d.free ?? 0,
    volumes: (d.volumes ?? []).map(volumeJson),
  };
}

function volumeJson(v: VolumeStatusInit): VolumeJson {
  return {
    path: v.path ?? "",
    capacity: v.capacity ?? 0,
    used: v.used ?? 0,
    free: v.free ?? 0,
    failed: v.failed ?? false,
    error: v.error ?? "",
  };
}

function eventJson(e: EventInit): EventJson {
  return { timeMs: e.timeMs ?? 0, severity: e.severity ?? "info", message: e.message ?? "" };
}
