import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { request } from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { codeOf } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import { silentLogger } from "../../common/log.js";
import { loadSettings } from "../../common/settings.js";
import { Namenode } from "../../namenode/namenode.js";
import { S_IFDIR, S_IFREG } from "../../namenode/namespace/types.js";
import { namenodeSettings } from "../../namenode/settings.js";
import { LinkAuth } from "../../proto/auth.js";
import { connect } from "../../proto/connect.js";
import { Dispatcher } from "../../proto/dispatch.js";
import { Admin, ClientPush, Namenode as Service } from "../../proto/gen/services.js";
import type { Link } from "../../proto/link.js";
import { until } from "../support/until.js";
import { tempFolder } from "./store/temp.js";

const mode = S_IFREG | 0o644;
const SESSION = 4711;

const settingsOf = (dataDir: string, more: object = {}) =>
  loadSettings("namenode", namenodeSettings, { flags: { dataDir, port: 0, logLevel: "silent", ...more } });

/** A client's connection, with its session open. */
async function client(port: number, secret?: string): Promise<{ link: Link; cluster: string; synced: () => number }> {
  let synced = 0;
  const dispatcher = new Dispatcher().take(ClientPush, {
    synced: ({ syncedIndex }) => {
      synced = syncedIndex;
    },
    changed: () => {},
    recall: () => {},
  });
  const link = await connect("127.0.0.1", port, { dispatcher, auth: new LinkAuth(secret), log: silentLogger });
  const { cluster } = await link.call(Service.openSession, { session: SESSION, name: "test", host: "h" });
  return { link, cluster, synced: () => synced };
}

const create = (link: Link, sequence: number, text = `f${sequence}`) =>
  link.call(Service.create, { call: { session: SESSION, sequence }, dir: ROOT_INO, name: Buffer.from(text), mode });

