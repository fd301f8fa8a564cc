import type { CairnClient } from "../../client/contract.js";
import { MAX_DIRECTORY_PAGE } from "../../common/limits.js";
import type { Dentry, Inode } from "../../proto/gen/types.js";

/** The pages of a directory, one after the other, in the order of the names' bytes. */
export async function* pages(client: CairnClient, dir: number): AsyncGenerator<Dentry[]> {
  let after: Uint8Array = Buffer.alloc(0);
  for (;;) {
    const { entries, more } = await client.meta.readDirectory(dir, after, MAX_DIRECTORY_PAGE);
    yield entries;
    const last = entries.at(-1);
    if (!more || last === undefined) return;
    after = Buffer.from(last.name);
  }
}

/** The inode of a path; undefined when there is none. */
export async function resolveIfAny(client: CairnClient, path: string, follow: boolean): Promise<Inode | undefined> {
  try {
    return await client.meta.resolve(path, follow);
  } catch (err) {
    if ((err as { code?: string }).code === "ENOENT") return undefined;
    throw err;
  }
}

/** Runs fn for every item, at most `limit` at a time. Rejects with the first failure, once those under way have ended. */
export async function parallel<T>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  fn: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  let failed: { err: unknown } | undefined;
  for await (const item of items) {
    const one: Promise<void> = fn(item)
      .catch((err: unknown) => {
        failed ??= { err };
      })
      .finally(() => running.delete(one));
    running.add(one);
    if (running.size >= limit) await Promise.race(running);
    if (failed !== undefined) break;
  }
  await Promise.all(running);
  if (failed !== undefined) throw failed.err;
}
