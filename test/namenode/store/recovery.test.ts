import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { RealClock } from "../../../common/clock.js";
import { silentLogger } from "../../../common/log.js";
import { FileJournal } from "../../../namenode/store/file-journal.js";
import { frameSize, SEGMENT_HEADER } from "../../../namenode/store/record.js";
import { tempFolder } from "./temp.js";

const SIZE = 100;
const FRAME = frameSize(SIZE);
const record = (index: number) => Buffer.alloc(SIZE, index);

describe("recovery of the journal", () => {
  const temp = tempFolder();
  let made = 0;

  const open = (folder: string, after = 0) =>
    FileJournal.open({
      folder,
      after,
      clock: new RealClock(),
      log: silentLogger,
      syncIntervalMs: 1_000_000,
      segmentBytes: 2048,
      maxRecord: 1000,
    });

  /** A journal of `count` records in a folder of its own; `syncEach`: each is on the disk before the next is made. */
  async function make(count: number, syncEach: boolean): Promise<string> {
    const folder = temp.path(`j${made++}`);
    const journal = await open(folder);
    for (let i = 1; i <= count; i++) {
      await journal.waitForRoom();
      journal.append(i, record(i));
      if (syncEach) await journal.synced(i);
      else await journal.appended(i);
    }
    // As a process that is killed leaves it: what has been written is there.
    const copy = temp.path(`j${made++}`);
    cpSync(folder, copy, { recursive: true });
    await journal.close();
    return copy;
  }

  const segments = (folder: string) =>
    readdirSync(folder)
      .filter((name) => name.endsWith(".log"))
      .sort()
      .map((name) => join(folder, name));

  function flip(path: string, offset: number): void {
    const bytes = readFileSync(path);
    bytes[offset]! ^= 0x55;
    writeFileSync(path, bytes);
  }

  /** Opens, checks that the records 1..last are there and right, that it can go on, and that it opens again. */
  async function expectRecords(folder: string, last: number, after = 0): Promise<void> {
    const journal = await open(folder, after);
    expect(journal.lastIndex).equal(last);
    const next = journal.lastIndex + 1;
    await journal.waitForRoom();
    journal.append(next, record(next));
    await journal.close();
    const again = await open(folder, after);
    const found = [...again.read(after + 1)].map((entry) => {
      expect(Buffer.from(entry.record).equals(record(entry.index))).equal(true);
      return entry.index;
    });
    expect(found).eql(Array.from({ length: next - after }, (_, i) => after + 1 + i));
    await again.close();
  }

  async function expectDamage(folder: string, message: RegExp, after = 0): Promise<void> {
    const err = await open(folder, after).then(
      (journal) => journal.close(),
      (err: unknown) => err,
    );
    expect(err).instanceOf(Error);
    expect(err).property("code", "EIO");
    expect((err as Error).message).match(message);
  }

  const at = (index: number) => SEGMENT_HEADER + (index - 1) * FRAME;

  it("has every record of a process that was killed, synced or not", async () => {
    await expectRecords(await make(40, false), 40);
  });

  it("cuts off the last record wherever it is torn, and keeps all before it", async () => {
    const source = await make(4, true);
    const [segment] = segments(source) as [string];
    const whole = readFileSync(segment);
    const folder = temp.path("torn");
    for (let cut = at(4); cut < at(4) + 24 + SIZE; cut += 3) {
      for (const how of ["zeros", "flip", "truncate"] as const) {
        rmSync(folder, { recursive: true, force: true });
        mkdirSync(folder);
        const path = join(folder, "0000000000000001.log");
        const bytes = Buffer.from(whole);
        if (how === "flip") bytes[cut]! ^= 1;
        else bytes.fill(0, cut);
        writeFileSync(path, bytes);
        if (how === "truncate") truncateSync(path, cut);
        const journal = await open(folder);
        expect(journal.lastIndex, `${how} at ${cut}`).equal(how === "flip" || cut < at(4) + 24 + SIZE ? 3 : 4);
        expect([...journal.read(1)].map((entry) => entry.index)).eql([1, 2, 3]);
        await journal.close();
      }
    }
    await expectRecords(folder, 3);
  });

  it("never takes what it cut off for a record again", async () => {
    const folder = await make(8, false);
    flip(segments(folder)[0]!, at(5) + 50);
    const journal = await open(folder);
    expect(journal.lastIndex).equal(4);
    journal.append(5, Buffer.alloc(10, 5));
    await journal.close();
    const again = await open(folder);
    expect([...again.read(1)].map((entry) => entry.index)).eql([1, 2, 3, 4, 5]);
    await again.close();
  });

  it("cuts at a record that was lost with the power before it was synced, though later ones were not", async () => {
    const folder = await make(8, false);
    const [segment] = segments(folder) as [string];
    const bytes = readFileSync(segment);
    bytes.fill(0, at(5), at(6));
    writeFileSync(segment, bytes);
    await expectRecords(folder, 4);
  });

  it("refuses to open when a record that was on the disk is damaged, wherever", async () => {
    const source = await make(5, true);
    for (let offset = at(3); offset < at(3) + 24 + SIZE; offset += 7) {
      const folder = temp.path(`damaged-${offset}`);
      cpSync(source, folder, { recursive: true });
      flip(segments(folder)[0]!, offset);
      await expectDamage(folder, /record 3 was on the disk and cannot be read, while record [45] /);
    }
  });

  it("refuses to open without a segment in the middle, or at the beginning", async () => {
    const folder = await make(60, true);
    const all = segments(folder);
    expect(all.length).greaterThan(3);
    const kept = temp.path("kept");
    copyFileSync(all[1]!, kept);
    rmSync(all[1]!);
    await expectDamage(folder, /cannot be read, while record \d+ in .* can/);
    copyFileSync(kept, all[1]!);
    await expectRecords(folder, 60);
    rmSync(all[0]!);
    await expectDamage(folder, /the store has the edits up to 0, the journal those from \d+ on/);
  });

  it("refuses a segment that does not begin as one", async () => {
    const folder = await make(3, true);
    flip(segments(folder)[0]!, 9);
    await expectDamage(folder, /does not begin as a segment/);
  });

  it("passes over a last segment whose beginning never reached the disk", async () => {
    const folder = await make(20, false);
    const all = segments(folder);
    const path = all.at(-1)!;
    const first = Number.parseInt(path.slice(-20, -4), 10);
    const bytes = readFileSync(path);
    bytes.fill(0, 0, 4 * FRAME);
    writeFileSync(path, bytes);
    await expectRecords(folder, first - 1);
  });

  it("does not mind damage in what the store has already", async () => {
    const folder = await make(10, true);
    flip(segments(folder)[0]!, at(3) + 40);
    await expectRecords(folder, 10, 5);
  });

  it("does mind damage in the first record that the store has not", async () => {
    const folder = await make(10, true);
    flip(segments(folder)[0]!, at(6) + 40);
    await expectDamage(folder, /record 6 /, 5);
  });

  it("starts anew after the store's last edit when the store has got further", async () => {
    await expectRecords(await make(20, true), 30, 30);
    await expectRecords(await make(20, true), 20, 20);
  });

  it("removes segments that the store needs no more", async () => {
    const folder = await make(60, true);
    const journal = await open(folder, 59);
    expect(segments(folder).length).lessThan(3);
    expect([...journal.read(60)].map((entry) => entry.index)).eql([60]);
    await journal.close();
  });

  it("is not deceived by a record within a record", async () => {
    const source = await make(3, true);
    const inner = readFileSync(segments(source)[0]!).subarray(at(2), at(4));
    const folder = temp.path("inner");
    const journal = await open(folder);
    journal.append(1, inner);
    await journal.close();
    flip(segments(folder)[0]!, SEGMENT_HEADER + 1);
    await expectRecords(folder, 0);
  });
});
