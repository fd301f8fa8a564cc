import { expect } from "chai";
import { DiskPace } from "../../client/disk-pace.js";
import { KIB, MIB } from "../../common/limits.js";

describe("the pace of a disk", () => {
  let diskReads = 0;
  let pace: DiskPace;
  beforeEach(() => {
    pace = new DiskPace(() => diskReads);
  });

  /** Reads in threads until one may be done in place again; returns how many that took. */
  function aside(): number {
    let reads = 0;
    for (; !pace.isPrompt; reads++) pace.readAside();
    return reads;
  }

  function slowRead(): void {
    diskReads++;
    pace.readInPlace(10, 4 * KIB);
  }

  it("lets reads be done in place while they are quick, large ones taking longer", () => {
    diskReads++;
    pace.readInPlace(0.1, 64 * KIB);
    pace.readInPlace(1.2, MIB);
    pace.readAside();
    expect(pace.isPrompt).to.equal(true);
    pace.readInPlace(1.2, 64 * KIB);
    expect(pace.isPrompt).to.equal(false);
  });

  it("does not take for the disk's what a busy machine made slow, within limits", () => {
    pace.readInPlace(15, 4 * KIB);
    expect(pace.isPrompt).to.equal(true);
    pace.readInPlace(25, 4 * KIB);
    expect(pace.isPrompt).to.equal(false);
  });

  it("tries ever more seldom while the disk has to be waited for, and soon again when it has not", () => {
    const waits = Array.from({ length: 12 }, () => {
      slowRead();
      return aside();
    });
    expect(waits).to.deep.equal([16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 4096, 4096, 4096]);
    for (let i = 0; i < 20; i++) pace.readInPlace(0.01, 4 * KIB);
    slowRead();
    expect(aside()).to.equal(16);
  });

  it("does not try a disk from which no read comes back", () => {
    slowRead();
    for (let i = 0; i < 1000; i++) expect(pace.isPrompt).to.equal(false);
  });
});
