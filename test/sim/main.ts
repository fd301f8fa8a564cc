// npm run sim -- --seed N --runs M --ops K: simulates clusters; ends with status 1 and a history when a promise is broken.
import { writeFileSync } from "node:fs";
import { Command } from "commander";
import { pino } from "pino";
import type { Logger } from "../../common/log.js";
import type { Process } from "./machine.js";
import { type RunResult, run } from "./run.js";

/** Lines of history that are printed; all of it goes to the file. */
const LAST_LINES = 60;

interface Options {
  seed: number;
  runs: number;
  ops: number;
  history?: string;
  logs?: boolean;
}

/** The programs' logs as lines of the history. */
function logInto(process: Process, tell: (what: string) => void): Logger {
  return pino(
    { level: "debug", base: null, timestamp: false },
    { write: (line: string) => tell(`    ${process.name} ${line.trim()}`) },
  );
}

function summary({ seed, operations, faults, excused, met, virtualMs, events }: RunResult): string {
  const count = (map: ReadonlyMap<string, number>) => [...map].map(([what, n]) => `${what} ${n}`).join(", ");
  const minutes = (virtualMs / 60_000).toFixed(1);
  return `seed ${seed}: ${operations} operations, ${minutes} virtual minutes, ${events} events; ${count(faults)}; ${count(met)}; errors excused: ${count(excused) || "none"}`;
}

const number = (text: string): number => {
  if (!/^\d+$/.test(text)) throw new Error(`${text} is no number`);
  return Number(text);
};

const options = new Command("sim")
  .description("Simulates whole clusters on virtual time, with every kind of fault, and checks what they promised.")
  .option("--seed <n>", "the first seed", number, 1)
  .option("--runs <n>", "how many seeds", number, 1)
  .option("--ops <n>", "operations in each run", number, 1000)
  .option("--history <file>", "where the whole history of a failing run goes")
  .option("--logs", "the programs' logs in the history, too")
  .parse()
  .opts<Options>();

const started = performance.now();
for (let seed = options.seed; seed < options.seed + options.runs; seed++) {
  const result = await run({ seed, operations: options.ops, ...(options.logs && { log: logInto }) });
  if (result.violation === undefined) {
    console.log(summary(result));
    if (options.history !== undefined) writeFileSync(options.history, `${result.history.join("\n")}\n`);
    continue;
  }
  if (options.history !== undefined) writeFileSync(options.history, `${result.history.join("\n")}\n`);
  console.log(result.history.slice(-LAST_LINES).join("\n"));
  console.log(summary(result));
  console.log(`seed ${seed} breaks a promise: ${result.violation}`);
  console.log(`again, with everything: npm run sim -- --seed ${seed} --ops ${options.ops} --logs --history FILE`);
  process.exit(1);
}
const seconds = ((performance.now() - started) / 1000).toFixed(1);
console.log(`${options.runs} runs of at least ${options.ops} operations, no promise broken, ${seconds} s`);
process.exit(0);