describe("a namenode", () => {
  const temp = tempFolder();
  const running: Namenode[] = [];
  afterEach(async () => {
    for (const namenode of running.splice(0)) await namenode.close();
  });

  async function start(folder: string, more: object = {}): Promise<Namenode & { port: number }> {
    const namenode = new Namenode({ settings: settingsOf(temp.path(folder), more), log: silentLogger });
    running.push(namenode);
    await namenode.start();
    return namenode as Namenode & { port: number };
  }

  it("formats an empty folder, and is the same cluster after a restart", async () => {
    const first = await start("format", { replicas: 2 });
    const a = await client(first.port);
    const { inode } = await a.link.call(Service.getInode, { ino: ROOT_INO });
    expect(inode).to.include({ mode: S_IFDIR | 0o755, uid: process.getuid?.(), nlink: 2, parent: ROOT_INO });
    const made = await create(a.link, 1);
    expect(made.inode.policy.replicas).to.equal(2);
    await first.close();
    const b = await client((await start("format")).port);
    expect(b.cluster).to.equal(a.cluster);
    const found = await b.link.call(Service.lookup, { dir: ROOT_INO, name: Buffer.from("f1") });
    expect(found.inode).to.deep.equal(made.inode);
    expect((await create(b.link, 1)).inode).to.deep.equal(made.inode);
    b.link.close();
  });

  it("pushes up to where edits are on the disk, and syncs when asked", async () => {
    const { port } = await start("push");
    const { link, synced } = await client(port);
    const { index } = await create(link, 1);
    await until(() => synced() >= index, { what: "the push of the synced index" });
    const later = (await create(link, 2)).index;
    expect((await link.call(Service.syncJournal, { index: later })).syncedIndex).to.be.at.least(later);
    expect((await link.call(Service.syncJournal, {})).syncedIndex).to.be.at.least(later);
    const lost = await link.call(Service.syncJournal, { index: later + 1000 }).catch(codeOf);
    expect(lost).to.equal("EIO");
    link.close();
  });

  it("syncs before each answer where that is set", async () => {
    const { port } = await start("always", { journalSync: "always" });
    const { link } = await client(port);
    const { index } = await create(link, 1);
    const status = await link.call(Admin.status, {});
    expect(status.syncedIndex).to.be.at.least(index);
    link.close();
  });

  it("answers for the cluster: over its links and over HTTP", async () => {
    const { port } = await start("status");
    const { link, cluster } = await client(port);
    await create(link, 1);
    const status = await link.call(Admin.status, {});
    expect(status).to.include({ cluster, files: 1, directories: 1, sessions: 1 });
    expect(status.version).to.match(/^\d+\.\d+/);
    const page = await fetch(`http://127.0.0.1:${port}/api/status`);
    expect((await page.json()) as object).to.include({ files: 1 });
    link.close();
  });

  it("allocates nothing while there is no datanode", async () => {
    const { port } = await start("lonely");
    const { link } = await client(port);
    const wanted = { session: SESSION, count: 1, replicas: 1, blockSize: 1 << 20, host: "h" };
    expect(await link.call(Service.allocateBlocks, wanted).catch(codeOf)).to.equal("EAGAIN");
    link.close();
  });

  it("survives garbage on its port", async () => {
    const { port } = await start("garbage");
    const { link } = await client(port);
    const dispatcher = new Dispatcher();
    const bad = await connect("127.0.0.1", port, { dispatcher, auth: new LinkAuth(), log: silentLogger });
    bad.sendFrame(Buffer.from("not a frame at all"));
    await bad.closed;
    const req = request({ port, method: "POST", path: "/%00" });
    req.on("error", () => {});
    req.end("garbage");
    await create(link, 1);
    link.close();
  });

  it("says what is wrong when it cannot start, and leaves nothing open", async () => {
    const { port } = await start("first");
    expect(await start("second", { port }).catch(codeOf)).to.equal("EADDRINUSE");
    expect(await start("first").catch(codeOf)).to.equal("EBUSY");
    expect(await start("third", { host: "0.0.0.0" }).catch(codeOf)).to.equal("EINVAL");
    expect(await start("third", { secretFile: temp.path("missing") }).catch(codeOf)).to.equal("EINVAL");
    await start("second");
    await start("third");
  });

  it("asks for the secret where there is one", async () => {
    writeFileSync(temp.path("secret"), "a secret\n");
    const { port } = await start("secret-folder", { secretFile: temp.path("secret") });
    expect(await client(port).catch(codeOf)).to.equal("EACCES");
    (await client(port, "a secret")).link.close();
  });

  describe("as a process", () => {
    const children: ChildProcess[] = [];
    after(() => {
      for (const child of children) child.kill("SIGKILL");
    });

    /** Starts one. @returns the process, its port, and how long it took until it served, ms */
    async function run(folder: string) {
      const script = fileURLToPath(new URL("namenode-child.js", import.meta.url));
      const flags = JSON.stringify({ dataDir: temp.path(folder), port: 0 });
      const child = spawn(process.execPath, [script, flags], { stdio: ["ignore", "pipe", "inherit"] });
      children.push(child);
      const exited = once(child, "exit") as Promise<[number | null, string | null]>;
      for await (const line of createInterface({ input: child.stdout })) {
        const { msg, port, ms } = JSON.parse(line) as { msg: string; port: number; ms: number };
        if (msg === "serving") {
          child.stdout.resume();
          return { child, exited, port, ms };
        }
      }
      throw new Error("the namenode ended before it served");
    }

    it("loses no answered change when it is killed, and serves again at once", async () => {
      const first = await run("killed");
      const { link } = await client(first.port);
      const made = [];
      for (let i = 1; i <= 500; i++) made.push(create(link, i));
      const answered = await Promise.all(made);
      first.child.kill("SIGKILL");
      await first.exited;
      const second = await run("killed");
      expect(second.ms).to.be.lessThan(20_000); // two seconds where nothing else runs
      const { link: again } = await client(second.port);
      for (const [i, { inode }] of answered.entries()) {
        const found = await again.call(Service.lookup, { dir: ROOT_INO, name: Buffer.from(`f${i + 1}`) });
        expect(found.inode).to.deep.equal(inode);
      }
      const repeated = await create(again, 500);
      expect(repeated.inode).to.deep.equal(answered[499]!.inode);
      expect(repeated.index).to.equal(answered[499]!.index);
      again.close();
      second.child.kill("SIGTERM");
      expect(await second.exited).to.deep.equal([0, null]);
    });
  });
});
