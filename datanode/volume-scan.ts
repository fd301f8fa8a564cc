import { join } from "node:path";
import { codeOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import type { ReplicaIdentity } from "../proto/digest.js";
import { FAN_OUT, level, parseReplicaName } from "./replica-name.js";
import type { Volume } from "./volume.js";

/** Directories listed at once. */
const PARALLEL = 8;

/**
 * Prepares a volume's folders, removes what was unfinished when the last process ended (uncommitted garbage), and lists
 * its finalized replicas. Opens no block file.
 * @param found called for every finalized replica
 */
export async function scanVolume(
  volume: Volume,
  log: Logger,
  found: (replica: ReplicaIdentity) => void,
): Promise<void> {
  const { disk, openPath, blocksPath } = volume;
  await disk.makeDirectory(openPath);
  for (const name of await disk.list(openPath)) await disk.unlink(join(openPath, name));
  const first = await disk.makeDirectory(blocksPath);
  const firsts = Array.from({ length: FAN_OUT }, (_, n) => join(blocksPath, level(n)));
  await inParallel(firsts, async (directory) => {
    const present = new Set(await listOrMake(volume, directory));
    let made = first;
    for (let n = 0; n < FAN_OUT; n++) {
      const name = level(n);
      const path = join(directory, name);
      if (!present.has(name)) made = (await disk.makeDirectory(path)) || made;
      else for (const file of await disk.list(path)) take(file, path);
    }
    if (made) await disk.syncDirectory(directory);
  });
  if (first) {
    await disk.syncDirectory(blocksPath);
    await disk.syncDirectory(volume.path);
  }

  function take(file: string, directory: string): void {
    const replica = parseReplicaName(file);
    if (replica === undefined) log.warn({ path: join(directory, file) }, "a file that is no replica lies in a volume");
    else found(replica);
  }
}

async function listOrMake({ disk }: Volume, directory: string): Promise<string[]> {
  try {
    return await disk.list(directory);
  } catch (err) {
    if (codeOf(err) !== "ENOENT") throw err;
    await disk.makeDirectory(directory);
    return [];
  }
}

async function inParallel<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < items.length) await run(items[next++]!);
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
}
