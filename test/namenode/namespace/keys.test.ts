import { expect } from "chai";
import fc from "fast-check";
import { digestKey, queueKey, replicasKey, storedKey } from "../../../namenode/blocks/keys.js";
import {
  blockKey,
  CLUSTER,
  callKey,
  datanodeKey,
  dentriesAfter,
  dentriesOf,
  dentryKey,
  dutyKey,
  extentKey,
  extentsOf,
  heldKey,
  holderKey,
  inlineKey,
  inodeKey,
  lockingKey,
  nameOfDentry,
  offsetOfExtent,
  readU64,
  reclaimKey,
  sessionOfCall,
  u64,
  xattrKey,
} from "../../../namenode/namespace/keys.js";
import type { Key } from "../../../namenode/store/kv.js";

const number = fc.oneof(fc.maxSafeNat(), fc.nat(300), fc.constantFrom(2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER));
const nameBytes = fc.uint8Array({ minLength: 1, maxLength: 8 });

describe("keys of the store", () => {
  it("order numbers as numbers, and give them back", () => {
    fc.assert(
      fc.property(number, number, (a, b) => {
        expect(u64(a)).to.have.length(8);
        expect(readU64(u64(a), 0)).to.equal(a);
        expect(u64(a) < u64(b)).to.equal(a < b);
      }),
    );
  });

  it("order names by their bytes within a directory, and give them back", () => {
    fc.assert(
      fc.property(number, nameBytes, nameBytes, (dir, a, b) => {
        const [keyA, keyB] = [dentryKey(dir, a), dentryKey(dir, b)];
        expect(nameOfDentry(keyA)).to.deep.equal(Buffer.from(a));
        expect(Math.sign(Buffer.compare(a, b))).to.equal(keyA < keyB ? -1 : keyA === keyB ? 0 : 1);
        const { gte, lt } = dentriesOf(dir);
        expect(keyA >= gte && keyA < lt).to.equal(true);
        const after = dentriesAfter(dir, a);
        expect(keyB >= after.gte && keyB < after.lt).to.equal(Buffer.compare(b, a) > 0);
      }),
    );
  });

  it("begin with another letter for each kind of record", () => {
    const all: Key[] = [
      CLUSTER,
      inodeKey(1),
      dentryKey(1, Buffer.from("a")),
      extentKey(1, 1),
      blockKey(1),
      inlineKey(1),
    ];
    all.push(xattrKey(1, Buffer.from("a")), callKey(1, 1), reclaimKey(1, 1), heldKey(1, 1), holderKey(1, 1));
    all.push(
      lockingKey(1),
      datanodeKey(1),
      dutyKey(1),
      replicasKey(1),
      storedKey(1, 1),
      digestKey(1, 1),
      queueKey(1, 1),
    );
    expect(new Set(all.map((key) => key[0])).size).to.equal(all.length);
  });

  it("keep what belongs to different inodes apart", () => {
    fc.assert(
      fc.property(number, number, number, (a, b, offset) => {
        const { gte, lt } = extentsOf(a);
        const key = extentKey(b, offset);
        expect(key >= gte && key < lt).to.equal(a === b);
        expect(offsetOfExtent(key)).to.equal(offset);
        expect(sessionOfCall(callKey(a, b))).to.equal(a);
      }),
    );
  });
});
