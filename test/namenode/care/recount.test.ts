import { expect } from "chai";
import { RealClock } from "../../../common/clock.js";
import { ROOT_INO } from "../../../common/limits.js";
import { silentLogger } from "../../../common/log.js";
import { recount } from "../../../namenode/care/recount.js";
import { CLUSTER } from "../../../namenode/namespace/keys.js";
import { readCluster } from "../../../namenode/namespace/records.js";
import type { Snapshot } from "../../../namenode/store/store.js";
import { ClusterRecord } from "../../../proto/gen/types.js";
import { name, World } from "../namespace/world.js";

describe("counting everything anew", () => {
  const counts = ({ kv }: World) => {
    const { files, directories, blocks } = readCluster(kv);
    return { files, directories, blocks };
  };

  async function populated(): Promise<World> {
    const world = await World.open();
    const dir = await world.mkdir(ROOT_INO, "dir");
    for (let i = 0; i < 1500; i++) await world.mkfile(dir.ino, `f${i}`);
    for (let i = 0; i < 3; i++) await world.write((await world.mkfile(ROOT_INO, `b${i}`)).ino, 10);
    await world.call("unlink", { dir: ROOT_INO, name: name("b0"), hold: true });
    return world;
  }

  it("finds nothing wrong with what edits have counted", async () => {
    const world = await populated();
    const before = world.editor.lastIndex;
    const wrong = await recount({
      store: world.store,
      editor: world.editor,
      clock: new RealClock(),
      log: silentLogger,
    });
    expect(wrong).eql({ files: 0, directories: 0, blocks: 0 });
    expect(world.editor.lastIndex).equal(before);
  });

  it("corrects the counters by what they were wrong by, whatever changes meanwhile", async () => {
    const world = await populated();
    const right = counts(world);
    const { files, directories, blocks } = right;
    const wrongBy = { files: files + 7, directories: directories - 1, blocks: blocks + 2 };
    world.kv.put(CLUSTER, ClusterRecord.encode({ ...readCluster(world.kv), ...wrongBy }).finish());
    const store = {
      snapshot: async (): Promise<Snapshot> => {
        const snapshot = await world.store.snapshot();
        await world.mkfile(ROOT_INO, "meanwhile");
        await world.write((await world.mkfile(ROOT_INO, "more")).ino, 5);
        return snapshot;
      },
    };
    const wrong = await recount({ store, editor: world.editor, clock: new RealClock(), log: silentLogger });
    expect(wrong).eql({ files: -7, directories: 1, blocks: -2 });
    expect(counts(world)).eql({ files: files + 2, directories, blocks: blocks + 1 });
  });
});
