import { expect } from "chai";
import type { CairnClient } from "../../client/contract.js";
import { parseNamenode } from "../../client/index.js";
import { RealClock } from "../../common/clock.js";
import { CairnError, codeOf } from "../../common/errors.js";
import { MAX_PACKET, MIB, ROOT_INO } from "../../common/limits.js";
import { FakeCluster } from "../support/fake-cluster.js";
import { FakeNamenode, LEASE_MS, S_IFDIR, S_IFREG } from "../support/fake-namenode.js";
import { until } from "../support/until.js";

const FILE = { mode: S_IFREG | 0o644, uid: 0, gid: 0 };

async function failure(promise: Promise<unknown>): Promise<CairnError> {
  try {
    await promise;
  } catch (err) {
    expect(err).to.be.instanceOf(CairnError);
    return err as CairnError;
  }
  throw new Error("it should have failed");
}

/** The machine's clock, which can be put forward. */
class SteppedClock extends RealClock {
  #ahead = 0;

  step(ms: number): void {
    this.#ahead += ms;
  }

  override monotonic(): number {
    return super.monotonic() + this.#ahead;
  }
}

describe("a session with the namenode", () => {
  let cluster: FakeCluster;
  beforeEach(async () => {
    cluster = await FakeCluster.start(1);
  });
  afterEach(() => cluster.stop());

  const create = (client: CairnClient, name: string) => client.meta.create(ROOT_INO, Buffer.from(name), FILE);

  it("says who it is, and what cluster it found", async () => {
    const client = await cluster.client({ name: "mount /data", host: "here" });
    expect(client.cluster).to.equal("fake");
    expect(client.policy.replicas).to.equal(3);
    const [session] = cluster.namenode.sessions;
    expect(session).to.deep.include({ name: "mount /data", host: "here", pending: [] });
    expect(session!.session).to.be.within(1, Number.MAX_SAFE_INTEGER);
    await client.close();
    expect(cluster.namenode.count("CloseSession")).to.equal(1);
  });

  it("names the address of a namenode that is not there, soon", async () => {
    const { port } = cluster.namenode;
    await cluster.namenode.stop();
    const err = await failure(cluster.client({ namenode: `http://127.0.0.1:${port}`, startPatienceMs: 200 }));
    expect(err.code).to.equal("ECONNREFUSED");
    expect(err.message).to.include(`127.0.0.1:${port}`);
    await cluster.namenode.start();
  });

  it("is EACCES, at once, with the wrong secret", async () => {
    const guarded = new FakeNamenode();
    await guarded.start(0, "the secret");
    const namenode = `127.0.0.1:${guarded.port}`;
    expect((await failure(cluster.client({ namenode, secret: "another" }))).code).to.equal("EACCES");
    expect((await failure(cluster.client({ namenode }))).message).to.include("secret");
    await (await cluster.client({ namenode, secret: "the secret" })).close();
    await guarded.stop();
  });

  it("understands every way to write a namenode's address", () => {
    for (const [text, host, port] of [
      ["host7", "host7", 9870],
      ["host7:1234", "host7", 1234],
      ["http://host7:1234/", "host7", 1234],
      ["http://host7", "host7", 9870],
      ["cairn://10.0.0.1:99", "10.0.0.1", 99],
      ["[::1]:5", "::1", 5],
      ["host7:80", "host7", 80],
    ] as const) {
      expect(parseNamenode(text), text).to.deep.equal({ host, port });
    }
    for (const text of ["", "host:port", "a b", "host:99999"]) {
      expect(() => parseNamenode(text), text).to.throw(CairnError);
    }
  });

  it("does a change once, however often its reply is lost", async () => {
    const client = await cluster.client();
    let losses = 3;
    cluster.namenode.after = (method) => (method === "Namenode.Create" && losses-- > 0 ? "lose" : "reply");
    const { existed } = await create(client, "once");
    expect(existed).to.equal(false);
    expect(cluster.namenode.count("Create")).to.equal(4);
    expect((await client.meta.readDirectory(ROOT_INO, Buffer.alloc(0), 10)).entries).to.have.length(1);
  });

  it("does not send a change again to a namenode that has forgotten the session and what it did: nobody knows then", async () => {
    cluster.namenode.begun = true;
    const client = await cluster.client();
    cluster.namenode.after = (method) => (method === "Namenode.Create" ? "lose" : "reply");
    const opened = cluster.namenode.sessions.length;
    expect((await failure(create(client, "once"))).code).to.equal("EIO");
    expect(cluster.namenode.count("Create")).to.equal(1);
    expect(cluster.namenode.sessions.length).to.be.above(opened);
    cluster.namenode.after = () => "reply";
    await create(client, "another");
  });

  it("nor to one that was started since, if the session may have ended before", async () => {
    cluster.namenode.begun = true;
    const clock = new SteppedClock();
    const client = await cluster.client({ clock });
    const restart = async (awayMs: number) => {
      const { port } = cluster.namenode;
      await cluster.namenode.stop();
      clock.step(awayMs);
      cluster.namenode.incarnation++;
      cluster.namenode.after = () => "reply";
      await cluster.namenode.start(port);
    };
    const createAcross = async (name: string, awayMs: number) => {
      let restarted: Promise<void> | undefined;
      cluster.namenode.after = (method) => {
        if (method !== "Namenode.Create") return "reply";
        restarted ??= restart(awayMs);
        return "lose";
      };
      try {
        return await create(client, name);
      } finally {
        await restarted;
      }
    };
    expect((await createAcross("soon", 0)).existed).to.equal(false);
    expect(cluster.namenode.count("Create")).to.equal(2);
    expect((await failure(createAcross("late", LEASE_MS))).code).to.equal("EIO");
    expect(cluster.namenode.count("Create")).to.equal(3);
  });

  it("numbers its changes, and says below which all are done", async () => {
    const client = await cluster.client();
    const seen: { sequence: number; doneBelow: number }[] = [];
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    cluster.namenode.onCall = (call) => seen.push(call);
    cluster.namenode.before = (method) => (method === "Namenode.Unlink" ? held : undefined);
    await create(client, "a");
    const unlinking = client.meta.unlink(ROOT_INO, Buffer.from("a"));
    await create(client, "b");
    await create(client, "c");
    release();
    await unlinking;
    await create(client, "d");
    expect(seen.map((c) => [c.sequence, c.doneBelow])).to.deep.equal([
      [1, 1],
      [2, 2],
      [3, 2],
      [4, 2],
      [5, 5],
    ]);
  });

  it("waits for a namenode that is away, and tells it what it may have forgotten", async () => {
    const client = await cluster.client();
    const { content } = await cluster.file(client, { blockSize: 4 * MIB });
    await content.write(0, Buffer.alloc(MAX_PACKET, "x"));
    await until(() => cluster.datanodes[0]!.packets + cluster.datanodes[0]!.opens > 0, {
      what: "the block to be open",
    });
    const { port } = cluster.namenode;
    await cluster.namenode.stop();
    const creating = create(client, "patient");
    const flushing = content.flush();
    await new Promise((resolve) => setTimeout(resolve, 100));
    await cluster.namenode.start(port);
    await Promise.all([creating, flushing]);
    expect(cluster.namenode.sessions).to.have.length(2);
    const [first, second] = cluster.namenode.sessions;
    expect(second!.session).to.equal(first!.session);
    expect(second!.pending.map((b) => b.id)).to.include(1);
    await content.close();
  });

  it("gives up when its patience ends", async () => {
    const client = await cluster.client({ patienceMs: 300 });
    const { port } = cluster.namenode;
    await cluster.namenode.stop();
    const started = performance.now();
    expect((await failure(client.meta.getInode(ROOT_INO))).code).to.be.oneOf(["ETIMEDOUT", "ENOTCONN"]);
    expect(performance.now() - started).to.be.within(250, 2_000);
    await cluster.namenode.start(port);
  });

  it("keeps its lease, and opens its session again when the namenode has ended it", async () => {
    await cluster.client();
    await until(() => cluster.namenode.count("KeepAlive") >= 1, { what: "a KeepAlive" });
    cluster.namenode.before = (method) => {
      if (method === "Namenode.KeepAlive") throw new CairnError("ENOTCONN", "no such session");
    };
    await until(() => cluster.namenode.sessions.length === 2, { what: "the session to be opened again" });
  });

  it("waits for the journal only as far as it has changed something", async () => {
    const client = await cluster.client();
    await client.meta.sync();
    expect(cluster.namenode.count("SyncJournal")).to.equal(0);
    await create(client, "a");
    await client.meta.sync();
    expect(cluster.namenode.count("SyncJournal")).to.equal(1);
    await create(client, "b");
    cluster.namenode.pushSynced(cluster.namenode.index);
    await client.meta.getInode(ROOT_INO); // after the push
    await client.meta.sync();
    expect(cluster.namenode.count("SyncJournal")).to.equal(1);
  });

  it("passes the namenode's errors on", async () => {
    const client = await cluster.client();
    expect((await failure(client.meta.lookup(ROOT_INO, Buffer.from("nothing")))).code).to.equal("ENOENT");
    expect((await failure(client.meta.getInode(4711))).code).to.equal("ESTALE");
    await create(client, "twice");
    expect((await failure(create(client, "twice"))).code).to.equal("EEXIST");
    expect((await client.meta.create(ROOT_INO, Buffer.from("twice"), FILE, true)).existed).to.equal(true);
    expect(await client.meta.capacity()).to.deep.include({ available: 90 });
  });

  it("renames, links, unlinks and changes attributes", async () => {
    const { meta } = await cluster.client();
    const name = (text: string) => Buffer.from(text);
    const { inode } = await meta.create(ROOT_INO, name("a"), FILE);
    const { inode: dir } = await meta.create(ROOT_INO, name("d"), { ...FILE, mode: S_IFDIR | 0o755 });
    expect((await meta.rename(ROOT_INO, name("a"), dir.ino, name("b"))).moved.ino).to.equal(inode.ino);
    await meta.link(inode.ino, ROOT_INO, name("c"));
    expect((await meta.resolve("/d/b")).ino).to.equal(inode.ino);
    expect((await meta.rename(dir.ino, name("b"), ROOT_INO, name("c"))).replaced!.ino).to.equal(inode.ino);
    expect((await meta.setAttributes(inode.ino, { mode: 0o600, mtime: "now" })).mode & 0o7777).to.equal(0o600);
    await meta.unlink(ROOT_INO, name("c"));
    await meta.rmdir(ROOT_INO, name("d"));
    expect((await meta.readDirectory(ROOT_INO, Buffer.alloc(0), 10)).entries).to.deep.equal([]);
  });

  it("refuses further work once closed, and closes twice as well as once", async () => {
    const client = await cluster.client();
    const { inode } = await create(client, "a");
    await client.close();
    await client.close();
    expect((await failure(client.meta.getInode(inode.ino))).code).to.equal("ENOTCONN");
    expect(() => client.open(inode)).to.throw(CairnError);
    expect(codeOf(await failure(create(client, "b")))).to.equal("ENOTCONN");
  });

  it("flushes what is open when it is closed", async () => {
    const client = await cluster.client();
    const { content, inode } = await cluster.file(client);
    await content.write(0, Buffer.from("late"));
    await client.close();
    expect((await cluster.readBack(inode)).toString()).to.equal("late");
  });
});
