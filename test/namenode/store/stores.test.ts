import { RealClock } from "../../../common/clock.js";
import { silentLogger } from "../../../common/log.js";
import { LayeredStore } from "../../../namenode/store/layered-store.js";
import { openLmdbStore } from "../../../namenode/store/lmdb.js";
import { MemoryStore } from "../../../namenode/store/memory.js";
import { describeKeyValue, type Subject } from "./conformance.js";
import { ManualClock } from "./manual-clock.js";
import { MemoryBase } from "./memory-base.js";
import { tempFolder } from "./temp.js";

describe("stores", () => {
  const temp = tempFolder();

  describeKeyValue("MemoryStore", async () => ({ kv: new MemoryStore() }));

  describeKeyValue("LayeredStore, flushes at any point", async (): Promise<Subject> => {
    const base = new MemoryBase();
    const kv = new LayeredStore({ base, clock: new ManualClock(), log: silentLogger });
    return { kv, disturb: () => void kv.flush(), settle: () => base.end() };
  });

  describeKeyValue("LMDB, flushes at any point", async (): Promise<Subject> => {
    const kv = openLmdbStore({ folder: temp.path("lmdb"), clock: new RealClock(), log: silentLogger });
    return { kv, disturb: () => void kv.flush(), settle: () => kv.flush(), close: () => kv.close() };
  });
});
