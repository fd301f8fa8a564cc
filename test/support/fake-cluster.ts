import type { CairnClient, FileContent } from "../../client/contract.js";
import { type ClientOptions, connectClient } from "../../client/index.js";
import { ROOT_INO } from "../../common/limits.js";
import { silentLogger } from "../../common/log.js";
import type { Inode } from "../../proto/gen/types.js";
import { FakeDatanode } from "./fake-datanode.js";
import { FakeNamenode, S_IFREG } from "./fake-namenode.js";

/** A namenode and datanodes in memory, over real links of this machine, and clients of them. */
export class FakeCluster {
  readonly namenode = new FakeNamenode();
  readonly datanodes: FakeDatanode[] = [];
  readonly #clients: CairnClient[] = [];
  #names = 0;

  static async start(datanodes = 3): Promise<FakeCluster> {
    const cluster = new FakeCluster();
    await cluster.namenode.start();
    for (let i = 0; i < datanodes; i++) await cluster.addDatanode();
    return cluster;
  }

  async addDatanode(): Promise<FakeDatanode> {
    const datanode = new FakeDatanode(this.datanodes.length + 1);
    await datanode.start();
    this.datanodes.push(datanode);
    this.namenode.datanodes.push(datanode.address);
    return datanode;
  }

  async client(options: Partial<ClientOptions> = {}): Promise<CairnClient> {
    const client = await connectClient({
      namenode: `127.0.0.1:${this.namenode.port}`,
      name: "a test",
      log: silentLogger,
      shortCircuit: false,
      patienceMs: 10_000,
      readPatienceMs: 300,
      ...options,
    });
    this.#clients.push(client);
    return client;
  }

  /** A new, empty, open file. */
  async file(client: CairnClient, policy?: { blockSize?: number; replicas?: number; compression?: 0 | 1 }) {
    const name = Buffer.from(`file-${this.#names++}`);
    const node = { mode: S_IFREG | 0o644, uid: 0, gid: 0, ...(policy && { policy }) };
    const { inode } = await client.meta.create(ROOT_INO, name, node);
    return { inode, content: client.open(inode) };
  }

  /** All bytes of a file as somebody else sees them. */
  async readBack(inode: Pick<Inode, "ino">, options: Partial<ClientOptions> = {}): Promise<Buffer> {
    const reader = await this.client(options);
    const content = reader.open(await reader.meta.getInode(inode.ino));
    const data = await readAll(content);
    await content.close();
    await reader.close();
    return data;
  }

  async stop(): Promise<void> {
    await Promise.allSettled(this.#clients.map((client) => client.close()));
    await Promise.all(this.datanodes.map((datanode) => datanode.stop()));
    await this.namenode.stop();
  }
}

/** Everything there is, in reads of the size that the kernel's are. */
export async function readAll(content: FileContent, step = 128 * 1024): Promise<Buffer> {
  const data = Buffer.alloc(content.size);
  for (let at = 0; at < data.length; ) {
    const read = await content.read(at, data.subarray(at, at + step));
    if (read === 0) break;
    at += read;
  }
  return data;
}

/** Bytes that look random and are the same every time. */
export function noise(length: number, seed = 1): Buffer {
  const data = Buffer.allocUnsafe(length);
  let x = seed * 2654435761 + 1;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0;
    data[i] = x >>> 24;
  }
  return data;
}
