import { readdirSync, rmSync } from "node:fs";
import { expect } from "chai";
import { RealClock } from "../../../common/clock.js";
import { CairnError, InvariantError } from "../../../common/errors.js";
import { silentLogger } from "../../../common/log.js";
import { FileJournal } from "../../../namenode/store/file-journal.js";
import type { Journal } from "../../../namenode/store/journal.js";
import { MemoryJournal } from "../../../namenode/store/memory-journal.js";
import { until } from "../../support/until.js";
import { tempFolder } from "./temp.js";

const SMALL = { segmentBytes: 4096, maxRecord: 1000 };
const record = (index: number) => Buffer.alloc(20 + ((index * 37) % 900), index);
const contents = (journal: Journal, from: number) =>
  [...journal.read(from)].map((entry) => ({ index: entry.index, record: Buffer.from(entry.record) }));
const expected = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => ({ index: from + i, record: record(from + i) }));

async function fill(journal: Journal, to: number): Promise<void> {
  while (journal.lastIndex < to) {
    await journal.waitForRoom();
    const index = journal.lastIndex + 1;
    journal.append(index, record(index));
  }
  await journal.appended(to);
}

/** The tests that every Journal passes. */
function describeJournal(name: string, make: (after: number, syncIntervalMs?: number) => Promise<Journal>): void {
  describe(`Journal: ${name}`, () => {
    let journal: Journal;
    const open = async (...args: Parameters<typeof make>) => {
      journal = await make(...args);
      return journal;
    };
    afterEach(() => journal.close());

    it("begins after the store's last edit, with nothing to sync", async () => {
      await open(7);
      expect([journal.lastIndex, journal.syncedIndex]).eql([7, 7]);
      expect(contents(journal, 8)).eql([]);
      await journal.synced(7);
    });

    it("gives back what was appended, from any index on", async () => {
      await open(7);
      await fill(journal, 60);
      expect(contents(journal, 8)).eql(expected(8, 60));
      expect(contents(journal, 33)).eql(expected(33, 60));
      expect(contents(journal, 61)).eql([]);
    });

    it("keeps a copy of a record", async () => {
      await open(0);
      const mine = Buffer.from(record(1));
      journal.append(1, mine);
      mine.fill(0);
      await journal.appended(1);
      expect(contents(journal, 1)).eql(expected(1, 1));
    });

    it("takes only the record after the last", async () => {
      await open(0);
      expect(() => journal.append(2, record(2))).throw(InvariantError);
      journal.append(1, record(1));
      expect(() => journal.append(1, record(1))).throw(InvariantError);
      journal.append(2, record(2));
      await journal.appended(2);
    });

    it("syncs by itself within its interval", async () => {
      await open(0, 10);
      const reported: number[] = [];
      journal.onSynced((index) => reported.push(index));
      await fill(journal, 3);
      await until(() => journal.syncedIndex === 3, { what: "the sync" });
      expect(reported.at(-1)).equal(3);
    });

    it("syncs at once for those who wait, and not for others", async () => {
      await open(0, 1_000_000);
      await fill(journal, 2);
      expect(journal.syncedIndex).equal(0);
      journal.append(3, record(3));
      const reported: number[] = [];
      journal.onSynced((index) => reported.push(index));
      await Promise.all([journal.synced(3), journal.synced(1)]);
      expect(journal.syncedIndex).equal(3);
      expect(reported.at(-1)).equal(3);
    });

    it("syncs every record with an interval of 0", async () => {
      await open(0, 0);
      await fill(journal, 5);
      await until(() => journal.syncedIndex === 5, { what: "the sync" });
    });

    it("lets records go that are trimmed, and keeps the others", async () => {
      await open(0);
      await fill(journal, 100);
      await journal.trim(51);
      expect(contents(journal, 51)).eql(expected(51, 100));
      expect(() => contents(journal, 1)).throw(CairnError, /record 1 /);
      await journal.trim(1000);
      await fill(journal, 110);
      expect(contents(journal, 101)).eql(expected(101, 110));
    });
  });
}

