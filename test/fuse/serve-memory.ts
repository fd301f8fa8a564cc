// A process of its own that serves a mount of an in-memory cluster, for the tests beside it: a mount must never be touched by
// the process that serves it. Arguments: the mountpoint, then settings as JSON.
import { InvariantError } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import { createLogger, silentLogger } from "../../common/log.js";
import { serve } from "../../fuse/daemon.js";
import { MemoryClient } from "../support/memory-client.js";
import type { TestSettings } from "./mounted.js";

const [, , mountpoint = "", json = "{}"] = process.argv;
const { log, hang, breakAfterMs, populate = 0, folder, ...given } = JSON.parse(json) as TestSettings;
const settings = {
  mountpoint,
  binding: "auto" as const,
  allowOther: true,
  nonempty: false,
  cacheMs: 1000,
  readAhead: undefined,
  unmountTimeoutMs: 5000,
  subdir: "/",
  readOnly: false,
  exec: true,
  noatime: false,
  nodiratime: false,
  trash: false,
  ...given,
};
const client = new MemoryClient({
  before: (call) => (call === hang ? new Promise<void>(() => {}) : undefined),
});
const makeForeign = async (text: string): Promise<void> => {
  const name = Buffer.from(text);
  await client.meta.create(ROOT_INO, name, { mode: 0o100644, uid: 0, gid: 0 });
  client.watch.tell({ attributes: [ROOT_INO], names: [{ dir: ROOT_INO, name }] });
};
for (let i = 0; i < populate; i++) {
  await client.meta.create(ROOT_INO, Buffer.from(`f${String(i).padStart(6, "0")}`), { mode: 0o100644, uid: 0, gid: 0 });
}
if (folder !== undefined) {
  const { inode } = await client.meta.create(ROOT_INO, Buffer.from(folder), { mode: 0o040755, uid: 0, gid: 0 });
  await client.meta.create(inode.ino, Buffer.from("inside"), { mode: 0o100644, uid: 12, gid: 34 });
}
// Another client's doing: it appends to the file /foreign, and makes the file /done.
process.on("SIGUSR1", async () => {
  const { ino } = await client.meta.resolve("/foreign");
  const content = client.open(await client.meta.getInode(ino));
  await content.write(undefined, Buffer.from("+foreign"));
  await content.close();
  client.watch.tell({ contents: [ino] });
  await makeForeign("done");
});
// Makes a file whose name says what the largest read and write were, and how many removed inodes are held.
process.on("SIGUSR2", async () => {
  const { read, write } = client.largest;
  const name = `read-${read},write-${write},held-${client.held.size}`;
  await makeForeign(name);
});
if (breakAfterMs !== undefined) {
  setTimeout(() => {
    throw new InvariantError("a test says so");
  }, breakAfterMs);
}
try {
  await serve(client, settings, "memory", log ? createLogger("mount", "info") : silentLogger);
  process.exit(0);
} catch (err) {
  process.stderr.write(`${(err as Error).message}\n`);
  process.exit(1);
}
