// The tree of scripts/scale files: /data/d<n>/d<n>/part-…, a thousand files in a directory, a hundred directories in one. Every
// other file is small and inline, the rest have a block with three replicas on ten datanodes. Everything follows from a file's number,
// so nothing about files is remembered but the inode of every directory.
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { RealClock } from "../dist/common/clock.js";
import { silentLogger } from "../dist/common/log.js";
import { Blocks } from "../dist/namenode/blocks/blocks.js";
import { JournaledEditor } from "../dist/namenode/editor.js";
import { readBlock } from "../dist/namenode/namespace/records.js";
import { openStorage } from "../dist/namenode/store/storage.js";
import { RangeDigests } from "../dist/proto/digest.js";

export const CLUSTER = "0b6d1c52-0000-4000-8000-000000000001";
export const DATANODES = 10;
const ROOT = 1;
const FILES_PER_DIRECTORY = 1_000;
const DIRECTORIES_PER_DIRECTORY = 100;
const REPLICAS = 3;
const INLINE_EVERY = 2;
const INLINE_BYTES = 512;
const INLINE_BLOCKS = 2 ** 52;
const BLOCK_BYTES = 64 << 20;
/** Files made in one turn of the event loop. */
const SLICE = 100;
/** Block ids reserved by one edit. */
const RESERVED = 100_000;
const SUMMARY = "tree.json";

/** A datanode as it registers. */
export const datanode = (id) => ({
  ...{ uuid: `scale-datanode-${id}`, host: `host${id}`, port: 9864, rack: `/rack${id % 2}` },
});
const mib = (bytes) => (bytes / 2 ** 20).toFixed(0);
/** The name of a file. */
export const fileName = (n) => {
  const hash = (Math.imul(n, 0x9e3779b1) >>> 0).toString(16).padStart(8, "0");
  return Buffer.from(`part-${String(n % FILES_PER_DIRECTORY).padStart(5, "0")}-${hash}.snappy.parquet`);
};
const isInline = (n) => n % INLINE_EVERY === 0;
/** The block of a file that is not inline. */
const blockOf = (n) => ({ id: n + 1, generation: 1, length: 1 + (Math.imul(n, 2_654_435) & (BLOCK_BYTES - 1)) });
/** The datanodes with its replicas: three of the ten, on both racks. */
const holdersOf = (n) => Array.from({ length: REPLICAS }, (_, i) => 1 + ((n * 7 + i * 3) % DATANODES));

/** What scale-files.mjs must know of a tree that was generated: see summaryOf. */
export class Tree {
  constructor({ files, directories, ...figures }) {
    this.files = files;
    this.directories = directories;
    this.figures = figures;
  }

  /** The directory of a file, and its own inode: files follow their directory. */
  file(n) {
    const dir = this.directories[Math.floor(n / FILES_PER_DIRECTORY)];
    return { dir, name: fileName(n), ino: dir + 1 + (n % FILES_PER_DIRECTORY) };
  }

  /** What every datanode has, as it reports it; by id. */
  digests() {
    const digests = new Map(Array.from({ length: DATANODES }, (_, i) => [i + 1, new RangeDigests()]));
    for (let n = 0; n < this.files; n++)
      if (!isInline(n)) for (const id of holdersOf(n)) digests.get(id).add(blockOf(n));
    return digests;
  }

  /** The tree that was generated in a folder, if one was, whole. */
  static read(folder) {
    try {
      return new Tree(JSON.parse(readFileSync(join(folder, SUMMARY), "utf8")));
    } catch (err) {
      if (err.code === "ENOENT") return undefined;
      throw err;
    }
  }
}

/**
 * Generates a tree in an empty folder as a namenode does: every edit is encoded, applied and journaled by the editor, replicas are
 * noted by Blocks, and the store is flushed and the journal trimmed in the background. The calls of clients, their checks and their
 * records are left out. Ends early, with whole directories, when `signal` is aborted.
 */
