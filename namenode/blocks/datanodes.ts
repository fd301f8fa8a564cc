import type { Clock } from "../../common/clock.js";
import { CairnError } from "../../common/errors.js";
import { DEFAULT_RACK } from "../../common/limits.js";
import { AdministerDatanodeEdit, Duty, RegisterDatanodeEdit } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import { DATANODES, DUTIES } from "../namespace/keys.js";
import type { KeyValue } from "../store/kv.js";
import type { Standing, Trust } from "./assess.js";
import { Datanode, type DatanodeState } from "./datanode.js";
import type { BlockSettings } from "./settings.js";

/** A datanode that missed this many heartbeats is suspect. */
const LATE_HEARTBEATS = 3;

/** Told what becomes of datanodes. */
export interface DatanodeListener {
  /** It connected: what was sent over an older connection may be lost. Before the change of state that comes of it. */
  connected(datanode: Datanode): void;
  /** Its state changed, and why. */
  changed(datanode: Datanode, from: DatanodeState, why: string): void;
  /** What an operator wants of it changed, or its rack did: its replicas are worth something else now. */
  revalued(datanode: Datanode): void;
  /** There are several racks now, and there was one before. */
  racksAppeared(): void;
}

/** Every datanode ever registered, and who of them is alive. */
export class Datanodes implements Trust {
  readonly #clock: Clock;
  readonly #settings: BlockSettings;
  readonly #listener: DatanodeListener;
  readonly #byId = new Map<number, Datanode>();
  readonly #byUuid = new Map<string, Datanode>();
  readonly #byLink = new WeakMap<Link, Datanode>();
  #started = 0;
  #lastSweep = 0;
  #settled = false;
  #racks = 0;

  /** Knows at once the datanodes that the store knows. They are suspect until they connect or are dead. */
  constructor(kv: KeyValue, clock: Clock, settings: BlockSettings, listener: DatanodeListener) {
    this.#clock = clock;
    this.#settings = settings;
    this.#listener = listener;
    for (const [, value] of kv.range(DATANODES)) this.#know(RegisterDatanodeEdit.decode(value));
    for (const [, value] of kv.range(DUTIES)) this.#assign(AdministerDatanodeEdit.decode(value));
    this.#racks = this.#countRacks();
  }

