// A namenode as a process of its own, with a client and its datanodes simulated here, for scale-files.mjs.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createReadStream, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { silentLogger } from "../dist/common/log.js";
import { LinkAuth } from "../dist/proto/auth.js";
import { connect } from "../dist/proto/connect.js";
import { regionPages } from "../dist/proto/digest.js";
import { Dispatcher } from "../dist/proto/dispatch.js";
import { ClientPush, DatanodeCommands, Namenode, Registry } from "../dist/proto/gen/services.js";
import { CLUSTER, DATANODES, datanode } from "./scale-files-tree.mjs";

const CAIRN = fileURLToPath(new URL("../dist/cli/cairn.cjs", import.meta.url));
const START_TIMEOUT_MS = 120_000;
const HEARTBEAT_MS = 3_000;
const volumes = [{ path: "/data", capacity: 2 ** 46, used: 2 ** 45, free: 2 ** 45 }];
const ignored = new Dispatcher()
  .take(DatanodeCommands, { replicate() {}, delete() {}, verify() {}, fullReport() {} })
  .take(ClientPush, { synced() {}, changed() {} });
const link = (port) => connect("127.0.0.1", port, { dispatcher: ignored, auth: new LinkAuth(), log: silentLogger });

/** Processes that are running, to be ended with this one. */
export const running = new Set();

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A namenode over a folder. */
export class Process {
  #child;
  #exited;
  #links = [];
  #timers = [];
  /** What it said when it began to serve: `replayed`, `ms`. */
  serving;
  /** A client's connection. */
  client;
  /** Until a file's blocks were known for the first time: milliseconds since the process was started, and its processor time. */
  first;

  /** Starts one, and asks for a file of the tree as soon as it answers. */
  static async start(folder, tree, options = []) {
    const it = new Process();
    const port = await freePort();
    const began = performance.now();
    const args = [CAIRN, "namenode", "--data-dir", folder, "--port", String(port), ...options];
    it.#child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    it.#exited = once(it.#child, "exit");
    running.add(it.#child);
    it.#child.once("exit", () => running.delete(it.#child));
    const serving = new Promise((resolve) => {
      createInterface({ input: it.#child.stdout }).on("line", (line) => {
        const said = JSON.parse(line);
        if (said.msg === "serving") resolve(said);
      });
    });
    it.client = await it.#connect(port, began);
    const { dir, name } = tree.file(Math.floor(Math.random() * tree.files));
    const { inode } = await it.client.call(Namenode.lookup, { dir, name });
    await it.client.call(Namenode.getExtents, { ino: inode.ino, offset: 0, length: inode.size, limit: 10, host: "" });
    it.first = { wallMs: performance.now() - began, cpuMs: it.cpuMs };
    it.serving = await serving;
    it.port = port;
    return it;
  }

  async #connect(port, began) {
    for (;;) {
      try {
        return await link(port);
      } catch (err) {
        if (this.#child.exitCode !== null) throw new Error("the namenode ended as it was started");
        if (performance.now() - began > START_TIMEOUT_MS) throw err;
        await sleep(2);
      }
    }
  }

  /** Has the datanodes of the tree connect, report all they have, and stay alive. @returns the time of all reports, ms */
  async joinDatanodes(digests) {
    let ms = 0;
    for (let id = 1; id <= DATANODES; id++) {
      const connection = await link(this.port);
      this.#links.push(connection);
      await connection.call(Registry.register, { ...datanode(id), cluster: CLUSTER, volumes, version: "scale" });
      const began = performance.now();
      for (const page of regionPages(digests.get(id).regions())) {
        const { ranges } = await connection.call(Registry.reportRegions, page);
        if (ranges.length > 0) throw new Error(`what datanode ${id} reports differs from what the namenode knows`);
      }
      ms += performance.now() - began;
      const beat = { volumes, writers: 0, transfers: 0, blocks: 0 };
      this.#timers.push(setInterval(() => connection.call(Registry.heartbeat, beat).catch(() => {}), HEARTBEAT_MS));
    }
    return ms;
  }

  /** Processor time it has taken so far, ms. */
  get cpuMs() {
    const fields = readFileSync(`/proc/${this.#child.pid}/stat`, "utf8").split(") ")[1].split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  /** Its memory, MiB: its own (`anon`), pages of the store mapped from the page cache (`file`), and both. */
  get memory() {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    const of = (field) => Math.round(Number(status.match(new RegExp(`^${field}:\\s+(\\d+) kB`, "m"))[1]) / 1024);
    return { rss: of("VmRSS"), anon: of("RssAnon"), file: of("RssFile") };
  }

  /** Ends it. */
  async end(signal) {
    for (const timer of this.#timers) clearInterval(timer);
    this.#child.kill(signal);
    await this.#exited;
    for (const connection of [this.client, ...this.#links]) connection.terminate("measured");
  }
}

function* filesIn(folder) {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) yield join(entry.parentPath, entry.name);
}

/** Removes what a folder's files have in the page cache: nobody may have them open. */
export function evict(folder) {
  for (const path of filesIn(folder)) {
    const { status } = spawnSync("dd", [`if=${path}`, "iflag=nocache", "count=0", "status=none"]);
    if (status !== 0) throw new Error(`dd cannot drop ${path} from the page cache`);
  }
}

/** Brings a folder's files into the page cache, as far as there is room. */
export async function warm(folder) {
  for (const path of filesIn(folder)) for await (const _ of createReadStream(path, { highWaterMark: 2 ** 20 }));
}

/** A new folder for a tree. */
export function newFolder(parent, name) {
  const folder = join(parent, name);
  mkdirSync(folder, { recursive: true });
  return folder;
}
