import { expect } from "chai";
import fc from "fast-check";
import { type Candidate, choosePlaces, chooseSurplus } from "../../../namenode/blocks/placement.js";
import { TestCluster } from "./cluster.js";

const GIB = 2 ** 30;
const MIB64 = 64 * 2 ** 20;

const candidates = fc
  .array(
    fc.record({
      host: fc.constantFrom("h1", "h2", "h3", "h4", "h5", "h6"),
      room: fc.integer({ min: 1, max: 1000 }),
      writers: fc.nat(20),
    }),
    { maxLength: 12 },
  )
  // A host is in one rack.
  .map((all) => all.map((c, i): Candidate => ({ ...c, id: i + 1, rack: `/r${Number(c.host.slice(1)) % 3}` })));
const seed = fc.integer({ min: 1, max: 2 ** 31 - 2 });

function generator(start: number): () => number {
  let s = start;
  return () => {
    s = (s * 48_271) % 2_147_483_647;
    return s / 2_147_483_647;
  };
}

describe("namenode/blocks: placement", () => {
  it("keeps HDFS's rule for whatever datanodes there are", () => {
    fc.assert(
      fc.property(candidates, fc.integer({ min: 1, max: 5 }), seed, (all, count, s) => {
        const chosen = choosePlaces(all, count, [], "h1", generator(s));
        const of = (key: "id" | "host" | "rack") => new Set(chosen.map((c) => c[key])).size;
        const hosts = new Set(all.map((c) => c.host)).size;
        const racks = new Set(all.map((c) => c.rack)).size;
        expect(chosen.length, "as many as there are").to.equal(Math.min(count, all.length));
        expect(of("id"), "never two on one datanode").to.equal(chosen.length);
        expect(of("host"), "as many hosts as can be").to.equal(Math.min(chosen.length, hosts));
        if (all.some((c) => c.host === "h1")) expect(chosen[0]!.host, "the first is local").to.equal("h1");
        if (chosen.length >= 2) expect(of("rack"), "two racks at least").to.be.at.least(Math.min(2, racks));
        const third = chosen[2];
        const second = chosen[1];
        if (third !== undefined && second !== undefined && chosen[0]!.rack !== second.rack) {
          const besides = all.filter(
            (c) => c.rack === second.rack && c.host !== second.host && c.host !== chosen[0]!.host,
          );
          if (besides.length > 0) expect(third.rack, "the third on the second's rack").to.equal(second.rack);
        }
      }),
    );
  });

  it("spreads further replicas away from those that exist", () => {
    fc.assert(
      fc.property(candidates, fc.nat(3), seed, (all, n, s) => {
        const existing = all.slice(0, n);
        const chosen = choosePlaces(all.slice(n), 2, existing, undefined, generator(s));
        const together = [...existing, ...chosen];
        const hosts = new Set(all.map((c) => c.host)).size;
        const existingHosts = new Set(existing.map((c) => c.host)).size;
        const newHosts = new Set(together.map((c) => c.host)).size - existingHosts;
        expect(newHosts).to.equal(Math.min(chosen.length, hosts - existingHosts));
      }),
    );
  });

  it("prefers room, and avoids load a little", () => {
    const at = (id: number, room: number, writers: number) => ({ id, host: `h${id}`, rack: "/r", room, writers });
    const random = generator(7);
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 9000; i++) {
      const all = [at(1, 300, 0), at(2, 100, 0), at(3, 300, 5)];
      counts[choosePlaces(all, 1, [], undefined, random)[0]!.id]!++;
    }
    expect(counts[1]! / counts[2]!).to.be.within(2.5, 3.5);
    expect(counts[1]! / counts[3]!).to.be.within(1.3, 1.7);
  });

  it("drops surplus so that the rest is as spread as before, where that is possible", () => {
    fc.assert(
      fc.property(candidates, fc.nat(4), (all, count) => {
        const replicas = all.map((c) => ({ ...c, fullness: c.room / 1000 }));
        const dropped = chooseSurplus(replicas, count);
        expect(new Set(dropped).size).to.equal(Math.min(count, all.length));
        const rest = replicas.filter((r) => !dropped.includes(r));
        const hosts = new Set(replicas.map((r) => r.host)).size;
        expect(new Set(rest.map((r) => r.host)).size).to.equal(Math.min(hosts, rest.length));
      }),
    );
  });

  it("puts the first replica on the writer's host, and several on one machine where there is no other", async () => {
    const c = new TestCluster();
    for (let i = 0; i < 3; i++) await c.join({ host: "127.0.0.1" });
    const placed = c.blocks.place({ replicas: 3, size: MIB64, host: "127.0.0.1", exclude: [] });
    expect(new Set(placed.map((p) => p.id)).size).to.equal(3);
    const far = await c.join({ host: "host9", rack: "/r9" });
    for (let i = 0; i < 20; i++) {
      const [first, second] = c.blocks.place({ replicas: 2, size: MIB64, host: "host9", exclude: [] });
      expect(first!.id).to.equal(far.id);
      expect(second!.host).to.equal("127.0.0.1");
    }
  });

  it("says EAGAIN when nobody is there or everybody is excluded, ENOSPC when there is no room", async () => {
    const c = new TestCluster();
    const ask = (exclude: number[] = []) => c.blocks.place({ replicas: 3, size: MIB64, host: "x", exclude });
    const thrown = (fn: () => unknown) => {
      try {
        fn();
      } catch (err) {
        return (err as { code: string }).code;
      }
      return "nothing";
    };
    expect(thrown(ask)).to.equal("EAGAIN");
    const a = await c.join({ free: MIB64 - 1 });
    expect(thrown(ask)).to.equal("ENOSPC");
    const b = await c.join();
    expect(ask().map((p) => p.id)).to.deep.equal([b.id]);
    expect(thrown(() => ask([b.id]))).to.equal("EAGAIN");
    b.disconnect();
    await c.clock.advance(1);
    expect(thrown(ask)).to.equal("ENOSPC");
    a.disconnect();
    await c.clock.advance(1);
    expect(thrown(ask)).to.equal("EAGAIN");
  });

  it("spreads a burst of writers by the room promised to them, and forgets promises that were kept", async () => {
    const c = new TestCluster();
    const small = await c.join({ free: 2 * MIB64 });
    const large = await c.join({ free: 100 * GIB });
    const place = () => c.blocks.place({ replicas: 2, size: MIB64, host: "x", exclude: [] }).map((p) => p.id);
    expect([place(), place()].map((ids) => ids.includes(small.id))).to.deep.equal([true, true]);
    expect(place(), "promised away").to.deep.equal([large.id]);
    c.commit(1, [small, large], { wanted: 2 });
    expect(place().sort(), "one promise was kept").to.deep.equal([small.id, large.id]);
    expect(place()).to.deep.equal([large.id]);
    // The datanode has seen its writers, and its own figure of what is free counts them.
    small.writers = 2;
    small.free = 1 * MIB64;
    await small.heartbeat();
    expect(place().sort()).to.deep.equal([small.id, large.id]);
  });

  it("gives readers the near and live replicas first", async () => {
    const c = new TestCluster();
    const a = await c.join({ host: "h1", rack: "/r1" });
    const b = await c.join({ host: "h2", rack: "/r1" });
    const d = await c.join({ host: "h3", rack: "/r2" });
    const block = c.commit(1, [d, b, a]);
    const order = (host: string) => c.blocks.locate(block, host).replicas.map((r) => r.id);
    expect(order("h1")).to.deep.equal([a.id, b.id, d.id]);
    expect(order("h3")[0]).to.equal(d.id);
    a.disconnect();
    await c.clock.advance(1);
    expect(order("h1").at(-1), "suspect: last").to.equal(a.id);
    expect(c.blocks.locate({ ...block, generation: 2 }, "h1").replicas, "another generation").to.deep.equal([]);
  });
});
