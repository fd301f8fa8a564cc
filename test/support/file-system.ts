import { silentLogger } from "../../common/log.js";
import { FileSystem } from "../../fuse/core.js";
import { MemoryClient, type MemoryClientOptions } from "./memory-client.js";

/** An ordinary user's program. */
export const caller = { uid: 1000, gid: 100, pid: 7 };
export const name = (text: string): Buffer => Buffer.from(text);

/** A mount's file system without a kernel, over a cluster in memory. */
export function makeFileSystem(options: MemoryClientOptions = {}) {
  const client = new MemoryClient(options);
  return { client, watch: client.watch, fs: new FileSystem({ client, kernelMs: 1000, log: silentLogger }) };
}
