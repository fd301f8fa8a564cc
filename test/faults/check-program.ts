// check-program.js JOURNAL FOLDER: compares what is in a load's folder, seen through any mount, with what the load was promised;
// prints a CheckReport. A process of its own: a mount that hangs must not stop the test.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { CheckReport } from "./check.js";
import { readJournal } from "./journal.js";
import { Promises } from "./promises.js";
import { readWhole } from "./read-file.js";

const [journal = "", folder = ""] = process.argv.slice(2);
const promises = new Promises();
for (const entry of readJournal(journal)) promises.apply(entry);
promises.end();

const names = new Set(promises.names);
for (const worker of await readdir(folder)) {
  for (const name of await readdir(join(folder, worker))) names.add(`${worker}/${name}`);
}
const report: CheckReport = {
  files: 0,
  bytes: 0,
  acknowledged: promises.acknowledged,
  doubted: promises.doubted,
  problems: [],
};
for (const name of names) {
  const found = await readWhole(join(folder, name)).catch((err: NodeJS.ErrnoException) => {
    if (err.code === "ENOENT") return undefined;
    report.problems.push(`${name}: ${err.message}`);
    return null;
  });
  if (found === null) continue;
  if (found !== undefined) {
    report.files += 1;
    report.bytes += found.length;
  }
  const problem = promises.problem(name, found);
  if (problem !== undefined) report.problems.push(`${name}: ${problem}`);
}
process.stdout.write(JSON.stringify(report));
