// Whether a namenode stays responsive with a thousand datanodes: the namenode is a process of its own; the datanodes are
// simulated here, each with a connection, heartbeats and reports. Clients create files, place and commit blocks, look names
// up and ask where blocks are, all at once. Printed: how long each kind of call took.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { silentLogger } from "../dist/common/log.js";
import { LinkAuth } from "../dist/proto/auth.js";
import { connect } from "../dist/proto/connect.js";
import { Dispatcher } from "../dist/proto/dispatch.js";
import { Admin, ClientPush, DatanodeCommands, Namenode, Registry } from "../dist/proto/gen/services.js";

const COUNT = Number(process.argv[2] ?? 1_000);
const SECONDS = 20;
const CLIENTS = 4;
const RACKS = 40;
const ROOT = 1;
const FILE = 0o100644;
const LENGTH = 1 << 20;
const CAIRN = fileURLToPath(new URL("../dist/cli/cairn.cjs", import.meta.url));
const volumes = [{ path: "/data", capacity: 2 ** 44, used: 2 ** 40, free: 2 ** 43 }];

/** Milliseconds by kind of call. */
const taken = new Map();
async function timed(kind, work) {
  const began = performance.now();
  const result = await work();
  if (!taken.has(kind)) taken.set(kind, []);
  taken.get(kind).push(performance.now() - began);
  return result;
}

const options = (dispatcher) => ({ dispatcher, auth: new LinkAuth(), log: silentLogger });

/** A datanode: registered, alive, and with every block that is said to be on it. */
async function joinCluster(port, n) {
  const commands = new Dispatcher().take(DatanodeCommands, {
    replicate: () => {},
    delete: () => {},
    verify: () => {},
    fullReport: () => {},
  });
  const link = await connect("127.0.0.1", port, options(commands));
  const { datanode, heartbeatMs } = await link.call(Registry.register, {
    ...{ uuid: randomUUID(), cluster: "", host: `host${n}`, port: 9864, rack: `/rack${n % RACKS}` },
    ...{ volumes, version: "scale" },
  });
  await link.call(Registry.reportRegions, {});
  let beating = false;
  const beat = async () => {
    if (beating) return;
    beating = true;
    await timed("heartbeat", () => link.call(Registry.heartbeat, { volumes, writers: 0, transfers: 0, blocks: 0 }));
    beating = false;
  };
  // Spread over the interval, as they would be.
  setTimeout(() => setInterval(() => beat().catch(fail), heartbeatMs), Math.random() * heartbeatMs);
  return { datanode, link };
}

/** A client: files with a block each, one after the other. */
async function work(port, n, datanodes, until) {
  const dispatcher = new Dispatcher().take(ClientPush, { synced: () => {}, changed: () => {} });
  const link = await connect("127.0.0.1", port, options(dispatcher));
  const session = 1000 + n;
  await link.call(Namenode.openSession, { session, name: `client ${n}`, host: `host${n}` });
  let sequence = 0;
  const call = () => ({ session, sequence: ++sequence, doneBelow: sequence });
  const keep = setInterval(() => link.call(Namenode.keepAlive, { session }).catch(fail), 5_000);
  for (let file = 0; performance.now() < until; file++) {
    const name = Buffer.from(`${n}-${file}`);
    const create = { call: call(), dir: ROOT, name, mode: FILE };
    const { inode } = await timed("create", () => link.call(Namenode.create, create));
    const place = { session, count: 1, replicas: 3, blockSize: 64 << 20, host: `host${n}`, exclude: [] };
    const { blocks } = await timed("place a block", () => link.call(Namenode.allocateBlocks, place));
    const block = { ...blocks[0].block, length: LENGTH };
    const on = blocks[0].replicas.map((r) => r.id);
    const finalized = { changes: [{ block, state: 0 }] };
    await Promise.all(
      on.map((id) => timed("report a replica", () => datanodes.get(id).call(Registry.reportChanges, finalized))),
    );
    const commit = {
      ...{ call: call(), ino: inode.ino, size: LENGTH, replicas: 3 },
      blocks: [{ block, datanodes: on }],
      extents: [{ offset: 0, length: LENGTH, block: block.id, blockOffset: 0 }],
    };
    await timed("commit", () => link.call(Namenode.commit, commit));
    await timed("look a name up", () => link.call(Namenode.lookup, { dir: ROOT, name }));
    const extents = { ino: inode.ino, offset: 0, length: LENGTH, limit: 10, host: `host${n}` };
    await timed("locate a file's blocks", () => link.call(Namenode.getExtents, extents));
  }
  clearInterval(keep);
}

function fail(err) {
  console.error(err);
  process.exitCode = 1;
  process.emit("SIGTERM");
}

const folder = mkdtempSync(join(tmpdir(), "cairn-scale-"));
const args = [CAIRN, "namenode", "--data-dir", folder, "--port", "0"];
const namenode = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
const end = () => {
  namenode.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
  process.exit();
};
process.once("SIGTERM", end).once("SIGINT", end);

const port = await new Promise((resolve) => {
  createInterface({ input: namenode.stdout }).on("line", (line) => {
    const said = JSON.parse(line);
    if (said.msg === "serving") resolve(said.port);
  });
});
/** Processor time of the namenode so far, ms. */
const spent = () => {
  const fields = readFileSync(`/proc/${namenode.pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
};

try {
  const began = performance.now();
  const datanodes = new Map();
  for (let n = 0; n < COUNT; n++) {
    const { datanode, link } = await joinCluster(port, n);
    datanodes.set(datanode, link);
  }
  console.log(`${COUNT} datanodes registered in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  taken.clear();
  let before = spent();
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  const idle = ((spent() - before) / 100).toFixed(0);
  console.log(`heartbeats alone take ${idle} % of a processor`);
  taken.clear();
  before = spent();
  const until = performance.now() + SECONDS * 1000;
  await Promise.all(Array.from({ length: CLIENTS }, (_, n) => work(port, n, datanodes, until)));
  console.log(`with ${CLIENTS} clients at work: ${((spent() - before) / (SECONDS * 10)).toFixed(0)} % of a processor`);
  console.log("ms                         calls   median      99 %       max");
  for (const [kind, list] of taken) {
    list.sort((a, b) => a - b);
    const at = (share) => list[Math.min(list.length - 1, Math.floor(list.length * share))].toFixed(1).padStart(10);
    console.log(`${kind.padEnd(22)} ${String(list.length).padStart(9)} ${at(0.5)} ${at(0.99)} ${at(1)}`);
  }
  const control = await connect("127.0.0.1", port, options(new Dispatcher()));
  const status = await control.call(Admin.status, {});
  const live = status.datanodes.filter((d) => d.state === "live").length;
  console.log(
    `${live} of ${COUNT} datanodes live; ${status.blocks} blocks, ${status.underReplicated} under-replicated`,
  );
} catch (err) {
  fail(err);
}
end();
