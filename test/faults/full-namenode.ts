import { mkdirSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sh } from "../support/run.js";
import { until } from "../support/until.js";
import type { FaultCase, Scene } from "./cases.js";
import type { FaultCluster } from "./cluster.js";
import { contentOf } from "./promises.js";

/** The namenode's disk, MiB: room for what fits into its journal while it is full, and for the same in its store afterwards. */
const DISK_MIB = 160;
/** Files that are made until the namenode has no room: their bytes go into its journal. */
const FILE_BYTES = 60_000;
const MAX_FILES = 3_000;
/** Failures after which it is believed that there is no room. */
const FAILURES = 5;
/** How long a namenode may take to be there again, and to notice that there is room, ms. */
const PATIENCE_MS = 60_000;

/** Small files on one mount, looked at through the other. */
class Burst {
  readonly #cluster: FaultCluster;
  /** Files that were acknowledged. */
  readonly kept: number[] = [];
  /** What the others were refused with, and how often. */
  readonly refused = new Map<string, number>();

  constructor(cluster: FaultCluster) {
    this.#cluster = cluster;
  }

  /** Makes files until there is no room for them. */
  async fill(): Promise<void> {
    mkdirSync(join(this.#cluster.mountOf(1), "burst"));
    let failures = 0;
    for (let i = 0; i < MAX_FILES && failures < FAILURES; i++) if (!(await this.#make(i))) failures++;
    if (failures < FAILURES) throw new Error(`${MAX_FILES} files of ${FILE_BYTES} bytes fit on a full disk`);
  }

  /** Waits until a file fits. */
  async hasRoom(): Promise<void> {
    let next = MAX_FILES;
    await until(() => this.#make(next++), { timeoutMs: PATIENCE_MS, what: "a file to fit again" });
  }

  /** Every file that was acknowledged is there, whole. */
  async check(): Promise<void> {
    for (const i of this.kept) {
      const path = join(this.#cluster.mountOf(2), "burst", String(i));
      const found = await readFile(path);
      if (!found.equals(contentOf(`burst ${i}`, FILE_BYTES))) throw new Error(`${path} is not as it was written`);
    }
  }

  async #make(i: number): Promise<boolean> {
    const path = join(this.#cluster.mountOf(1), "burst", String(i));
    try {
      await writeFile(path, contentOf(`burst ${i}`, FILE_BYTES), { flag: "wx" });
      this.kept.push(i);
      return true;
    } catch (err) {
      const { code = String(err) } = err as NodeJS.ErrnoException;
      this.refused.set(code, (this.refused.get(code) ?? 0) + 1);
      return false;
    }
  }
}

/** Programs hear of a full disk of the namenode as of any other, and of nothing else. */
function onlyNoSpace({ cluster }: Scene, burst: Burst): void {
  const codes = [...burst.refused.keys(), ...cluster.loads.flatMap(({ progress }) => Object.keys(progress.errors))];
  const others = codes.filter((what) => !what.endsWith("ENOSPC"));
  if (others.length > 0) throw new Error(`errors that do not say that there is no room: ${others.join(", ")}`);
}

async function restart({ cluster: { namenode } }: Scene): Promise<void> {
  await namenode.kill();
  await namenode.start();
}

/** The namenode's disk becomes full while names are made. */
export const fullNamenode: FaultCase = {
  name: "namenode-disk-full",
  what: "the namenode's disk becomes full while files are made, until there is no room for an edit; SIGKILL then, and after there is room",
  errors: "any",
  prepare: async ({ cluster }) => {
    const disk = join(cluster.root, "namenode");
    await sh(`mkdir -p ${disk}; mount -t tmpfs -o size=${DISK_MIB}m small ${disk}`);
  },
  run: async (scene) => {
    const { cluster, seen } = scene;
    const filler = join(cluster.root, "namenode", "filler");
    const burst = new Burst(cluster);
    await sh(`head -c 1G /dev/zero > ${filler} || true`);
    await burst.fill();
    await burst.check();
    onlyNoSpace(scene, burst);
    seen.push(`${burst.kept.length} files of ${FILE_BYTES} bytes fitted`);
    await restart(scene);
    await burst.check(); // waits for the namenode
    await rm(filler);
    await burst.hasRoom();
    onlyNoSpace(scene, burst);
    await burst.check();
    await restart(scene);
    await burst.check();
  },
};