describe("journals", () => {
  const temp = tempFolder();
  let folders = 0;
  const options = (folder: string, after = 0) => ({
    folder,
    after,
    clock: new RealClock(),
    log: silentLogger,
    ...SMALL,
  });

  describeJournal("MemoryJournal", async (after, syncIntervalMs = 100) => new MemoryJournal({ after, syncIntervalMs }));

  describeJournal("FileJournal", (after, syncIntervalMs = 100) =>
    FileJournal.open({ ...options(temp.path(`journal-${folders++}`), after), syncIntervalMs }),
  );

  describe("FileJournal", () => {
    it("has everything again after it was closed", async () => {
      const folder = temp.path("reopened");
      const first = await FileJournal.open(options(folder));
      await fill(first, 50);
      await first.close();
      const second = await FileJournal.open(options(folder));
      expect([second.lastIndex, second.syncedIndex]).eql([50, 50]);
      await fill(second, 70);
      expect(contents(second, 1)).eql(expected(1, 70));
      await second.close();
    });

    it("writes the records of a turn together, before anyone is told", async () => {
      const folder = temp.path("turn");
      const journal = await FileJournal.open(options(folder));
      journal.append(1, record(1));
      journal.append(2, record(2));
      expect(contents(journal, 1)).eql([]);
      await Promise.race([journal.appended(1), journal.appended(2)]);
      expect(contents(journal, 1)).eql(expected(1, 2));
      await journal.close();
    });

    it("takes records larger than what it gathers in memory, between others", async () => {
      const folder = temp.path("large");
      const journal = await FileJournal.open({ ...options(folder), segmentBytes: 8 << 20, maxRecord: 3 << 20 });
      const sizes = [100, 3 << 20, 5, 900_000, 900_000, 2 << 20, 0];
      for (const [i, size] of sizes.entries()) {
        await journal.waitForRoom();
        journal.append(i + 1, Buffer.alloc(size, i));
      }
      await journal.appended(sizes.length);
      const lengths = [...journal.read(1)].map(({ index, record }) => {
        expect(record.every((byte) => byte === index - 1)).equal(true);
        return record.length;
      });
      expect(lengths).eql(sizes);
      await journal.close();
      const again = await FileJournal.open({ ...options(folder), segmentBytes: 8 << 20, maxRecord: 3 << 20 });
      expect(again.lastIndex).equal(sizes.length);
      await again.close();
    });

    it("removes the segments that are trimmed, but never the one it writes", async () => {
      const folder = temp.path("trimmed");
      const journal = await FileJournal.open(options(folder));
      const segments = () => readdirSync(folder).filter((name) => name.endsWith(".log"));
      await fill(journal, 100);
      expect(segments().length).greaterThan(5);
      await journal.trim(101);
      expect(segments()).length(1);
      await journal.close();
    });

    it("refuses records without room, and has room again when a segment is prepared", async () => {
      const journal = await FileJournal.open(options(temp.path("room")));
      let index = 0;
      while (journal.hasRoom) journal.append(++index, Buffer.alloc(1000));
      expect(index).within(3, 8);
      expect(() => {
        for (let i = 0; i < 4; i++) journal.append(++index, Buffer.alloc(1000));
      }).throw(InvariantError, /room/);
      await journal.waitForRoom();
      expect(journal.hasRoom).equal(true);
      await journal.close();
    });

    it("stops everything when it cannot be written", async () => {
      const folder = temp.path("broken");
      const fatal: InvariantError[] = [];
      const journal = await FileJournal.open({ ...options(folder), onFatal: (err) => fatal.push(err) });
      while (journal.lastIndex < 3) journal.append(journal.lastIndex + 1, Buffer.alloc(1000));
      await journal.waitForRoom();
      // The segment is full: the next record goes into the spare, which cannot be taken into use any more.
      rmSync(folder, { recursive: true });
      let thrown: unknown;
      try {
        journal.append(4, Buffer.alloc(1000));
      } catch (err) {
        thrown = err;
      }
      expect(thrown).instanceOf(InvariantError);
      expect(fatal).eql([thrown]);
      expect(() => journal.append(journal.lastIndex + 1, record(1))).throw(InvariantError);
      expect(await journal.synced(4).catch((err: unknown) => err)).equal(thrown);
      await journal.close();
    });
  });
});
