import { readdirSync } from "node:fs";
import { expect } from "chai";
import { RealClock } from "../../../common/clock.js";
import { silentLogger } from "../../../common/log.js";
import { openStorage } from "../../../namenode/store/storage.js";
import { until } from "../../support/until.js";
import { tempFolder } from "./temp.js";

describe("storage", () => {
  const temp = tempFolder();
  const open = (folder: string) => openStorage({ folder, clock: new RealClock(), log: silentLogger });

  it("needs the journal only for what the store does not have: it is trimmed, and a start replays next to nothing", async () => {
    const folder = temp.path("data");
    const { store, journal, close } = await open(folder);
    const segments = () => readdirSync(`${folder}/journal`).filter((name) => name.endsWith(".log")).length;
    const record = Buffer.alloc(1 << 20, 1);
    let most = 0;
    for (let index = 1; index <= 40; index++) {
      await journal.waitForRoom();
      store.put(`k${index}`, Buffer.from(`v${index}`));
      store.setIndex(index);
      journal.append(index, record);
      most = Math.max(most, segments());
    }
    await journal.synced(40);
    await store.flush();
    await until(() => segments() === 1, { what: "the trim" });
    expect(most).greaterThan(1);
    await close();
    const again = await open(folder);
    expect([again.store.appliedIndex, again.journal.lastIndex]).eql([40, 40]);
    expect([...again.journal.read(again.store.appliedIndex + 1)]).eql([]);
    expect(Buffer.from(again.store.get("k17")!).toString()).equal("v17");
    await again.close();
  });

  it("is open once at a time", async () => {
    const folder = temp.path("once");
    const first = await open(folder);
    const err = await open(folder).catch((e: unknown) => e);
    expect(err).property("code", "EBUSY");
    expect((err as Error).message)
      .contain(folder)
      .and.contain(String(process.pid));
    await first.close();
    await (await open(folder)).close();
  });
});
