import { expect } from "chai";
import { evictOldest } from "../../common/evict.js";

describe("making room in a map", () => {
  const numbers = (count: number) => new Map(Array.from({ length: count }, (_, i) => [i, i]));

  it("leaves what is not too much alone", () => {
    const map = numbers(100);
    evictOldest(map, 100);
    expect(map.size).to.equal(100);
  });

  it("takes the oldest, a sixteenth at once", () => {
    const map = numbers(101);
    evictOldest(map, 100);
    expect([...map.keys()]).to.deep.equal(Array.from({ length: 94 }, (_, i) => 7 + i));
  });

  it("takes one at a time of a small one, and whoever asks hears which", () => {
    const map = numbers(4);
    const gone: number[] = [];
    evictOldest(map, 3, (key) => {
      gone.push(key);
      map.delete(key);
    });
    expect([gone, [...map.keys()]]).to.deep.equal([[0], [1, 2, 3]]);
  });
});
