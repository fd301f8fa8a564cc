import type { Clock, Timer } from "../common/clock.js";
import { CairnError } from "../common/errors.js";

/** How long a request may wait for the registration to be through: the namenode may name a datanode before it knows. */
const REGISTRATION_MS = 2_000;

/** Who this datanode is, once the namenode has said so. */
export class Identity {
  readonly #clock: Clock;
  readonly #assigned: Promise<void>;
  #onAssigned!: () => void;
  #id = 0;
  #cluster = "";

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#assigned = new Promise((resolve) => {
      this.#onAssigned = resolve;
    });
  }

  /** The number given by the namenode; 0: not registered yet. */
  get id(): number {
    return this.#id;
  }

  /** The cluster's id. */
  get cluster(): string {
    return this.#cluster;
  }

  /** The namenode has said who this is. */
  assign(id: number, cluster: string): void {
    this.#id = id;
    this.#cluster = cluster;
    this.#onAssigned();
  }

  /** EPERM: the caller is of another cluster. ESTALE: this is not the datanode that the caller takes it for. */
  async demand(cluster: string, id: number): Promise<void> {
    if (this.#id === 0) await this.#registration();
    if (this.#id === 0) throw new CairnError("ESTALE", "this datanode has not registered with its namenode yet");
    if (cluster !== this.#cluster) {
      throw new CairnError("EPERM", `this datanode belongs to the cluster ${this.#cluster}, not to ${cluster}`);
    }
    if (id !== this.#id) throw new CairnError("ESTALE", `this is datanode ${this.#id}, not ${id}`);
  }

  async #registration(): Promise<void> {
    let timer: Timer | undefined;
    const late = new Promise<void>((resolve) => {
      timer = this.#clock.after(REGISTRATION_MS, resolve);
    });
    await Promise.race([this.#assigned, late]);
    timer?.clear();
  }
}
