import { Admin } from "../../proto/gen/services.js";
import type { Quota } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import { inodeNumber } from "../admin/fsck.js";
import { print } from "../output.js";
import { table } from "../table.js";
import { human } from "./format.js";
import { normalize } from "./paths.js";

/** What `cairn fs quota` may be told. */
export interface QuotaOptions {
  /** 0: any number. */
  readonly names?: number;
  readonly bytes?: number;
  readonly clear?: boolean;
}

/** `cairn fs quota`: sets or removes the quota of a folder, or shows its quota and those of the folders above it. */
export async function quota(link: Link, where: string, { names, bytes, clear }: QuotaOptions): Promise<void> {
  const path = normalize(where);
  const ino = await inodeNumber(link, path);
  if (clear === true) await link.call(Admin.setQuota, { ino });
  else if (names !== undefined || bytes !== undefined) {
    const { quotas } = await link.call(Admin.getQuotas, { ino });
    const now = quotas.find((q) => q.ino === ino);
    await link.call(Admin.setQuota, { ino, names: names ?? now?.names ?? 0, bytes: bytes ?? now?.bytes ?? 0 });
  } else {
    const { quotas } = await link.call(Admin.getQuotas, { ino });
    await print(quotas.length === 0 ? `${path}: no quota\n` : shown(quotas, await pathsOf(link, path, quotas)));
  }
}

/** The paths of a folder and those above it that have a quota. */
async function pathsOf(link: Link, path: string, quotas: readonly Quota[]): Promise<Map<number, string>> {
  const paths = new Map<number, string>();
  const parts = path.split("/").filter((part) => part !== "");
  for (let depth = 0; depth <= parts.length; depth++) {
    const above = `/${parts.slice(0, depth).join("/")}`;
    const ino = await inodeNumber(link, above);
    if (quotas.some((q) => q.ino === ino)) paths.set(ino, above);
  }
  return paths;
}

function shown(quotas: readonly Quota[], paths: Map<number, string>): string {
  const limit = (n: number, text: string) => (n === 0 ? "any" : text);
  const rows = quotas.map((q) => [
    paths.get(q.ino) ?? `inode ${q.ino}`,
    limit(q.names, String(q.names)),
    q.counted ? String(q.usedNames) : "counting",
    limit(q.bytes, human(q.bytes)),
    q.counted ? human(q.usedBytes) : "counting",
  ]);
  return `${table(["folder", "names", "used", "bytes", "used"], rows, [1, 2, 3, 4])}\n`;
}
