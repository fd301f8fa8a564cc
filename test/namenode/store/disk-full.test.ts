import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { expect } from "chai";
import { RealClock } from "../../../common/clock.js";
import { codeOf } from "../../../common/errors.js";
import { silentLogger } from "../../../common/log.js";
import { FileJournal } from "../../../namenode/store/file-journal.js";
import { openLmdbStore } from "../../../namenode/store/lmdb.js";
import { sparePath } from "../../../namenode/store/segment.js";
import { until } from "../../support/until.js";
import { tempFolder } from "./temp.js";

describe("a full disk", () => {
  const temp = tempFolder();
  const failure = (promise: Promise<unknown>) => promise.then(() => undefined, codeOf);
  const options = { clock: new RealClock(), log: silentLogger };
  let disk: string;

  beforeEach(() => {
    disk = temp.path("disk");
    mkdirSync(disk, { recursive: true });
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]);
  });
  afterEach(() => void execFileSync("umount", ["-l", disk]));

  /** Takes all the space there is. Returns what gives it back. */
  function fillDisk(): () => void {
    const path = `${disk}/fill`;
    expect(() => writeFileSync(path, Buffer.alloc(4 << 20))).throw(/ENOSPC/);
    return () => rmSync(path);
  }

  it("fails flushes and loses nothing; the store goes on when there is space", async () => {
    const store = openLmdbStore({ folder: `${disk}/lmdb`, ...options, maxOverlayBytes: 300_000 });
    store.put("before", Buffer.from("1"));
    store.setIndex(1);
    await store.flush();
    const free = fillDisk();
    for (let i = 0; i < 400; i++) store.put(`k${i}`, Buffer.alloc(1000, i));
    store.setIndex(2);
    expect(await failure(store.flush())).equal("ENOSPC");
    expect(store.hasRoom).equal(false);
    expect(await failure(store.waitForRoom())).equal("ENOSPC");
    expect(store.get("k399")).eql(Buffer.alloc(1000, 399));
    free();
    await store.flush();
    expect(store.hasRoom).equal(true);
    expect(store.failure).equal(undefined);
    await store.close();
    const again = openLmdbStore({ folder: `${disk}/lmdb`, ...options });
    expect(again.appliedIndex).equal(2);
    expect(Buffer.from(again.get("k399")!).equals(Buffer.alloc(1000, 399))).equal(true);
    await again.close();
  });

  it("shows in the journal before an edit depends on it, which takes edits again when there is space", async () => {
    const small = { segmentBytes: 256 << 10, maxRecord: 64 << 10 };
    const journal = await FileJournal.open({ folder: `${disk}/journal`, after: 0, ...options, ...small });
    // Until the spare segment has its space, filling the disk would take it away.
    const hasSpare = () =>
      statSync(sparePath(`${disk}/journal`), { throwIfNoEntry: false })?.size === small.segmentBytes;
    await until(hasSpare, { what: "the spare segment" });
    let index = 0;
    const append = async () => {
      journal.append(++index, Buffer.alloc(40_000, index));
      await journal.synced(index);
    };
    await append();
    const free = fillDisk();
    while (journal.hasRoom) await append();
    expect(index).greaterThan(5);
    expect(await failure(journal.waitForRoom())).equal("ENOSPC");
    free();
    while (await failure(journal.waitForRoom())) await new Promise((resolve) => setTimeout(resolve, 50));
    await append();
    await journal.close();
    const again = await FileJournal.open({ folder: `${disk}/journal`, after: 0, ...options, ...small });
    expect(again.lastIndex).equal(index);
    await again.close();
  });

  it("refuses to open a journal without space for a segment", async () => {
    const err = await FileJournal.open({ folder: `${disk}/journal`, after: 0, ...options }).catch((e: unknown) => e);
    expect(codeOf(err)).equal("ENOSPC");
  });
});
