import { expect } from "chai";
import { Births } from "../../client/births.js";
import type { BirthWatcher, CairnClient } from "../../client/contract.js";
import { connectClient } from "../../client/index.js";
import type { Session } from "../../client/session.js";
import { CairnError, codeOf } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import { silentLogger } from "../../common/log.js";
import { loadSettings } from "../../common/settings.js";
import { Namenode } from "../../namenode/namenode.js";
import { namenodeSettings } from "../../namenode/settings.js";
import { Namenode as Calls } from "../../proto/gen/services.js";
import type { CreateReply, Inode, InodeReply } from "../../proto/gen/types.js";
import type { AnyMethod } from "../../proto/method.js";
import { tempFolder } from "../namenode/store/temp.js";
import { FakeClock } from "../support/fake-clock.js";
import { S_IFREG } from "../support/fake-namenode.js";
import { until } from "../support/until.js";

const FILE = { mode: S_IFREG | 0o640, uid: 5, gid: 6 };
const DIRECTORY = { mode: 0o040755, uid: 0, gid: 0 };
const SOON = { timeoutMs: 60_000 };
const name = (text: string) => Buffer.from(text);

/** Births over a namenode that answers with what is given, one directory delegated; and what it was asked. */
async function isolated(answer: (method: AnyMethod) => Promise<unknown>) {
  const asked: string[] = [];
  const ask = (method: AnyMethod) => {
    asked.push(method.name);
    return method === Calls.takeInodeNumbers ? Promise.resolve({ first: 100 }) : answer(method);
  };
  const session = {
    onOpened: () => {},
    watch: { trustMs: () => 1_000 },
    policy: { replicas: 3, blockSize: 1 << 20, compression: 0 },
    call: ask,
    change: ask,
  } as unknown as Session;
  const births = new Births(session, new FakeClock(), silentLogger);
  const grant = (dirs: readonly number[]) => Promise.resolve({ delegated: dirs } as unknown as CreateReply);
  await births.delegating(() => grant([5]));
  const parent = { ino: 5, policy: session.policy } as unknown as Inode;
  const bear = (text: string) => births.bear(parent, name(text), FILE);
  let first: Inode | undefined;
  await until(
    () => {
      first = bear("f");
      return first !== undefined;
    },
    { ...SOON, what: "a birth" },
  );
  asked.length = 0;
  return { births, bear, grant, asked, ino: first!.ino };
}

/** A promise that is kept later. */
function later<T>() {
  let [resolve, reject]: [(value: T) => void, (err: unknown) => void] = [() => {}, () => {}];
  const promise = new Promise<T>((yes, no) => {
    [resolve, reject] = [yes, no];
  });
  return { promise, resolve, reject };
}

describe("a file that could not be made", () => {
  for (const [refused, told] of [
    ["ENOSPC", "ENOSPC"],
    ["EDQUOT", "EDQUOT"],
    ["EEXIST", "EIO"],
  ] as const) {
    it(`for ${refused} is ${told} to whoever writes to it`, async () => {
      const { births, ino } = await isolated(() => Promise.reject(new CairnError(refused, "make a file")));
      expect(await births.bring(ino).catch(codeOf)).to.equal(told);
      await births.bring(ino); // it has been told
      births.close();
    });
  }
});

describe("a directory that is given back", () => {
  const inode = { ino: 100 } as Inode;
  const made = { inode, parent: null, index: 1 } as unknown as InodeReply;

  it("is so after the births, also when the commit that was to bring one fails", async () => {
    const { births, asked, ino } = await isolated(async () => made);
    const commit = later<InodeReply>();
    const committed = births.along(ino, () => commit.promise).catch(codeOf);
    await until(() => births.has(ino), { ...SOON, what: "the birth" });
    births.recall([5]);
    commit.reject(new CairnError("ESTALE", "commit a block"));
    expect(await committed).to.equal("ESTALE");
    await until(() => asked.includes(Calls.returnDelegations.name), { ...SOON, what: "giving it back" });
    expect(asked).to.deep.equal([Calls.create.name, Calls.returnDelegations.name]);
    expect(births.has(ino)).to.equal(false);
    births.close();
  });

  it("has its births before whatever else is asked, also when the commit that was to bring one fails", async () => {
    const { births, asked, ino } = await isolated(async () => made);
    const commit = later<InodeReply>();
    const committed = births.along(ino, () => commit.promise).catch(codeOf);
    const brought = births.bring(ino);
    commit.reject(new CairnError("ESTALE", "commit a block"));
    await brought;
    expect(await committed).to.equal("ESTALE");
    expect(asked).to.deep.equal([Calls.create.name]);
    expect(births.has(ino)).to.equal(false);
    births.close();
  });

  it("is not taken for delegated because an answer comes late", async () => {
    const returned = later<unknown>();
    const { births, bear, grant, ino } = await isolated((method) =>
      method === Calls.returnDelegations ? returned.promise : Promise.resolve(made),
    );
    await births.bring(ino);
    const answer = later<CreateReply>();
    const asked = births.delegating(() => answer.promise);
    births.recall([5]);
    const meanwhile = later<CreateReply>();
    const askedMeanwhile = births.delegating(() => meanwhile.promise);
    const reply = { delegated: [5] } as unknown as CreateReply;
    answer.resolve(reply);
    await asked;
    expect(bear("g"), "delegated before it was recalled").to.equal(undefined);
    returned.resolve({});
    meanwhile.resolve(reply);
    await askedMeanwhile;
    expect(bear("g"), "delegated before it was given back, perhaps").to.equal(undefined);
    await until(
      async () => {
        await births.delegating(() => grant([5]));
        return bear("g") !== undefined;
      },
      { ...SOON, what: "a delegation of afterwards" },
    );
    births.close();
  });
});

