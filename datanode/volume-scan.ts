import { join } from "node:path";
import { codeOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import type { ReplicaIdentity } from "../proto/digest.js";
import type { Disk } from "./disk.js";
import { FAN_OUT, level, parseReplicaName } from "./replica-name.js";
import type { Volume } from "./volume.js";

/** Directories listed at once. */
const PARALLEL = 8;
const LEVEL = Array.from({ length: FAN_OUT }, (_, n) => level(n));

/**
 * Prepares a volume's folders, removes what was unfinished when the last process ended (uncommitted garbage), and lists
 * its finalized replicas. Opens no block file, and looks at none but those that may be torn.
 * @param since when what was written may have been torn by a loss of power, ms since 1970; undefined: nothing was
 * @param found called for every finalized replica, with whether it was written since then
 */
export async function scanVolume(
  { disk, path, openPath, blocksPath }: Volume,
  log: Logger,
  since: number | undefined,
  found: (replica: ReplicaIdentity, isDoubted: boolean) => void,
): Promise<void> {
  await disk.makeDirectory(openPath);
  for (const name of await disk.list(openPath)) await disk.unlink(join(openPath, name));
  if (await disk.makeDirectory(blocksPath)) await disk.syncDirectory(path);
  await inParallel(LEVEL, async (first) => {
    const directory = join(blocksPath, first);
    const present = new Set(await listIfThere(disk, directory));
    for (const second of LEVEL) if (present.has(second)) await listReplicas(join(directory, second));
  });

  async function listReplicas(directory: string): Promise<void> {
    // A directory that nothing was moved into since then has nothing young in it.
    const isYoung = since !== undefined && (await disk.modified(directory)) >= since;
    for (const name of await disk.list(directory)) {
      const replica = parseReplicaName(name);
      if (replica !== undefined) found(replica, isYoung && (await disk.modified(join(directory, name))) >= since);
      else log.warn({ path: join(directory, name) }, "a file that is no replica lies in a volume");
    }
  }
}

async function listIfThere(disk: Disk, directory: string): Promise<string[]> {
  try {
    return await disk.list(directory);
  } catch (err) {
    if (codeOf(err) !== "ENOENT") throw err;
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
