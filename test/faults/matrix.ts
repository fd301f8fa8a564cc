// Runs the cases in the sandbox (main.ts), prints a table, and ends with status 1 when a promise is broken.
import { Command } from "commander";
import { CASES } from "./cases.js";
import { runCase } from "./run.js";
import { readySandbox } from "./sandbox.js";
import { type Row, tableOf } from "./table.js";

/** SIGKILLs of the case "kills" when the whole matrix runs. */
const DEFAULT_KILLS = 40;

const number = (text: string): number => {
  if (!/^\d+$/.test(text)) throw new Error(`${text} is no number`);
  return Number(text);
};

const options = new Command("faults")
  .description("Breaks real clusters under load, and checks that nothing acknowledged is lost.")
  .option("--case <names...>", `only these: ${CASES.map((c) => c.name).join(", ")}`)
  .option("--kills <n>", "how many SIGKILLs the case 'kills' spreads; alone: only that case", number)
  .option("--healthy <s>", "how soon after the fault every file must be healthy", number, 60)
  .option("--seed <n>", "which load, victims and moments", number, 1)
  .parse()
  .opts<{ case?: string[]; kills?: number; healthy: number; seed: number }>();

const folder = readySandbox();
const names = options.case ?? (options.kills === undefined ? undefined : ["kills"]);
const unknown = names?.filter((name) => !CASES.some((c) => c.name === name)) ?? [];
if (unknown.length > 0) throw new Error(`no such case: ${unknown.join(", ")}`);
const rows: Row[] = [];
for (const fault of CASES.filter((c) => names?.includes(c.name) ?? true)) {
  process.stderr.write(`== ${fault.name}: ${fault.what}\n`);
  const row = await runCase(fault, folder, {
    seed: options.seed,
    kills: options.kills ?? DEFAULT_KILLS,
    healthyMs: options.healthy * 1000,
  });
  process.stderr.write(`${row.result}: ${row.notes.join("; ")}\n`);
  rows.push(row);
}
console.log(tableOf(rows));
process.exit(rows.some((row) => row.result === "BROKEN") ? 1 : 0);
