import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { GIB } from "../../../common/limits.js";
import { silentLogger } from "../../../common/log.js";
import { createHttp, type HttpOptions } from "../../../namenode/http/http.js";
import type { DatanodeStatusInit, StatusReplyInit } from "../../../proto/gen/types.js";

/** A status that a test may change: every field is there. */
export type FakeStatus = {
  [K in Exclude<keyof StatusReplyInit, "datanodes" | "events">]-?: NonNullable<StatusReplyInit[K]>;
} & {
  datanodes: DatanodeStatusInit[];
  events: { timeMs: number; severity: string; message: string }[];
};

/** A datanode that is well, heard from just now. */
export function fakeDatanode(id: number, changes: Partial<DatanodeStatusInit> = {}): DatanodeStatusInit {
  const capacity = 1024 * GIB;
  const used = (180 + ((id * 37) % 120)) * GIB;
  const free = capacity - used - (20 + ((id * 13) % 60)) * GIB;
  return {
    address: { id, host: `10.20.${Math.floor(id / 200)}.${(id % 200) + 10}`, port: 9864, rack: `/rack${(id % 3) + 1}` },
    uuid: `00000000-0000-4000-8000-${String(id).padStart(12, "0")}`,
    state: "live",
    capacity,
    used,
    free,
    blocks: Math.round(used / (61 * 1024 * 1024)),
    lastHeartbeatMs: Date.now() - ((id * 731) % 2900),
    volumes: [{ path: "/data/1", capacity, used, free }],
    version: "0.1.0",
    ...{ service: "in service", needed: 0, untilMs: 0, transfers: 0 },
    ...changes,
  };
}

/** A healthy cluster of n datanodes. */
export function fakeCluster(n: number): FakeStatus {
  const datanodes = Array.from({ length: n }, (_, i) => fakeDatanode(i + 1));
  const sum = (field: "capacity" | "used" | "free" | "blocks") => datanodes.reduce((a, d) => a + (d[field] ?? 0), 0);
  return {
    cluster: "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    version: "0.1.0",
    startedMs: Date.now() - 3 * 86_400_000,
    capacity: sum("capacity"),
    used: sum("used"),
    free: sum("free"),
    files: n === 0 ? 0 : 1_204_817,
    directories: n === 0 ? 1 : 38_204,
    blocks: Math.round(sum("blocks") / 3),
    ...{ lastCopy: 0, evacuating: 0, misplaced: 0 },
    underReplicated: 0,
    missing: 0,
    corrupt: 0,
    pendingReplications: 0,
    pendingDeletions: 0,
    datanodes,
    events: [],
    lastIndex: 9_412_077,
    syncedIndex: 9_412_071,
    sessions: n === 0 ? 0 : 14,
  };
}

/** A server with the real handler over a status that the test owns. */
export async function serveFake(options: Partial<HttpOptions> & { status: HttpOptions["status"] }, port = 0) {
  const server = createServer(createHttp({ log: silentLogger, ...options }));
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const { port: actual } = server.address() as AddressInfo;
  return {
    port: actual,
    url: `http://127.0.0.1:${actual}`,
    /** Drops every connection, streams included. */
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