  /** Begins to wait for those that are known: from now on their silence counts. */
  begin(): void {
    this.#started = this.#clock.monotonic();
    this.#lastSweep = this.#started;
    for (const datanode of this.#byId.values()) datanode.lastContact = this.#started;
  }

  /** In the order of their ids. */
  all(): Datanode[] {
    return [...this.#byId.values()].sort((a, b) => a.id - b.id);
  }

  /** Those that may be sent work. */
  *live(): IterableIterator<Datanode> {
    for (const datanode of this.#byId.values()) if (datanode.commands !== undefined) yield datanode;
  }

  /** Those that may be given new blocks. */
  takingBlocks(): Datanode[] {
    return [...this.#byId.values()].filter((d) => d.takesBlocks);
  }

  get(id: number): Datanode | undefined {
    return this.#byId.get(id);
  }

  byUuid(uuid: string): Datanode | undefined {
    return this.#byUuid.get(uuid);
  }

  /** The datanode that registered over a link. ESTALE: none did, or it has another link now. */
  of(link: Link): Datanode {
    const datanode = this.#byLink.get(link);
    if (datanode?.link !== link)
      throw new CairnError("ESTALE", `a report of ${link.peer}, which is not registered on this connection`);
    return datanode;
  }

  isDead(id: number): boolean {
    return this.#byId.get(id)?.state === "dead";
  }

  standing(id: number): Standing {
    const datanode = this.#byId.get(id);
    const dead = datanode?.state === "dead";
    if (datanode?.duty === Duty.MAINTENANCE) return dead ? "absent" : "resting";
    if (dead) return "dead";
    return datanode?.duty === Duty.DECOMMISSION ? "leaving" : "serving";
  }

  isSure(id: number): boolean {
    const datanode = this.#byId.get(id);
    return (
      datanode?.commands !== undefined &&
      datanode.report.step === "done" &&
      datanode.doubted === 0 &&
      datanode.flapping.isSteady(this.#clock.monotonic())
    );
  }

  rackOf(id: number): string {
    return this.#byId.get(id)?.rack ?? DEFAULT_RACK;
  }

  get racks(): number {
    return this.#racks;
  }

  /** A RegisterDatanodeEdit was applied, now or in a replay. */
  applied(edit: RegisterDatanodeEdit): void {
    const before = this.#byId.get(edit.id)?.rack;
    const datanode = this.#know(edit);
    if (before !== undefined && before !== edit.rack) this.#listener.revalued(datanode);
    this.#recountRacks();
  }

  /** An AdministerDatanodeEdit was applied, now or in a replay. */
  administered(edit: AdministerDatanodeEdit): void {
    const datanode = this.#assign(edit);
    if (datanode === undefined) return;
    this.#listener.revalued(datanode);
    this.#recountRacks();
  }

  #know(edit: RegisterDatanodeEdit): Datanode {
    const known = this.#byId.get(edit.id);
    if (known !== undefined) {
      known.host = edit.host;
      known.port = edit.port;
      known.rack = edit.rack;
      return known;
    }
    const datanode = new Datanode(edit, this.#clock.monotonic(), this.#settings.deadAfterMs);
    this.#byId.set(datanode.id, datanode);
    this.#byUuid.set(datanode.uuid, datanode);
    return datanode;
  }

  #assign({ id, duty, untilMs }: AdministerDatanodeEdit): Datanode | undefined {
    const datanode = this.#byId.get(id);
    if (datanode === undefined) return undefined;
    datanode.duty = duty;
    datanode.untilMs = untilMs;
    return datanode;
  }

  #countRacks(): number {
    const racks = new Set<string>();
    for (const d of this.#byId.values()) if (this.standing(d.id) === "serving") racks.add(d.rack);
    return racks.size;
  }

  #recountRacks(): void {
    const before = this.#racks;
    this.#racks = this.#countRacks();
    if (before === 1 && this.#racks > 1) this.#listener.racksAppeared();
  }

  /** A registered datanode connected. From now on it is live, and its replicas wait for their confirmation. */
  connected(datanode: Datanode, link: Link): void {
    const before = datanode.link;
    datanode.link = link;
    datanode.report = { step: "none" };
    this.#byLink.set(link, datanode);
    if (before !== link) before?.terminate(`${datanode.name} connected anew`);
    this.#listener.connected(datanode);
    this.heard(datanode, "it connected");
    void link.closed.then((reason) => {
      if (datanode.link !== link) return;
      datanode.link = undefined;
      if (datanode.state === "live") this.#change(datanode, "suspect", reason.message);
    });
  }

  /** Something came from a datanode over its link. */
  heard(datanode: Datanode, why: string): void {
    datanode.lastContact = this.#clock.monotonic();
    if (datanode.state !== "live") this.#change(datanode, "live", why);
  }

  /** Looks who has been silent for too long. Called often. */
  sweep(intervalMs: number): void {
    const now = this.#clock.monotonic();
    // When this process itself stood still, the heartbeats of that time wait unread: nobody was silent.
    const stall = now - this.#lastSweep - intervalMs;
    this.#lastSweep = now;
    const { heartbeatMs, deadAfterMs } = this.#settings;
    for (const datanode of this.#byId.values()) {
      if (stall > intervalMs) datanode.lastContact = Math.min(now, datanode.lastContact + stall);
      const silence = now - datanode.lastContact;
      if (datanode.state !== "dead" && silence >= deadAfterMs) {
        datanode.link?.terminate("its heartbeats stopped");
        this.#change(datanode, "dead", `nothing heard for ${Math.round(silence / 1000)} s`);
      } else if (datanode.state === "live" && silence >= heartbeatMs * LATE_HEARTBEATS) {
        this.#change(datanode, "suspect", `no heartbeat for ${Math.round(silence / 1000)} s`);
      }
    }
  }

  /**
   * Whether what is known of replicas is complete enough to decide on repairs: since the start, every datanode has
   * reported or is dead. One that neither reports nor dies is waited for a bounded time only.
   */
  get settled(): boolean {
    this.#settled ||=
      this.#clock.monotonic() - this.#started >= 3 * this.#settings.deadAfterMs ||
      [...this.#byId.values()].every((d) => d.state === "dead" || d.report.step === "done");
    return this.#settled;
  }

  #change(datanode: Datanode, to: DatanodeState, why: string): void {
    const from = datanode.state;
    datanode.state = to;
    // Whoever is in maintenance is meant to go and to come back.
    if (to === "dead" && datanode.duty !== Duty.MAINTENANCE) datanode.flapping.died(this.#clock.monotonic());
    else if (from === "dead") datanode.flapping.returned(this.#clock.monotonic());
    this.#listener.changed(datanode, from, why);
    if (to === "dead" || from === "dead") this.#recountRacks();
  }
}
