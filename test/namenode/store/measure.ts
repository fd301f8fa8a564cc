// Run by hand: what the store and the journal can do on this machine. node dist/test/namenode/store/measure.js [FOLDER]
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setImmediate } from "node:timers/promises";
import { RealClock } from "../../../common/clock.js";
import { silentLogger } from "../../../common/log.js";
import { FileJournal } from "../../../namenode/store/file-journal.js";
import type { KeyValue } from "../../../namenode/store/kv.js";
import { openLmdbStore } from "../../../namenode/store/lmdb.js";
import { MemoryStore } from "../../../namenode/store/memory.js";

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), "cairn-measure-"));
const options = { clock: new RealClock(), log: silentLogger };
const value = Buffer.alloc(100, 1);
const say = (what: string, figure: string) => process.stdout.write(`${what.padEnd(52)} ${figure}\n`);
const rate = (count: number, ms: number) => `${Math.round((count / ms) * 1000).toLocaleString("en")}/s`;

/** A key as those of inodes are: a letter and eight bytes; `i` is scattered over the order. */
function keyOf(i: number): string {
  const key = Buffer.alloc(9, 0x69);
  key.writeUInt32BE((i * 2654435761) >>> 0, 1);
  key.writeUInt32BE(i, 5);
  return key.toString("latin1");
}

/** Runs something a few times with new key strings, and says how fast the last run was. */
function timed(what: string, keys: number, run: (keys: string[]) => void, count = keys): void {
  for (let done = 0; ; done += count) {
    const made = Array.from({ length: keys }, (_, i) => keyOf(i));
    const start = performance.now();
    run(made);
    const ms = performance.now() - start;
    if (done < 200_000) continue;
    say(what, rate(count, ms));
    return;
  }
}

function reads(what: string, kv: KeyValue, keys: number, size: number): void {
  timed(`${what}: gets`, keys, (made) => {
    for (const key of made) kv.get(key);
  });
  timed(`${what}: gets of what is not there`, keys, (made) => {
    for (const key of made) kv.get(`${key}x`);
  });
  timed(
    `${what}: range`,
    0,
    () => {
      for (const _ of kv.range({ gte: "i", lt: "j" }));
    },
    size,
  );
  timed(`${what}: first of a range`, keys, (made) => {
    for (const key of made) kv.range({ gte: key, lt: "j" }).next();
  });
}

async function store(): Promise<void> {
  reads("overlay, 5,000 keys", fill(new MemoryStore(), 5000), 5000, 5000);
  const kv = openLmdbStore({ folder: join(folder, "lmdb"), ...options });
  let made = 0;
  const total = 1_000_000;
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const start = performance.now();
  while (made < total) {
    await kv.waitForRoom();
    for (let i = 0; i < 200; i++) kv.put(keyOf(made++), value);
    await setImmediate();
  }
  await kv.flush();
  delay.disable();
  say("1,000,000 puts, scattered, 200 a turn, flushed", rate(total, performance.now() - start));
  say(
    "  longest turn / 99 % (1 ms: none)",
    `${(delay.max / 1e6).toFixed(1)} / ${(delay.percentile(99) / 1e6).toFixed(1)} ms`,
  );
  reads("LMDB, 1,000,000 keys", kv, 100_000, total);
  for (let round = 0; round < 3; round++) {
    delay.reset();
    delay.enable();
    for (let i = 0; i < 4999; i++) kv.put(keyOf(i * 201 + round), value);
    const begun = performance.now();
    const flushed = kv.flush();
    const frozen = performance.now() - begun;
    await flushed;
    delay.disable();
    const all = performance.now() - begun;
    say(
      "flush of 5,000 scattered entries into 1,000,000",
      `${all.toFixed(1)} ms, of which this thread ${frozen.toFixed(1)}; longest turn else ${(delay.max / 1e6).toFixed(1)}`,
    );
  }
  await kv.close();
  const opening = performance.now();
  const again = openLmdbStore({ folder: join(folder, "lmdb"), ...options });
  again.get(keyOf(4711));
  say("open the store of 1,000,000 entries, first get", `${(performance.now() - opening).toFixed(1)} ms`);
  await again.close();
}

function fill(kv: KeyValue, count: number): KeyValue {
  timed("overlay: puts, mostly overwriting", count, (made) => {
    for (const key of made) kv.put(key, value);
  });
  return kv;
}

async function journal(perTurn: number, awaitSync: boolean): Promise<void> {
  const log = await FileJournal.open({ folder: join(folder, `journal-${perTurn}-${awaitSync}`), after: 0, ...options });
  const turns = awaitSync ? 200 : Math.ceil(200_000 / perTurn / (perTurn === 1 ? 10 : 1));
  const start = performance.now();
  for (let turn = 0; turn < turns; turn++) {
    await log.waitForRoom();
    for (let i = 0; i < perTurn && log.hasRoom; i++) log.append(log.lastIndex + 1, value);
    await (awaitSync ? log.synced(log.lastIndex) : log.appended(log.lastIndex));
  }
  const how = awaitSync ? "synced" : "appended";
  say(`journal: ${perTurn} records a turn, each turn ${how}`, rate(log.lastIndex, performance.now() - start));
  await log.close();
}

try {
  await store();
  for (const perTurn of [1, 10, 100]) await journal(perTurn, false);
  for (const perTurn of [1, 100]) await journal(perTurn, true);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
