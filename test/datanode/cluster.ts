import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RealClock } from "../../common/clock.js";
import { silentLogger } from "../../common/log.js";
import { loadSettings } from "../../common/settings.js";
import { Datanode, type DatanodeOptions } from "../../datanode/datanode.js";
import { datanodeSettings } from "../../datanode/settings.js";
import type { DatanodeAddress } from "../../proto/gen/types.js";
import { until } from "../support/until.js";
import { BlockClient } from "./block-client.js";
import { FakeNamenode } from "./fake-namenode.js";

/** Datanodes in this process, over real links, with a fake namenode. */
export class SmallCluster {
  readonly root = mkdtempSync(join(tmpdir(), "cairn-datanode-"));
  readonly datanodes: Datanode[] = [];
  namenode!: FakeNamenode;
  client!: BlockClient;

  static async start(count: number, flags: Record<string, unknown> = {}): Promise<SmallCluster> {
    const cluster = new SmallCluster();
    cluster.namenode = await FakeNamenode.start();
    cluster.client = new BlockClient(cluster.namenode.cluster);
    for (let n = 1; n <= count; n++) await cluster.add(n, flags);
    return cluster;
  }

  /** Starts datanode n (1, 2, …) and waits until it is registered. */
  async add(n: number, flags: Record<string, unknown> = {}, options: Partial<DatanodeOptions> = {}): Promise<Datanode> {
    const datanode = this.make(n, flags, options);
    this.datanodes[n - 1] = datanode;
    await datanode.start();
    await until(() => datanode.id !== 0, { what: `datanode ${n} to register` });
    return datanode;
  }

  make(n: number, flags: Record<string, unknown> = {}, options: Partial<DatanodeOptions> = {}): Datanode {
    const settings = loadSettings("datanode", datanodeSettings, {
      flags: {
        port: 0,
        namenode: `http://127.0.0.1:${this.namenode.port}`,
        dataDirs: this.dataDir(n),
        reserve: 0,
        ...flags,
      },
    });
    return new Datanode({ settings, log: silentLogger, clock: new RealClock(), ...options });
  }

  dataDir(n: number): string {
    return join(this.root, `dn${n}`);
  }

  /** The addresses of these datanodes, in this order. */
  pipeline(...numbers: number[]): DatanodeAddress[] {
    return numbers.map((n) => this.namenode.datanode(this.datanodes[n - 1]!.id).address);
  }

  /** The files of finalized replicas of datanode n. */
  blockFiles(n: number, dataDir = this.dataDir(n)): string[] {
    const blocks = join(dataDir, "blocks");
    return (readdirSync(blocks, { recursive: true }) as string[])
      .map((name) => join(blocks, name))
      .filter((path) => statSync(path).isFile());
  }

  /** The files of unfinished replicas of datanode n. */
  openFiles(n: number): string[] {
    return readdirSync(join(this.dataDir(n), "open"));
  }

  async close(): Promise<void> {
    await this.client.close();
    for (const datanode of this.datanodes) await datanode?.close();
    await this.namenode.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}