export async function generate(folder, asked, say, signal) {
  let files = asked;
  const clock = new RealClock();
  const storage = await openStorage({ folder, clock, log: silentLogger });
  const editor = new JournaledEditor({ ...storage, clock });
  const { kv } = editor;
  const use = {
    committed: (id) => {
      const record = readBlock(kv, id);
      return record && { generation: record.generation, length: record.length, wanted: record.replicas };
    },
    isPending: () => false,
  };
  const settings = { heartbeatMs: 3_000, deadAfterMs: 60_000, fullReportMs: 3_600_000, orphanGraceMs: 600_000 };
  const transfers = { maxTransfers: 64, maxTransfersPerDatanode: 4, transferTimeoutMs: 120_000 };
  const blocks = new Blocks({ kv, editor, use, settings: { ...settings, ...transfers }, clock, log: silentLogger });
  await editor.replay();
  let made = 0;
  /** Resolves when the store takes more; undefined when it does. Now and then the journal is to have its turn. */
  const pause = () => editor.room() ?? (++made % SLICE === 0 ? setImmediate() : undefined);
  const policy = { replicas: REPLICAS, blockSize: BLOCK_BYTES, compression: 1 };
  let nextIno = ROOT + 1;
  const create = (dir, name, mode) => {
    const ino = nextIno++;
    const time = clock.timestamp();
    const nlink = mode & 0o40000 ? 2 : 1;
    const inode = { ino, mode, uid: 1000, gid: 1000, nlink, atime: time, mtime: time, ctime: time, parent: dir };
    const whole = { ...inode, policy: mode & 0o40000 ? {} : policy };
    editor.apply({ time, create: { dir, name, inode: whole } });
    return ino;
  };
  const fill = (ino, n) => {
    const inline = isInline(n);
    const block = inline ? { id: INLINE_BLOCKS + n / INLINE_EVERY, length: INLINE_BYTES } : blockOf(n);
    const { id, length } = block;
    const bytes = inline
      ? { inline: [{ id, data: Buffer.alloc(INLINE_BYTES, n), crc: n }] }
      : { blocks: [{ block, datanodes: holdersOf(n) }] };
    const extents = [{ offset: 0, length, block: id, blockOffset: 0 }];
    const commit = { ino, extents, size: length, mtime: clock.timestamp(), replicas: REPLICAS, ...bytes };
    editor.apply({ commit });
  };

  const time = clock.timestamp();
  const root = { ino: ROOT, mode: 0o40755, nlink: 2, atime: time, mtime: time, ctime: time, parent: ROOT, policy: {} };
  editor.apply({ time, format: { cluster: CLUSTER, root } });
  for (let id = 1; id <= DATANODES; id++) editor.apply({ registerDatanode: { id, ...datanode(id) } });
  const began = performance.now();
  let peak = 0;
  const directories = [];
  const top = create(ROOT, Buffer.from("data"), 0o40755);
  let parent = top;
  for (let n = 0; n < files; n++) {
    if (n % RESERVED === 0) editor.apply({ reserveBlockIds: { next: n + 1 + RESERVED } });
    if (n % FILES_PER_DIRECTORY === 0) {
      if (signal?.aborted) files = n;
      if (n === files) break;
      const at = directories.length;
      if (at % DIRECTORIES_PER_DIRECTORY === 0)
        parent = create(top, Buffer.from(`d${at / DIRECTORIES_PER_DIRECTORY}`), 0o40755);
      directories.push(create(parent, Buffer.from(`d${at % DIRECTORIES_PER_DIRECTORY}`), 0o40755));
    }
    const wait = pause();
    if (wait !== undefined) await wait;
    fill(create(directories.at(-1), fileName(n), 0o100644), n);
    if ((n + 1) % 100_000 === 0) {
      peak = Math.max(peak, process.memoryUsage.rss());
      const seconds = (performance.now() - began) / 1000;
      const { size } = statSync(join(folder, "lmdb", "data.mdb"));
      say(
        `${n + 1} files, ${((2 * (n + 1)) / seconds).toFixed(0)} edits/s, ${mib(size)} MiB of LMDB, ${mib(process.memoryUsage.rss())} MiB resident`,
      );
    }
  }
  await storage.store.flush();
  await editor.synced(editor.lastIndex);
  const { blocks: count = 0, underReplicated, missing } = blocks.status();
  if (count !== files - Math.ceil(files / INLINE_EVERY) || underReplicated + missing !== 0)
    throw new Error(
      `${count} blocks, ${underReplicated} under-replicated, ${missing} missing in a tree of ${files} files`,
    );
  const seconds = (performance.now() - began) / 1000;
  editor.close();
  await blocks.close();
  await storage.close();
  peak = Math.max(peak, process.memoryUsage.rss());
  const summary = { files, directories, seconds, edits: editor.lastIndex, peak };
  writeFileSync(join(folder, SUMMARY), JSON.stringify(summary));
  return new Tree(summary);
}
