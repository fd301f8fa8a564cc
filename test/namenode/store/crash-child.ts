// Run by crash.test.ts: makes edits in the data folder given until it is killed, and says which are in the journal.
import { setImmediate } from "node:timers/promises";
import { RealClock } from "../../../common/clock.js";
import { silentLogger } from "../../../common/log.js";
import { openStorage } from "../../../namenode/store/storage.js";
import { applyTestEdit, encodeTestEdit, replay } from "./test-edit.js";

const storage = await openStorage({ folder: process.argv[2]!, clock: new RealClock(), log: silentLogger });
const { store, journal } = storage;
replay(storage);
for (;;) {
  // As many edits a turn as a busy namenode makes, sometimes one.
  const turn = 1 + (journal.lastIndex % 40);
  for (let i = 0; i < turn && store.hasRoom && journal.hasRoom; i++) {
    const index = journal.lastIndex + 1;
    applyTestEdit(store, index);
    store.setIndex(index);
    journal.append(index, encodeTestEdit(index));
  }
  await journal.appended(journal.lastIndex);
  await new Promise<unknown>((done) => process.stdout.write(`${journal.lastIndex}\n`, done));
  await setImmediate();
}
