// What the full report of an unchanged datanode costs the namenode: bytes, and milliseconds of its thread, over a real
// store. The blocks' ids are next to one another, and then 300 apart, as on one of a hundred datanodes.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RealClock } from "../dist/common/clock.js";
import { silentLogger } from "../dist/common/log.js";
import { Blocks } from "../dist/namenode/blocks/blocks.js";
import { Counters } from "../dist/namenode/blocks/counters.js";
import { RepairQueue } from "../dist/namenode/blocks/repair-queue.js";
import { ReplicaMap } from "../dist/namenode/blocks/replica-map.js";
import { JournaledEditor } from "../dist/namenode/editor.js";
import { openStorage } from "../dist/namenode/store/storage.js";
import { RangeDigests, regionPages } from "../dist/proto/digest.js";
import { Dispatcher } from "../dist/proto/dispatch.js";
import { Registry } from "../dist/proto/gen/services.js";

const COUNT = Number(process.argv[2] ?? 1_000_000);
const ROUNDS = 20;
const SLICE = 500;
const LENGTH = 1 << 20;
const CLUSTER = "0b6d1c52-0000-4000-8000-000000000001";
const settings = {
  ...{ heartbeatMs: 3_000, deadAfterMs: 60_000, fullReportMs: 3_600_000, orphanGraceMs: 600_000 },
  ...{ maxTransfers: 64, maxTransfersPerDatanode: 4, transferTimeoutMs: 120_000 },
};
const clock = new RealClock();
const use = { committed: () => ({ generation: 1, length: LENGTH, wanted: 1 }), isPending: () => false };
const volumes = [{ path: "/data", capacity: 2 ** 44, used: 2 ** 40, free: 2 ** 43 }];

/** Runs work with an editor over a namenode's folder, and closes it. */
async function withEditor(folder, work) {
  const storage = await openStorage({ folder, clock, log: silentLogger });
  const editor = new JournaledEditor({ ...storage, clock, syncReplies: false });
  await editor.replay();
  try {
    return await work(editor);
  } finally {
    await editor.close();
    await storage.close();
  }
}

/** Calls a method as it would come over a link: the reply, the bytes of the request, and the milliseconds it took. */
async function call(dispatcher, link, method, request) {
  const bytes = method.request.encode(request).finish();
  const began = performance.now();
  const reply = await dispatcher.calls.get(method.name).handler(method.request.decode(bytes), { link });
  return { reply, bytes: bytes.length, ms: performance.now() - began };
}

async function measure(gap) {
  const folder = mkdtempSync(join(tmpdir(), "cairn-scale-"));
  try {
    const digests = new RangeDigests();
    await withEditor(folder, async (editor) => {
      const time = clock.timestamp();
      const root = { ino: 1, mode: 0o40755, nlink: 2, atime: time, mtime: time, ctime: time, parent: 1, policy: {} };
      editor.apply({ time, format: { cluster: CLUSTER, root } });
      const counters = new Counters(editor.kv);
      const trust = { standing: () => "serving", isSure: () => true, rackOf: () => "/r", racks: 1 };
      const map = new ReplicaMap(editor.kv, new RepairQueue(editor.kv, counters), counters, use, trust);
      for (let n = 1; n <= COUNT; n++) {
        const replica = { id: n * gap, generation: 1, length: LENGTH };
        digests.add(replica);
        map.put(1, replica, false);
        if (n % SLICE === 0) await editor.room();
      }
    });
    // Opened anew: everything is read from LMDB.
    return await withEditor(folder, async (editor) => {
      const blocks = new Blocks({ kv: editor.kv, editor, use, settings, clock, log: silentLogger });
      const dispatcher = new Dispatcher();
      blocks.register(dispatcher);
      const link = {
        peer: "scale",
        isOpen: true,
        bufferedBytes: 0,
        push() {},
        terminate() {},
        closed: new Promise(() => {}),
      };
      const who = { uuid: "scale-datanode-1", cluster: CLUSTER, host: "127.0.0.1", port: 9864, rack: "/r", volumes };
      await call(dispatcher, link, Registry.register, who);
      const rounds = [];
      for (let round = 0; round < ROUNDS; round++) {
        let [bytes, ms] = [0, 0];
        for (const page of regionPages(digests.regions())) {
          const part = await call(dispatcher, link, Registry.reportRegions, page);
          if (part.reply.ranges.length > 0) throw new Error("a report of what is unchanged differs");
          bytes += part.bytes;
          ms += part.ms;
        }
        rounds.push({ bytes, ms });
      }
      const { datanodes } = blocks.status();
      if (datanodes[0].blocks !== COUNT) throw new Error(`the namenode counts ${datanodes[0].blocks} replicas`);
      await blocks.close();
      const sorted = rounds.map((r) => r.ms).sort((a, b) => a - b);
      return {
        gap,
        regions: digests.regions().length,
        bytes: rounds[0].bytes,
        first: rounds[0].ms,
        median: sorted[ROUNDS / 2],
      };
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

console.log(`the full report of ${COUNT} unchanged replicas:`);
for (const gap of [1, 300]) {
  const { regions, bytes, first, median } = await measure(gap);
  console.log(
    `ids ${gap} apart: ${regions} regions, ${bytes} bytes; ${first.toFixed(1)} ms the first time, ${median.toFixed(1)} ms (median of ${ROUNDS})`,
  );
}
