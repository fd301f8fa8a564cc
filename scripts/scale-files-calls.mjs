// What scale-files.mjs asks a namenode: calls of several kinds about files chosen by chance, one at a time or many.
import { Namenode } from "../dist/proto/gen/services.js";
import { fileName } from "./scale-files-tree.mjs";

/** Calls under way at a time, where they are many. */
const IN_FLIGHT = 32;

/** The kinds of calls that are timed, and how many of them in a round. */
export const KINDS = {
  lookup: { count: 500, call: ({ dir, name }) => [Namenode.lookup, { dir, name }] },
  getInode: { count: 500, call: ({ ino }) => [Namenode.getInode, { ino }] },
  getExtents: {
    count: 500,
    call: ({ ino }) => [Namenode.getExtents, { ino, offset: 0, length: 2 ** 30, limit: 10, host: "host1" }],
  },
  "readDirectory (1,000 names)": {
    count: 20,
    call: ({ dir }) => [Namenode.readDirectory, { dir, after: Buffer.alloc(0), limit: 1_000 }],
  },
};

/** One of the files of a tree, by chance. */
export const anyFile = (tree) => tree.file(Math.floor(Math.random() * tree.files));

/** Makes so many calls of a kind, one after the other. @returns the milliseconds of each */
export async function timed({ count, call }, { namenode, tree }) {
  const times = [];
  for (let n = 0; n < count; n++) {
    const asked = call(anyFile(tree));
    const began = performance.now();
    await namenode.client.call(...asked);
    times.push(performance.now() - began);
  }
  return times;
}

/** Looks so many names up, many at a time. @returns processor time of the namenode for one, µs */
export async function busy({ namenode, tree }, count) {
  const before = namenode.cpuMs;
  let left = count;
  const work = async () => {
    while (left-- > 0) await namenode.client.call(...KINDS.lookup.call(anyFile(tree)));
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  return ((namenode.cpuMs - before) * 1000) / count;
}

/** Creates files as fast as the namenode takes them, until the connection breaks. */
export async function create({ client }) {
  const session = 1 + Math.floor(Math.random() * 2 ** 40);
  await client.call(Namenode.openSession, { session, name: "scale", host: "" });
  let sequence = 0;
  const call = () => ({ session, sequence: ++sequence, doneBelow: Math.max(1, sequence - IN_FLIGHT) });
  const folder = { call: call(), dir: 1, name: Buffer.from(`load-${session}`), mode: 0o40755 };
  const { inode } = await client.call(Namenode.create, folder);
  const work = async () => {
    while (client.isOpen) {
      const name = fileName(sequence);
      await client.call(Namenode.create, { call: call(), dir: inode.ino, name, mode: 0o100644 });
    }
  };
  await Promise.allSettled(Array.from({ length: IN_FLIGHT }, work));
}

/** That share of a list is below the result; 0.5: the median. */
export function at(list, share) {
  return [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * share))];
}

export const median = (list) => at(list, 0.5);

/** Measures both sides, one after the other in turn. @returns the medians of both, and of the ratio in a round */
export async function inPairs(sides, rounds, measure) {
  const found = [];
  for (let round = 0; round < rounds; round++) {
    const pair = [];
    for (const side of round % 2 === 0 ? [0, 1] : [1, 0]) pair[side] = await measure(sides[side]);
    found.push(pair);
  }
  const middle = (of) => median(found.map(of));
  return { few: middle((p) => p[0]), many: middle((p) => p[1]), ratio: middle((p) => p[1] / p[0]) };
}
