import { expect } from "chai";
import { fullTime, human, modeText, typeName } from "../../cli/fs/format.js";
import { join, normalize, split } from "../../cli/fs/paths.js";
import { parallel } from "../../cli/fs/walk.js";
import { table } from "../../cli/table.js";

describe("what people read", () => {
  it("sizes are as ls -h shows them", () => {
    const shown: [number, string][] = [
      [0, "0"],
      [1023, "1023"],
      [1024, "1.0K"],
      [1025, "1.1K"],
      [10 * 1024 + 1, "11K"],
      [64 * 2 ** 20, "64M"],
      [1.5 * 2 ** 40, "1.5T"],
    ];
    for (const [bytes, text] of shown) expect(human(bytes)).to.equal(text);
  });

  it("modes are as ls -l shows them", () => {
    const shown: [number, string][] = [
      [0o100644, "-rw-r--r--"],
      [0o040755, "drwxr-xr-x"],
      [0o041777, "drwxrwxrwt"],
      [0o106755, "-rwsr-sr-x"],
      [0o104644, "-rwSr--r--"],
      [0o120777, "lrwxrwxrwx"],
      [0o010600, "prw-------"],
    ];
    for (const [mode, text] of shown) expect(modeText(mode)).to.equal(text);
    expect(typeName(0o040755)).to.equal("directory");
  });

  it("times have all their nanoseconds", () => {
    expect(fullTime({ sec: 1_000_000_000, nsec: 7 })).to.equal("2001-09-09T01:46:40.000000007Z");
    expect(fullTime({ sec: -1, nsec: 500_000_000 })).to.equal("1969-12-31T23:59:59.500000000Z");
  });

  it("tables have columns", () => {
    expect(table(["a", "size"], [["long", "1"]], [1])).to.equal("a     size\nlong     1");
  });
});

describe("paths on the command line", () => {
  it("are made absolute and plain", () => {
    const plain: [string, string][] = [
      ["", "/"],
      ["/", "/"],
      ["a", "/a"],
      ["/a//b/./c/", "/a/b/c"],
      ["/a/../../b", "/b"],
    ];
    for (const [path, normal] of plain) expect(normalize(path), path).to.equal(normal);
    expect(() => normalize("a\0b")).to.throw(/NUL/);
  });

  it("are split into folder and name, and joined as bytes", () => {
    expect(split("/a/b")).to.deep.equal({ parent: "/a", name: Buffer.from("b") });
    expect(split("/a")).to.deep.equal({ parent: "/", name: Buffer.from("a") });
    expect(() => split("/")).to.throw(/root/);
    const name = Buffer.from([0xff]);
    expect(join(Buffer.from("/"), name)).to.deep.equal(Buffer.from([0x2f, 0xff]));
    expect(join(Buffer.from("/a"), name)).to.deep.equal(Buffer.from([0x2f, 0x61, 0x2f, 0xff]));
  });
});

describe("work on many files at once", () => {
  it("is bounded, and tells of the first failure when all under way has ended", async () => {
    let running = 0;
    let most = 0;
    const done: number[] = [];
    const work = async (n: number) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      if (n === 5) throw new Error("five");
      done.push(n);
    };
    await parallel([0, 1, 2, 3, 4], 3, work);
    expect([most, running, done.length]).to.deep.equal([3, 0, 5]);
    const failed = await parallel([0, 5, 1, 2, 3, 4, 6, 7, 8, 9], 2, work).catch((err: Error) => err.message);
    expect(failed).to.equal("five");
    expect(running).to.equal(0);
    expect(done).not.to.include(9);
  });
});
