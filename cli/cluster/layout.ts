import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** Where a cluster lives unless --root says otherwise. */
export const DEFAULT_ROOT = join(homedir(), ".cairn");

/** A daemon of a cluster on this machine: "namenode", "datanode-1", …, "mount". The name of its pid file and its log. */
export type DaemonName = string;

/** Where everything of a cluster is, below its root. */
export class Layout {
  readonly root: string;

  constructor(root: string) {
    this.root = resolve(root);
  }

  /** What the cluster was started with; its presence makes a folder a cluster's root. */
  get config(): string {
    return join(this.root, "cluster.json");
  }
  get run(): string {
    return join(this.root, "run");
  }
  get logs(): string {
    return join(this.root, "log");
  }
  /** Where the cluster is mounted unless --mount says otherwise. */
  get mount(): string {
    return join(this.root, "mnt");
  }
  /** Held by a `cairn cluster start` or `stop` under way. */
  get lock(): string {
    return join(this.run, "lock");
  }
  pidFile(name: DaemonName): string {
    return join(this.run, `${name}.pid`);
  }
  log(name: DaemonName): string {
    return join(this.logs, `${name}.log`);
  }
  /** A daemon's data. */
  data(name: DaemonName): string {
    return join(this.root, name);
  }
  /** Settings of the namenode, of every datanode, or of the mount, read by --config where the file exists. */
  settings(kind: string): string {
    return join(this.root, "conf", `${kind}.json`);
  }
}

/** The name of the datanode with a number, 1, 2, …. */
export function datanodeName(number: number): DaemonName {
  return `datanode-${number}`;
}
