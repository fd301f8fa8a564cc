// Bugs that are put into a copy of the compiled product, to see that the simulator finds them.
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A bug: in a compiled file, some text that must be there, and what takes its place. */
export interface Planted {
  readonly name: string;
  /** The seed that a search begins at: 1, or shortly before the one that found it from there, to save time. */
  readonly firstSeed: number;
  readonly changes: readonly { readonly file: string; readonly find: string; readonly put: string }[];
}

/** Bugs that would lose data, each by forgetting one thing. */
export const PLANTED: readonly Planted[] = [
  {
    name: "a replica is not synced when it should be",
    firstSeed: 1,
    changes: [{ file: "datanode/append-file.js", find: "await this.#file.sync();", put: "" }],
  },
  {
    name: "the name of a replica is not synced when it should be",
    firstSeed: 1,
    changes: [{ file: "datanode/volume.js", find: "await this.#syncs.sync(directory);", put: "" }],
  },
  {
    name: "the journal is not synced when it should be",
    firstSeed: 1,
    changes: [
      {
        file: "namenode/namespace/service.js",
        find: "await this.#editor.synced(index === 0 ? lastIndex : index);",
        put: "",
      },
    ],
  },
  {
    name: "a replica of an older generation counts",
    firstSeed: 12,
    changes: [
      { file: "namenode/blocks/reports.js", find: "if (generation < block.generation) {", put: "if (false) {" },
      {
        file: "namenode/blocks/reports.js",
        find: "const whole = length === block.length;",
        put: "const whole = true;",
      },
    ],
  },
  {
    name: "a directory is given back before the births in it",
    firstSeed: 1,
    changes: [{ file: "client/births.js", find: "await this.deliver(dirs);", put: "" }],
  },
  {
    name: "a packet is acknowledged before the next datanode has it",
    firstSeed: 1,
    changes: [
      {
        file: "datanode/write-stream.js",
        find: "if (downstream !== undefined && first.sequence > this.#downstreamAcked)\n                return;",
        put: "",
      },
    ],
  },
  {
    name: "a commit drops the first of several extents",
    firstSeed: 1,
    changes: [
      {
        file: "namenode/namespace/edits/content.js",
        find: "for (const extent of edit.extents) {",
        put: "for (const extent of edit.extents.slice(edit.extents.length > 1 ? 1 : 0)) {",
      },
    ],
  },
];

/** What a run of the simulator said. */
export interface Verdict {
  readonly found: boolean;
  readonly output: string;
}

/** Runs the simulator over a copy of what is built in `dist`, with a bug in it. The first seed that finds it ends the run. */
export async function simulateWith(bug: Planted, dist: string, args: readonly string[]): Promise<Verdict> {
  const copy = await mkdtemp(join(tmpdir(), "cairn-planted-"));
  try {
    await cp(dist, join(copy, "dist"), { recursive: true });
    await cp(join(dist, "../package.json"), join(copy, "package.json"));
    await symlink(join(dist, "../node_modules"), join(copy, "node_modules"));
    for (const { file, find, put } of bug.changes) {
      const path = join(copy, "dist", file);
      const text = await readFile(path, "utf8");
      if (!text.includes(find)) throw new Error(`${file} has changed: the bug "${bug.name}" does not fit any more`);
      await writeFile(path, text.replace(find, put));
    }
    return await new Promise((resolve, reject) => {
      const main = join(copy, "dist/test/sim/main.js");
      execFile(process.execPath, [main, ...args], { maxBuffer: 64 << 20 }, (err, output, errors) => {
        if (err === null) resolve({ found: false, output });
        else if (/breaks a promise/.test(output)) resolve({ found: true, output });
        else reject(new Error(`the simulator ended with ${err.code}: ${output.slice(-2000)}${errors}`));
      });
    });
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}
