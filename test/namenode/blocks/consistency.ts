import { expect } from "chai";
import { CORRUPT_SLOT, Counters } from "../../../namenode/blocks/counters.js";
import {
  blockOfQueue,
  blockOfStored,
  decodeDigest,
  decodeStored,
  rangeOfDigest,
  regionOfKey,
} from "../../../namenode/blocks/keys.js";
import { SURPLUS } from "../../../namenode/blocks/repair-queue.js";
import { readU64 } from "../../../namenode/namespace/keys.js";
import { type KeyValue, prefixEnd } from "../../../namenode/store/kv.js";
import { RangeDigests } from "../../../proto/digest.js";
import { ReplicasRecord } from "../../../proto/gen/types.js";

const all = (kv: KeyValue, letter: string) => [...kv.range({ gte: letter, lt: prefixEnd(letter) })];
const datanodeOf = (key: string) => readU64(`\0\0\0\0${key.slice(1, 5)}`, 0);

/** Checks that the hints of a store say the same in all four places, and that the counters are right. */
export function expectConsistent(kv: KeyValue): void {
  const byBlock: string[] = [];
  const queued: string[] = [];
  let corrupt = 0;
  for (const [key, value] of all(kv, "L")) {
    const block = readU64(key, 1);
    const record = ReplicasRecord.decode(value);
    for (const r of record.replicas) {
      byBlock.push(`${r.datanode} ${block} ${r.generation}`);
      if (r.corrupt) corrupt++;
    }
    if (record.queued > 0) queued.push(`${record.queued - 1} ${block}`);
  }
  const byDatanode: string[] = [];
  const digests = new Map<number, RangeDigests>();
  for (const [key, value] of all(kv, "N")) {
    const stored = decodeStored(value);
    const datanode = datanodeOf(key);
    byDatanode.push(`${datanode} ${blockOfStored(key)} ${stored.generation}`);
    const digest = digests.get(datanode) ?? new RangeDigests();
    digests.set(datanode, digest);
    digest.add({ id: blockOfStored(key), ...stored });
  }
  expect(byDatanode.sort(), "N says what L says").to.deep.equal(byBlock.sort());
  const byNumber = [...digests].sort(([a], [b]) => a - b);
  const sums = all(kv, "G");
  const ranges = sums
    .filter(([key]) => key[1] !== "\xff")
    .map(([key, value]) => ({ datanode: datanodeOf(key), ...decodeDigest(rangeOfDigest(key), value) }));
  expect(ranges, "G sums N up").to.deep.equal(
    byNumber.flatMap(([datanode, d]) => d.regions().flatMap((r) => d.within(r.range).map((s) => ({ datanode, ...s })))),
  );
  const regions = sums
    .filter(([key]) => key[1] === "\xff")
    .map(([key, value]) => ({ datanode: datanodeOf(key.slice(1)), ...decodeDigest(regionOfKey(key), value) }));
  expect(regions, "G sums the ranges up").to.deep.equal(
    byNumber.flatMap(([datanode, d]) => d.regions().map((s) => ({ datanode, ...s }))),
  );
  const inQueue = all(kv, "U").filter(([key]) => key.length > 2);
  expect(
    inQueue.map(([key]) => `${key.charCodeAt(1)} ${blockOfQueue(key)}`).sort(),
    "U says what L says",
  ).to.deep.equal(queued.sort());
  const counters = new Counters(kv);
  for (let level = 0; level <= SURPLUS; level++) {
    const there = inQueue.filter(([key]) => key.charCodeAt(1) === level).length;
    expect(counters.get(level), `count of level ${level}`).to.equal(there);
  }
  expect(counters.get(CORRUPT_SLOT), "count of corrupt replicas").to.equal(corrupt);
}
