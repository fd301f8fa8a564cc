import { expect } from "chai";
import { Extent, Inode } from "../../proto/gen/types.js";
import { withFields } from "../../proto/with-fields.js";
import { inode as make } from "../support/inode.js";

describe("withFields", () => {
  it("keeps the fields of a received message that were not sent, and leaves it alone", () => {
    const sent = make(5);
    const received = Inode.decode(Inode.encode(sent).finish());
    const changed = withFields(received, { size: 7 });
    for (const key of Object.keys(sent) as (keyof Inode)[]) {
      expect(changed[key], key).to.deep.equal(key === "size" ? 7 : sent[key]);
    }
    expect(received.size).to.equal(0);
    expect(Inode.decode(Inode.encode(changed).finish())).to.deep.equal(changed);
  });

  it("gives back what it was told to even where that is a default", () => {
    const extent = Extent.decode(Extent.encode({ offset: 4, length: 5, block: 6, blockOffset: 7 }).finish());
    expect(withFields(extent, { offset: 0 })).to.deep.include({ offset: 0, length: 5, block: 6, blockOffset: 7 });
  });
});
