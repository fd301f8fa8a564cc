import {
  type DatanodeAddress,
  type DatanodeStatusInit,
  Duty,
  type RegisterDatanodeEdit,
  type VolumeStatus,
} from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import { Flapping } from "./flapping.js";
import { Promises } from "./promises.js";
import { Serial } from "./serial.js";

/**
 * live: connected, heartbeats on time. suspect: disconnected or late; its replicas count, but nothing new is sent there.
 * dead: silent for long; its replicas do not count.
 */
export type DatanodeState = "live" | "suspect" | "dead";

/** How far a datanode has come with its full report since it connected. */
export type ReportState =
  /** Nothing yet. */
  | { step: "none" }
  /**
   * Under way: these regions and ranges differed and are awaited. `listed`: all regions have been compared. `blocks`: how
   * many replicas the regions have. `heard`: when the last part of it came, monotonic ms.
   */
  | { step: "open"; regions: Set<number>; ranges: Set<number>; listed: boolean; blocks: number; heard: number }
  /** The view of its replicas is confirmed. `at`: monotonic ms. */
  | { step: "done"; at: number };

/** One datanode as the namenode knows it. Times are monotonic ms unless they say otherwise. */
export class Datanode {
  readonly id: number;
  readonly uuid: string;
  host: string;
  port: number;
  rack: string;
  version = "";
  state: DatanodeState = "suspect";
  duty: Duty = Duty.IN_SERVICE;
  /** Of maintenance: when it ends, ms since 1970; 0: when an operator says so. */
  untilMs = 0;
  link: Link | undefined;
  report: ReportState = { step: "none" };
  /** When something was last heard of it; at first, when the namenode began to wait for it. */
  lastContact: number;
  /** Whether it was ever connected since the namenode started. */
  joined = false;
  /** Milliseconds since 1970; 0: none since the namenode started. */
  lastHeartbeatMs = 0;
  volumes: VolumeStatus[] = [];
  capacity = 0;
  used = 0;
  free = 0;
  /** Open write streams, replicas it has: as of the last heartbeat. */
  writers = 0;
  blocks = 0;
  /** Replicas that a loss of power may have torn, as it last said. */
  doubted = 0;
  readonly promises = new Promises();
  /** Its reports are worked off in the order in which they came. */
  readonly reports = new Serial();

  readonly flapping: Flapping;

  constructor(edit: RegisterDatanodeEdit, now: number, deadAfterMs: number) {
    this.flapping = new Flapping(deadAfterMs);
    this.id = edit.id;
    this.uuid = edit.uuid;
    this.host = edit.host;
    this.port = edit.port;
    this.rack = edit.rack;
    this.lastContact = now;
  }

  /** For messages: "datanode 3 (host:port)". */
  get name(): string {
    return `datanode ${this.id} (${this.host.includes(":") ? `[${this.host}]` : this.host}:${this.port})`;
  }

  get address(): DatanodeAddress {
    return { id: this.id, host: this.host, port: this.port, rack: this.rack };
  }

  /** Its link, when it is live and commands may be sent. */
  get commands(): Link | undefined {
    return this.state === "live" && this.link?.isOpen ? this.link : undefined;
  }

  /** Whether it may be given new blocks: live, and in service. */
  get takesBlocks(): boolean {
    return this.duty === Duty.IN_SERVICE && this.commands !== undefined;
  }

  /** Takes over what it says of its volumes. */
  setVolumes(volumes: VolumeStatus[]): void {
    this.volumes = volumes;
    const working = volumes.filter((v) => !v.failed);
    this.capacity = working.reduce((sum, v) => sum + v.capacity, 0);
    this.used = working.reduce((sum, v) => sum + v.used, 0);
    this.free = working.reduce((sum, v) => sum + v.free, 0);
  }

  /** Bytes that another block may take here, less what was promised to writers that it has not seen yet. */
  room(now: number): number {
    return this.free - this.promises.unseen(this.writers, now);
  }

  /** Its entry on the status page. */
  status(): DatanodeStatusInit {
    const { address, uuid, state, capacity, used, free, blocks, lastHeartbeatMs, volumes, version, untilMs } = this;
    return { address, uuid, state, capacity, used, free, blocks, lastHeartbeatMs, volumes, version, untilMs };
  }
}
