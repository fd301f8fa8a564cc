// The program of a Load: writes and reads files in a folder, and remembers every byte it was promised. A file counts as
// promised when its close has returned.
import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { LoadOrder, LoadReport } from "./load.js";

/** Bytes of one file that the load writes: some of less than a packet, some of several. */
const SIZES = [1, 5_000, 100_000, 3_000_000];
/** How many of the files written lately are read again. */
const REMEMBERED = 50;

const folder = process.argv[2] ?? "";
const promised = new Map<string, string>();
let stopping = false;

const tell = (report: LoadReport): void => {
  process.send?.(report);
};
const digest = (data: Buffer): string => createHash("sha256").update(data).digest("hex");

async function write(name: string, data: Buffer): Promise<void> {
  const file = await open(join(folder, name), "w");
  try {
    await file.writeFile(data);
  } finally {
    await file.close();
  }
  promised.set(name, digest(data));
}

async function check(name: string): Promise<void> {
  const found = digest(await readFile(join(folder, name)));
  if (found !== promised.get(name)) throw new Error(`${name} is not what was written`);
}

async function work(): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (let written = 0; !stopping; ) {
    await write(`file-${written}`, randomBytes(SIZES[written % SIZES.length] ?? 1));
    written += 1;
    const lately = [...promised.keys()].slice(-REMEMBERED);
    await check(lately[(written >> 1) % lately.length] ?? "");
    tell({ written });
  }
}

const fail = (err: unknown): void => tell({ failed: String(err) });
const working = work().catch(fail);

process.on("message", async (order: LoadOrder) => {
  stopping = true;
  await working;
  try {
    if (order === "verify") for (const name of promised.keys()) await check(name);
  } catch (err) {
    fail(err);
  }
  tell({ done: order });
});
// The test that started it has gone.
process.on("disconnect", () => process.exit());
