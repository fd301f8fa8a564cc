import { expect } from "chai";
import { RealClock } from "../../../common/clock.js";
import { codeOf } from "../../../common/errors.js";
import { silentLogger } from "../../../common/log.js";
import { encodeNumber, openDatabases, openLmdbStore } from "../../../namenode/store/lmdb.js";
import { tempFolder } from "./temp.js";

describe("the store in LMDB", () => {
  const temp = tempFolder();
  const openAt = (name: string) =>
    openLmdbStore({ folder: temp.path(name), clock: new RealClock(), log: silentLogger });

  it("has everything again after it was closed, with the index of the last edit", async () => {
    const first = openAt("reopened");
    expect(first.appliedIndex).equal(0);
    for (let i = 0; i < 10_000; i++) first.put(`k${i}`, Buffer.from(`v${i}`));
    for (let i = 0; i < 10_000; i += 3) first.delete(`k${i}`);
    first.setIndex(41);
    await first.flush();
    first.put("later", Buffer.from("too"));
    first.delete("k1");
    first.setIndex(42);
    await first.close();
    const second = openAt("reopened");
    expect(second.appliedIndex).equal(42);
    for (let i = 2; i < 10_000; i++) expect(second.get(`k${i}`)?.toString()).equal(i % 3 === 0 ? undefined : `v${i}`);
    expect([second.get("k1"), second.get("later")?.toString()]).eql([undefined, "too"]);
    expect([...second.range({ gte: "k", lt: "l" })]).length(6665);
    await second.close();
  });

  it("tells when an edit is on the disk", async () => {
    const store = openAt("durable");
    const durable: number[] = [];
    store.onDurable((index) => durable.push(index));
    store.put("a", Buffer.from("1"));
    store.setIndex(1);
    await store.flush();
    expect(durable).eql([1]);
    await store.close();
  });

  it("is kept by a snapshot as it was, whatever is written later", async () => {
    const store = openAt("snapshot");
    for (let i = 0; i < 1000; i++) store.put(`k${1000 + i}`, Buffer.from(`v${i}`));
    store.setIndex(7);
    const snapshot = await store.snapshot();
    for (let i = 0; i < 1000; i += 2) store.delete(`k${1000 + i}`);
    store.put("new", Buffer.from("x"));
    store.setIndex(8);
    await store.flush();
    const later = await store.snapshot();
    expect([snapshot.index, later.index]).eql([7, 8]);
    expect([...snapshot.range({ gte: "a", lt: "z" })].map(([, v]) => Buffer.from(v).toString())).eql(
      Array.from({ length: 1000 }, (_, i) => `v${i}`),
    );
    expect([...later.range({ gte: "a", lt: "z" })]).length(501);
    expect([snapshot.get("new"), snapshot.get("k1000")?.toString()]).eql([undefined, "v0"]);
    expect([later.get("new")?.toString(), later.get("k1000"), later.get("k1001")?.toString()]).eql([
      "x",
      undefined,
      "v1",
    ]);
    snapshot.close();
    later.close();
    expect(store.get("k1000")).equal(undefined);
    await store.close();
  });

  it("closes its snapshots with it: who reads on is refused", async () => {
    const store = openAt("closed");
    store.put("a", Buffer.from("1"));
    store.put("b", Buffer.from("2"));
    const snapshot = await store.snapshot();
    const entries = snapshot.range({ gte: "a", lt: "z" });
    await store.close();
    expect(() => snapshot.get("a")).throw(/closed/);
    expect(() => entries.next()).throw(/closed/);
    snapshot.close();
    expect(await store.snapshot().then(() => "none", codeOf)).equal("ECANCELED");
  });

  it("refuses a database of another format", async () => {
    const db = openDatabases(temp.path("format"));
    db.meta.putSync("format", encodeNumber(99));
    await db.root.close();
    expect(() => openAt("format")).throw(/format 99, not 1/);
  });
});
