import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { until } from "../support/until.js";
import { check } from "./check.js";
import { Load } from "./load.js";
import { contentOf, type Op, Promises } from "./promises.js";

const name = "0/1";
const write = (at: number, length: number, key: string): Op => ({ op: "write", name, at, length, key });
/** Promises after these were done, the last with an outcome. */
function promisesOf(ops: readonly Op[], last: 0 | string = 0): Promises {
  const promises = new Promises();
  for (const [i, op] of ops.entries()) {
    promises.apply({ worker: 0, begin: op });
    promises.apply({ worker: 0, end: i === ops.length - 1 ? last : 0 });
  }
  promises.end();
  return promises;
}
const synced: Op[] = [{ op: "create", name }, write(0, 100, "a"), { op: "fsync", name }];

describe("what a program was promised", () => {
  it("is what it wrote, once an fsync or close has returned", () => {
    const content = contentOf("a", 100);
    const promises = promisesOf(synced);
    expect(promises.problem(name, content)).to.equal(undefined);
    expect(promises.problem(name, content.subarray(0, 99))).to.match(/99 bytes, but 100 were acknowledged/);
    expect(promises.problem(name, Buffer.concat([content, Buffer.alloc(1)]))).to.match(/never more than 100/);
    const altered = Buffer.from(content);
    altered[40] = ~content[40]!;
    expect(promises.problem(name, altered)).to.match(/bytes 40 to 41 of 100 are not the acknowledged ones/);
    expect(promises.problem(name, undefined)).to.equal("it is gone");
    expect(promises.problem("0/2", content)).to.equal("nobody made it");
  });

  it("leaves open which of what is not acknowledged is there, and nothing else", () => {
    const before = contentOf("a", 100);
    const now = Buffer.concat([before.subarray(0, 50), contentOf("b", 100)]);
    for (const promises of [
      promisesOf([...synced, write(50, 100, "b")]),
      promisesOf([...synced, write(50, 100, "b")], "EIO"),
    ]) {
      for (const found of [before, now, now.subarray(0, 120)])
        expect(promises.problem(name, found)).to.equal(undefined);
      expect(promises.problem(name, Buffer.concat([before, Buffer.alloc(50)]))).to.match(
        /byte 1\d\d of 150 is none that/,
      );
      expect(promises.problem(name, now.subarray(0, 99))).to.match(/acknowledged/);
    }
  });

  it("is no name before the file has been closed, synced or renamed", () => {
    const create: Op = { op: "create", name };
    for (const ops of [[create], [create, write(0, 100, "a")]]) {
      const promises = promisesOf(ops);
      for (const found of [undefined, Buffer.alloc(0)]) expect(promises.problem(name, found)).to.equal(undefined);
    }
    expect(promisesOf([create, { op: "close", name }]).problem(name, undefined)).to.equal("it is gone");
    const renamed = promisesOf([create, { op: "rename", name, to: "0/2" }]);
    expect(renamed.problem("0/2", undefined)).to.equal("it is gone");
  });

  it("of names is in doubt only when no answer, or an error, came", () => {
    const content = contentOf("a", 100);
    const to = "0/2";
    const rename: Op = { op: "rename", name, to };
    const renamed = promisesOf([...synced, rename]);
    expect(renamed.problem(to, content)).to.equal(undefined);
    expect(renamed.problem(name, content)).to.equal("it should be gone");
    const unknown = promisesOf([...synced, rename], "ENOTCONN");
    for (const at of [name, to])
      for (const found of [content, undefined]) expect(unknown.problem(at, found)).to.equal(undefined);
    expect(unknown.inDoubt(name) && unknown.inDoubt(to)).to.equal(true);
    expect(unknown.problem(to, Buffer.alloc(100))).to.match(/not the acknowledged ones/);
    expect(promisesOf([...synced, { op: "unlink", name }]).problem(name, content)).to.equal("it should be gone");
    const removed = promisesOf([...synced, { op: "unlink", name }], "EIO");
    for (const found of [content, undefined]) expect(removed.problem(name, found)).to.equal(undefined);
  });
});

describe("the load and its checker, on a local folder", function () {
  this.timeout(120_000);
  let root: string;
  let load: Load;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "cairn-load-"));
    for (const folder of Load.foldersOf(root)) mkdirSync(folder);
    load = new Load(root, `${root}.journal`, 1);
  });
  afterEach(() => {
    load.kill();
    rmSync(root, { recursive: true });
    rmSync(`${root}.journal`);
  });

  it("agree, and find what is lost, altered, or too much", async () => {
    await until(() => load.steps >= 200, { timeoutMs: 60_000, what: "200 steps" });
    load.stop();
    await until(() => load.stopped, { timeoutMs: 60_000, what: "the load to stop" });
    const problems = async () => (await check(`${root}.journal`, root)).problems.join();
    const report = await check(`${root}.journal`, root);
    expect(report.problems).to.deep.equal([]);
    expect(report).to.include({ doubted: 0 });
    expect(report.acknowledged).to.be.greaterThan(200);
    expect(load.progress.errors).to.deep.equal({});

    const victim = readdirSync(join(root, "0"))[0]!;
    const path = join(root, "0", victim);
    const content = readFileSync(path);
    writeFileSync(
      path,
      content.map((byte, i) => (i === content.length - 1 ? ~byte : byte)),
    );
    expect(await problems()).to.match(new RegExp(`0/${victim}: bytes \\d+ to ${content.length} of`));
    appendFileSync(path, "x");
    expect(await problems()).to.match(/never more than/);
    rmSync(path);
    expect(await problems()).to.equal(`0/${victim}: it is gone`);
    writeFileSync(path, content);
    writeFileSync(join(root, "0", "stranger"), "");
    expect(await problems()).to.equal("0/stranger: nobody made it");
  });
});
