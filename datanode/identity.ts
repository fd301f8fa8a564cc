import { CairnError } from "../common/errors.js";

/** Who this datanode is, once the namenode has said so. */
export class Identity {
  #id = 0;
  #cluster = "";

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
  }

  /** EPERM: the caller is of another cluster. ESTALE: this is not the datanode that the caller takes it for. */
  demand(cluster: string, id: number): void {
    if (this.#id === 0) throw new CairnError("ESTALE", "this datanode has not registered with its namenode yet");
    if (cluster !== this.#cluster) {
      throw new CairnError("EPERM", `this datanode belongs to the cluster ${this.#cluster}, not to ${cluster}`);
    }
    if (id !== this.#id) throw new CairnError("ESTALE", `this is datanode ${this.#id}, not ${id}`);
  }
}
