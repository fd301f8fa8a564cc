// bench-child.mjs ACTION PATH COUNT: what scripts/bench has timed in a process of its own: thousands of system calls, one after the
// other. Prints the seconds they took.
import { randomBytes } from "node:crypto";
import {
  closeSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";

const SMALL_FILE = 4096;
const bytes = randomBytes(SMALL_FILE);

/** Offsets of whole pages of a file, anywhere in it, the same every time. */
function* pagesOf(fd, count) {
  const pages = Math.floor(fstatSync(fd).size / SMALL_FILE);
  for (let i = 0, x = 7; i < count; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    yield (x % pages) * SMALL_FILE;
  }
}

/** Calls fn for every small file. */
function each(count, fn) {
  for (let i = 0; i < count; i++) fn(i);
}

/** @type {Record<string, (path: string, count: number) => unknown>} */
const ACTIONS = {
  create(dir, count) {
    mkdirSync(dir);
    each(count, (i) => {
      const fd = openSync(join(dir, String(i)), "wx");
      writeSync(fd, bytes);
      closeSync(fd);
    });
  },
  async createEightAtATime(dir, count) {
    mkdirSync(dir);
    let next = 0;
    const worker = async () => {
      while (next < count) {
        const file = await open(join(dir, String(next++)), "wx");
        await file.write(bytes);
        await file.close();
      }
    };
    await Promise.all(Array.from({ length: 8 }, worker));
  },
  stat: (dir, count) => each(count, (i) => statSync(join(dir, String(i)))),
  read(dir, count) {
    each(count, (i) => {
      if (readFileSync(join(dir, String(i))).length !== SMALL_FILE) throw new Error(`${dir}/${i} is not whole`);
    });
  },
  renameThereAndBack(dir, count) {
    each(count, (i) => renameSync(join(dir, String(i)), join(dir, `r${i}`)));
    each(count, (i) => renameSync(join(dir, `r${i}`), join(dir, String(i))));
  },
  unlink: (dir, count) => each(count, (i) => unlinkSync(join(dir, String(i)))),
  readAnywhere(path, count) {
    const fd = openSync(path, "r");
    const target = Buffer.alloc(SMALL_FILE);
    for (const at of pagesOf(fd, count)) readSync(fd, target, 0, SMALL_FILE, at);
    closeSync(fd);
  },
  writeAnywhere(path, count) {
    const fd = openSync(path, "r+");
    for (const at of pagesOf(fd, count)) writeSync(fd, bytes, 0, SMALL_FILE, at);
    fsyncSync(fd);
    closeSync(fd);
  },
};

const [action, path, count] = process.argv.slice(2);
const start = performance.now();
await ACTIONS[action](path, Number(count));
process.stdout.write(String((performance.now() - start) / 1000));
