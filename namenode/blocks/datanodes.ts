import type { Clock } from "../../common/clock.js";
import { CairnError } from "../../common/errors.js";
import { RegisterDatanodeEdit } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import { DATANODES } from "../namespace/keys.js";
import type { KeyValue } from "../store/kv.js";
import type { Trust } from "./assess.js";
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

  /** Knows at once the datanodes that the store knows. They are suspect until they connect or are dead. */
  constructor(kv: KeyValue, clock: Clock, settings: BlockSettings, listener: DatanodeListener) {
    this.#clock = clock;
    this.#settings = settings;
    this.#listener = listener;
    for (const [, value] of kv.range(DATANODES)) this.applied(RegisterDatanodeEdit.decode(value));
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

  isSure(id: number): boolean {
    const datanode = this.#byId.get(id);
    return datanode?.commands !== undefined && datanode.report.step === "done";
  }

  /** A RegisterDatanodeEdit was applied, now or in a replay. */
  applied(edit: RegisterDatanodeEdit): void {
    const known = this.#byId.get(edit.id);
    if (known !== undefined) {
      known.host = edit.host;
      known.port = edit.port;
      known.rack = edit.rack;
      return;
    }
    const datanode = new Datanode(edit, this.#clock.monotonic());
    this.#byId.set(datanode.id, datanode);
    this.#byUuid.set(datanode.uuid, datanode);
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
    this.#listener.changed(datanode, from, why);
  }
}
