import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { requireFuse, TestCluster } from "../../support/cluster.js";
import { type Abilities, type Operation, sequences } from "./operations.js";
import { type Outcome, Player } from "./player.js";

/** Which sequences are played: the same ones every time, unless the environment says otherwise. */
const SEED = Number(process.env["CAIRN_TEST_MODEL_SEED"] ?? 20_26);
/** Where in them a failure was found, as the failure said. */
const PATH = process.env["CAIRN_TEST_MODEL_PATH"];
/** How many times more sequences. */
const TIMES = Number(process.env["CAIRN_TEST_MODEL_TIMES"] ?? 1);

interface Binding {
  readonly binding: string;
  readonly abilities: Abilities;
  /** Removed open files are hidden (libfuse 2). */
  readonly hides: boolean;
  readonly sequences: number;
}

const BINDINGS: Binding[] = [
  {
    binding: "kernel",
    abilities: { links: true, renameFlags: true, mappedAppend: true, ranges: true, ctime: true },
    hides: false,
    sequences: 600,
  },
  {
    binding: "fuse-native",
    abilities: { links: false, renameFlags: false, mappedAppend: false, ranges: false, ctime: false },
    hides: true,
    sequences: 100,
  },
];

for (const { binding, abilities, hides, sequences: count } of BINDINGS) {
  describe(`any sequence of operations on a mount (${binding}) and in a local folder`, function () {
    this.timeout(600_000 * Math.max(1, TIMES));
    let cluster: TestCluster;
    let local: string;
    /** The cluster, as another mount shows it. */
    let other: string;
    let players: [Player, Player, Player];
    let played = 0;

    before(async () => {
      requireFuse();
      local = mkdtempSync(join(tmpdir(), "cairn-model-"));
      cluster = await TestCluster.start({ env: { CAIRN_MOUNT_BINDING: binding } });
      // Small blocks, so that files have several.
      await cluster.ok(["fs", "policy", "/", "--block-size", "1m"]);
      other = await cluster.mountAlso("other");
      players = [new Player(), new Player(), new Player()];
    });
    after(() => {
      for (const player of players ?? []) player.end();
      cluster?.destroy();
      rmSync(local, { recursive: true, force: true });
    });

    async function play(operations: Operation[]): Promise<void> {
      fc.pre(!players.some((player) => player.ended)); // nothing to shrink with
      const folders = [join(local, String(played)), join(cluster.mount, String(played))] as const;
      played++;
      for (const folder of folders) mkdirSync(folder);
      const [wanted, got] = await Promise.all([
        players[0].play(folders[0], operations, hides),
        players[1].play(folders[1], operations, hides),
      ]);
      compare(operations, wanted, got);
      expect(await players[2].tree(join(other, String(played - 1))), "what another mount has").to.deep.equal(
        wanted.closed,
      );
      rmSync(folders[0], { recursive: true });
    }

    it(`gives the same results, errnos, contents and trees (${count * TIMES} sequences)`, async () => {
      await fc.assert(fc.asyncProperty(sequences(abilities), play), {
        seed: SEED,
        numRuns: Math.ceil(count * TIMES),
        ...(PATH !== undefined && { path: PATH }),
      });
    });
  });
}

/** Throws at the first difference, saying what was done until then. */
function compare(operations: readonly Operation[], wanted: Outcome, got: Outcome): void {
  const differs = (a: unknown, b: unknown) => JSON.stringify(a) !== JSON.stringify(b);
  const at = operations.findIndex((_, i) => differs(wanted.results[i], got.results[i]));
  const until = at < 0 ? operations.length : at + 1;
  const told = operations.slice(0, until).map((o, i) => `${JSON.stringify(o)} → ${JSON.stringify(wanted.results[i])}`);
  const done = told.join("\n");
  expect(got.results[at], `the mount's result of the last of\n${done}`).to.deep.equal(wanted.results[at]);
  for (const part of ["open", "tree", "closed"] as const) {
    expect(got[part], `what the mount has (${part}) after\n${done}`).to.deep.equal(wanted[part]);
  }
}
