import { expect } from "chai";
import fc from "fast-check";
import { readCluster } from "../../../namenode/namespace/records.js";
import { Both, op } from "./both.js";
import type { Node } from "./model.js";
import { dump, name, SESSION, World } from "./world.js";

describe("names and content against a model", () => {
  it("are the same after any sequence of operations; replayed, the store is the same to the byte", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(op, { minLength: 10, maxLength: 60, size: "max" }), async (ops) => {
        const both = new Both(await World.open());
        for (const o of ops) await both.run(o);
        await both.compare();
        const { world } = both;
        const replayed = await World.open({ journal: world.journal });
        expect(dump(replayed.kv)).to.deep.equal(dump(world.kv));
      }),
      { numRuns: 120 },
    );
  });

  it("leave nothing behind when everything is deleted and reclaimed", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(op, { minLength: 10, maxLength: 60, size: "max" }), async (ops) => {
        const both = new Both(await World.open());
        const { world, model } = both;
        for (const o of ops) await both.run(o);
        const remove = async (dir: Node): Promise<void> => {
          for (const [key, node] of dir.entries!) {
            if (node.entries) await remove(node);
            await world.call("unlink", { dir: dir.ino, name: name(key), directory: node.entries !== undefined });
          }
        };
        await remove(model.root);
        world.clock.advance(1_000);
        await world.call("closeSession", { session: SESSION });
        const left = dump(world.kv).map(([key]) => key[0]);
        expect(left).to.deep.equal(["A", "I"]);
        expect(readCluster(world.kv)).to.include({ files: 0, directories: 1, blocks: 0 });
      }),
      { numRuns: 30 },
    );
  });
});
