import { expect } from "chai";
import fc from "fast-check";
import { type Block, Duty, ReplicaChangeState as State } from "../../../proto/gen/types.js";
import { SETTINGS, TestCluster, type TestDatanode } from "./cluster.js";
import { expectConsistent } from "./consistency.js";

const NODES = 6;
const RACKS = ["/a", "/a", "/a", "/b", "/b", "/c"];
const GIB = 2 ** 30;
interface Known {
  block: Block;
  wanted: number;
  /** The fewest replicas ever wanted: a deletion may have been commanded when that held. */
  least: number;
  lost: boolean;
}
interface Damage {
  do: "free" | "wanted" | "corrupt" | "lose";
  pick: number;
  node: number;
  wanted: number;
}
type Step =
  | Damage
  | { do: "commit"; node: number; copies: number; wanted: number }
  | { do: "disconnect" | "connect" | "tire" | "wake" | "report" | "fill" | "empty"; node: number }
  | { do: "decommission" | "maintenance" | "recommission"; node: number }
  | { do: "restart" | "balance" }
  | { do: "wait"; ms: number };

const node = fc.nat(NODES - 1);
const wanted = fc.integer({ min: 1, max: 4 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("commit" as const), node, copies: wanted, wanted }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom("free" as const, "wanted" as const, "corrupt" as const, "lose" as const),
      pick: fc.nat(1000),
      node,
      wanted,
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom("disconnect" as const, "connect" as const), node }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom("tire" as const, "wake" as const, "report" as const), node }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom("decommission" as const, "maintenance" as const, "recommission" as const),
      node,
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("fill" as const, "empty" as const), node }) },
  { weight: 1, arbitrary: fc.constant({ do: "restart" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "balance" as const }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(100, 3_000, 40_000) }) },
);

describe("namenode/blocks: any history", () => {
  it("loses no block that had a good replica, deletes none below what is wanted, and ends with all replicas on two racks", async function () {
    this.timeout(300_000);
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), play), {
      numRuns: Number(process.env["RUNS"] ?? 60),
      seed: Number(process.env["SEED"] ?? 4),
    });
  });
});

async function play(steps: readonly Step[]): Promise<void> {
  const c = new TestCluster({ orphanGraceMs: 30_000, fullReportMs: 20_000, transferTimeoutMs: 10_000 });
  const nodes: TestDatanode[] = [];
  for (const rack of RACKS) nodes.push(await c.join({ rack }));
  const blocks: Known[] = [];
  c.onDelete = (node, block) => {
    const known = blocks.find((b) => b.block.id === block.id && b.block.generation === block.generation);
    if (known === undefined || node.corrupt.has(block.id)) return;
    const left = c.holders(block.id).filter((id) => id !== node.id);
    expect(left.length, `replicas left of block ${block.id} when one goes`).to.be.at.least(known.least);
  };
  let next = 1;
  for (const s of steps) {
    const picked = "pick" in s && blocks.length > 0 ? blocks[s.pick % blocks.length] : undefined;
    if (s.do === "commit") {
      const up = nodes.map((_, i) => nodes[(s.node + i) % NODES]!).filter((d) => d.link !== undefined);
      if (up.length === 0) continue;
      next += 1700;
      const block = c.commit(next, up.slice(0, s.copies), { wanted: s.wanted });
      blocks.push({ block, wanted: s.wanted, least: s.wanted, lost: false });
    } else if (s.do === "wait") await c.clock.advance(s.ms);
    else if (s.do === "restart") c.start();
    else if (s.do === "balance") await c.balance({ thresholdPpm: 1 });
    else if (s.do === "disconnect") nodes[s.node]!.disconnect();
    else if (s.do === "decommission") await c.administer(nodes[s.node]!, Duty.DECOMMISSION);
    else if (s.do === "maintenance") await c.administer(nodes[s.node]!, Duty.MAINTENANCE, 20_000);
    else if (s.do === "recommission") await c.administer(nodes[s.node]!, Duty.IN_SERVICE);
    else if (s.do === "fill") nodes[s.node]!.free = 0;
    else if (s.do === "empty") nodes[s.node]!.free = 100 * GIB;
    else if (s.do === "connect") {
      if (nodes[s.node]!.link === undefined) await nodes[s.node]!.connect();
    } else await damage(c, s as Damage, picked, blocks);
    for (const b of blocks) b.lost ||= c.holders(b.block.id).length === 0;
    expectConsistent(c.kv);
  }
  for (const d of nodes) {
    if (d.link === undefined) await d.connect();
    await d.wake();
    d.free = 100 * GIB;
    await c.administer(d, Duty.IN_SERVICE);
  }
  // Longer than it takes until datanodes that came and went are relied on again.
  await c.clock.advance(20 * SETTINGS.deadAfterMs + 60_000);
  expectConsistent(c.kv);
  for (const { block, wanted: copies, lost } of blocks) {
    const holders = c.holders(block.id);
    if (!lost) expect(holders, `good replicas of block ${block.id}`).to.have.length(copies);
    const racks = new Set(holders.map((id) => nodes.find((d) => d.id === id)!.rack));
    if (!lost && copies > 1) expect(racks.size, `racks of block ${block.id}`).to.be.at.least(2);
    expect(c.blocks.replicas(block).live.sort(), `view of block ${block.id}`).to.deep.equal(holders);
  }
  const inUse = new Set(blocks.map((b) => b.block.id));
  for (const d of nodes)
    for (const id of d.replicas.keys()) expect(inUse.has(id), `garbage ${id} on ${d.id}`).to.equal(true);
}

/** Frees a block, changes how often it is wanted, or spoils one of its replicas; not the last one that is good. */
async function damage(c: TestCluster, s: Damage, picked: Known | undefined, blocks: unknown[]): Promise<void> {
  if (picked === undefined) return;
  const { block } = picked;
  if (s.do === "free") {
    c.free(block);
    blocks.splice(blocks.indexOf(picked), 1);
  } else if (s.do === "wanted") {
    picked.wanted = s.wanted;
    picked.least = Math.min(picked.least, s.wanted);
    c.setWanted(block, s.wanted);
  } else {
    const holders = c.holders(block.id).map((id) => c.datanodes.find((d) => d.id === id)!);
    const victim = holders[s.node % Math.max(1, holders.length)];
    // What nobody has noticed is not repaired: a datanode that is away cannot say that a replica is corrupt.
    if (holders.length < 2 || victim === undefined || (s.do === "corrupt" && victim.link === undefined)) return;
    if (s.do === "corrupt") victim.corrupt.add(block.id);
    else victim.replicas.delete(block.id);
    await victim.report(block, s.do === "corrupt" ? State.CORRUPT : State.DELETED);
  }
}
