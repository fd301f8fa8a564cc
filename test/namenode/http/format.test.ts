import { expect } from "chai";
import fc from "fast-check";
import { bytes, clock, count, duration, number, percent } from "../../../namenode/http/assets/format.js";

describe("namenode/http/assets/format", () => {
  it("gives bytes three digits, in powers of 1024", () => {
    const cases: [number, string][] = [
      [0, "0 B"],
      [999, "999 B"],
      [1000, "0.98 KiB"],
      [1024, "1.00 KiB"],
      [64 * 2 ** 20, "64.0 MiB"],
      [512 * 2 ** 30, "512 GiB"],
      [1023 * 2 ** 30, "1.00 TiB"],
      [Number.MAX_SAFE_INTEGER, "8.00 PiB"],
    ];
    for (const [n, text] of cases) expect(bytes(n)).to.equal(text);
  });

  it("never shows more than three digits of bytes, nor strays from them", () => {
    const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    fc.assert(
      fc.property(fc.maxSafeNat(), (n) => {
        const [digits, unit] = bytes(n).split(" ") as [string, string];
        expect(digits.replace(".", "").length).to.be.at.most(3);
        expect(Number(digits) * 1024 ** UNITS.indexOf(unit)).to.be.closeTo(n, Math.max(0.5, n * 0.0052));
      }),
    );
  });

  it("counts", () => {
    expect(number(1_234_567)).to.equal("1,234,567");
    expect([count(0, "block"), count(1, "block"), count(1200, "block")]).to.deep.equal([
      "0 blocks",
      "1 block",
      "1,200 blocks",
    ]);
  });

  it("rounds shares without claiming none or all of what is not", () => {
    const shares = [percent(0, 10), percent(1, 1000), percent(1, 4), percent(999, 1000), percent(7, 7), percent(0, 0)];
    expect(shares).to.deep.equal(["0%", "<1%", "25%", "99%", "100%", "0%"]);
  });

  it("gives a stretch of time in its largest unit", () => {
    const texts = [-5, 0, 2_900, 59_999, 60_000, 3_599_999, 3_600_000, 47 * 3_600_000, 48 * 3_600_000].map(duration);
    expect(texts).to.deep.equal(["0 s", "0 s", "2 s", "59 s", "1 min", "59 min", "1 h", "47 h", "2 d"]);
  });

  it("names the day only of another day", () => {
    const noon = new Date(2025, 2, 3, 12, 4, 5).getTime();
    expect(clock(noon, noon + 1000)).to.equal("12:04:05");
    expect(clock(noon, noon + 86_400_000)).to.equal("3 Mar 12:04:05");
  });
});
