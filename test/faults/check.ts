import { fileURLToPath } from "node:url";
import { run } from "../support/run.js";
import { readJournal } from "./journal.js";
import { type Op, Promises } from "./promises.js";

/** What the checker found in a load's folder. */
export interface CheckReport {
  /** Files and bytes that are there. */
  files: number;
  bytes: number;
  /** Promises the load got. */
  readonly acknowledged: number;
  /** Names of which the load could not know. */
  readonly doubted: number;
  /** Broken promises: none, if all is well. */
  readonly problems: string[];
}

const PROGRAM = fileURLToPath(new URL("check-program.js", import.meta.url));
const CHECK_MS = 120_000;

/** Compares a folder with what a load was promised, by its journal. */
export async function check(journal: string, folder: string): Promise<CheckReport> {
  const { code, stdout, stderr } = await run(process.execPath, [PROGRAM, journal, folder], { timeoutMs: CHECK_MS });
  if (code !== 0) throw new Error(`the checker of ${folder} ended with ${code}: ${stderr.slice(-2000)}`);
  return JSON.parse(stdout) as CheckReport;
}

/** What the workers of a load have begun and not ended. */
export function underWay(journal: string): Op[] {
  const promises = new Promises();
  for (const entry of readJournal(journal)) promises.apply(entry);
  return [...promises.underWay];
}