describe("files that a client makes by itself", function () {
  this.timeout(120_000);
  const temp = tempFolder();
  let namenode: Namenode & { port: number };
  let folders = 0;
  let clients: CairnClient[] = [];

  async function start(folder: string, port = 0): Promise<void> {
    const flags = { dataDir: temp.path(folder), port, logLevel: "silent" };
    namenode = new Namenode({
      settings: loadSettings("namenode", namenodeSettings, { flags }),
      log: silentLogger,
    }) as typeof namenode;
    await namenode.start();
  }

  async function client(watch = true): Promise<CairnClient> {
    const made = await connectClient({
      namenode: `127.0.0.1:${namenode.port}`,
      name: "a test",
      log: silentLogger,
      watch,
      patienceMs: 60_000,
    });
    clients.push(made);
    return made;
  }

  /** A directory that is delegated to a client, which has numbers for files. */
  async function delegated(to: CairnClient, text = "d"): Promise<Inode> {
    const { inode } = await to.meta.create(ROOT_INO, name(text), DIRECTORY);
    await until(() => to.meta.bear(inode, name("probe"), FILE) !== undefined, { ...SOON, what: "the first birth" });
    await to.meta.sync();
    return to.meta.getInode(inode.ino);
  }

  const bear = (by: CairnClient, dir: Inode, text: string): Inode => {
    const inode = by.meta.bear(dir, name(text), FILE);
    expect(inode, `${text} is made here`).not.to.equal(undefined);
    return inode!;
  };
  const lookup = (by: CairnClient, dir: Inode, text: string) => by.meta.lookup(dir.ino, name(text));

  beforeEach(async () => {
    clients = [];
    await start(`births-${folders++}`);
  });
  afterEach(async () => {
    await Promise.allSettled(clients.map((each) => each.close()));
    await namenode.close();
  });

  it("are born with their first commit, as they were made", async () => {
    const a = await client();
    const dir = await delegated(a);
    const made = bear(a, dir, "f");
    expect(made).to.include({ ...FILE, size: 0, nlink: 1, parent: dir.ino });
    expect(made.policy).to.deep.include({ replicas: 3 });
    expect(a.meta.withUnborn(dir).size).to.equal(dir.size + 1);
    const content = a.open(made);
    await content.write(0, name("bytes"));
    expect(content.setAttributes({ mode: 0o600 })).to.equal(true);
    await content.flush();
    expect(a.meta.withUnborn(dir)).to.equal(dir);
    const b = await client(false);
    const found = await lookup(b, dir, "f");
    expect(found).to.include({
      ino: made.ino,
      mode: S_IFREG | 0o600,
      uid: 5,
      gid: 6,
      size: 5,
      nlink: 1,
      parent: dir.ino,
    });
    const target = Buffer.alloc(9);
    expect(target.toString("utf8", 0, await b.open(found).read(0, target))).to.equal("bytes");
    const parent = await b.meta.getInode(dir.ino);
    expect(parent.size).to.equal(dir.size + 1);
    expect(parent.version, "one edit made the name and the content").to.equal(found.version);
    await content.close();
  });

  it("are there for whoever looks, at once", async () => {
    const [a, b] = [await client(), await client()];
    const dir = await delegated(a);
    const made = bear(a, dir, "f");
    expect((await lookup(b, dir, "f")).ino).to.equal(made.ino);
    expect(a.meta.bear(dir, name("g"), FILE), "another looks").to.equal(undefined);
    const other = await delegated(a, "e");
    const names = ["1", "2", "3"].map((text) => bear(a, other, text).ino);
    const { entries } = await b.meta.readDirectory(other.ino, Buffer.alloc(0), 100);
    expect(entries.map(({ inode }) => inode.ino)).to.include.members(names);
  });

  it("are asked about, listed, changed and removed by their maker as any", async () => {
    const a = await client();
    const dir = await delegated(a);
    const made = bear(a, dir, "f");
    expect((await a.meta.getInode(made.ino)).ino).to.equal(made.ino);
    bear(a, dir, "g");
    expect((await a.meta.readDirectory(dir.ino, Buffer.alloc(0), 100)).entries.map((e) => String(e.name))).to.include(
      "g",
    );
    const third = bear(a, dir, "h");
    await a.meta.setXattr(third.ino, name("user.x"), name("y"));
    await a.meta.rename(dir.ino, name("h"), dir.ino, name("i"));
    expect((await lookup(a, dir, "i")).ino).to.equal(third.ino);
    bear(a, dir, "j");
    await a.meta.unlink(dir.ino, name("j"));
    expect(await lookup(a, dir, "j").catch(codeOf)).to.equal("ENOENT");
  });

  it("have their names for themselves: who comes second hears so", async () => {
    const [a, b] = [await client(), await client()];
    const dir = await delegated(a);
    bear(a, dir, "f");
    expect(await b.meta.create(dir.ino, name("f"), FILE).catch(codeOf)).to.equal("EEXIST");
    expect(await a.meta.create(dir.ino, name("g"), FILE)).to.include({ existed: false });
    expect(await b.meta.create(dir.ino, name("g"), FILE).catch(codeOf)).to.equal("EEXIST");
  });

  it("are not made where others watch, nor by who does not", async () => {
    const [a, b, c] = [await client(), await client(), await client(false)];
    const { inode } = await a.meta.create(ROOT_INO, name("d"), DIRECTORY);
    await b.meta.readDirectory(inode.ino, Buffer.alloc(0), 1);
    await a.meta.create(inode.ino, name("1"), FILE);
    expect(a.meta.bear(inode, name("2"), FILE)).to.equal(undefined);
    const own = (await c.meta.create(ROOT_INO, name("e"), DIRECTORY)).inode;
    await c.meta.create(own.ino, name("1"), FILE);
    expect(c.meta.bear(own, name("2"), FILE)).to.equal(undefined);
  });

  it("come by themselves after a while, and with the end of their maker", async () => {
    const [a, b] = [await client(), await client(false)];
    const dir = await delegated(a);
    const told: string[] = [];
    const watcher: BirthWatcher = {
      born: (inode, at, parent) => told.push(`${inode.ino} in ${at} ${parent?.ino}`),
      stillborn: () => told.push("stillborn"),
    };
    a.meta.onBirth(watcher);
    const first = bear(a, dir, "f");
    await until(() => told.length > 0, { ...SOON, what: "the birth" });
    expect(told).to.deep.equal([`${first.ino} in ${dir.ino} ${dir.ino}`]);
    const second = bear(a, dir, "g");
    await a.close();
    expect((await lookup(b, dir, "g")).ino).to.equal(second.ino);
  });

  it("outlive the loss of the namenode, unless another has taken the name", async () => {
    const a = await client();
    const dir = await delegated(a);
    const told: string[] = [];
    a.meta.onBirth({ born: () => told.push("born"), stillborn: (_ino, _dir, text) => told.push(`stillborn ${text}`) });
    const { port } = namenode;
    await namenode.close();
    const [kept, lost] = [bear(a, dir, "kept"), bear(a, dir, "lost")];
    const contents = [kept, lost].map((inode) => a.open(inode));
    await Promise.all(contents.map((content) => content.write(0, name("text"))));
    const flushed = contents.map((content) => content.flush().then(() => "ok", codeOf));
    await start(`births-${folders - 1}`, port);
    const b = await client(false);
    const taken = await b.meta.create(dir.ino, name("lost"), FILE).then(
      () => true,
      (err: unknown) => {
        expect(codeOf(err)).to.equal("EEXIST");
        return false;
      },
    );
    // Who was first has the name: the other was told that he was not.
    expect(await Promise.all(flushed)).to.deep.equal(["ok", taken ? "EIO" : "ok"]);
    expect((await lookup(b, dir, "kept")).ino).to.equal(kept.ino);
    expect((await lookup(b, dir, "lost")).ino === lost.ino).to.equal(!taken);
    expect(told.filter((what) => what !== "born")).to.deep.equal(taken ? ["stillborn lost"] : []);
    await Promise.allSettled(contents.map((content) => content.close()));
  });
});
