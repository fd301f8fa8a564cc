import { readFileSync } from "node:fs";
import type { Entry } from "./promises.js";

/** The entries of a load's journal. A last line that is not complete is being written just now. */
export function readJournal(path: string): Entry[] {
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Entry);
}
