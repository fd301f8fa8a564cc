import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { CairnError } from "../../common/errors.js";
import type { Layout } from "./layout.js";
import { readPidFile, removePidFile } from "./process.js";

/** How long one start or stop waits for another on the same root, ms. */
const PATIENCE_MS = 120_000;
const POLL_MS = 100;

/** Runs fn while no other start or stop works on the root. EBUSY when another one takes too long. */
export async function withLock<T>(layout: Layout, fn: () => Promise<T>): Promise<T> {
  mkdirSync(layout.run, { recursive: true });
  const deadline = performance.now() + PATIENCE_MS;
  while (!take(layout.lock)) {
    const holder = readPidFile(layout.lock, ["cluster"]);
    if (holder === undefined) removePidFile(layout.lock);
    else if (performance.now() > deadline) {
      throw new CairnError("EBUSY", `process ${holder} is starting or stopping the cluster in ${layout.root}`);
    } else await sleep(POLL_MS);
  }
  try {
    return await fn();
  } finally {
    removePidFile(layout.lock);
  }
}

function take(path: string): boolean {
  try {
    const fd = openSync(path, "wx");
    writeSync(fd, `${process.pid}\n`);
    closeSync(fd);
    return true;
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw err;
  }
}
