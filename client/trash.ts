import { dayOf, TRASH } from "../common/trash.js";
import { type AsideFolder, type AsidePlace, folderAside } from "./aside.js";
import type { Metadata } from "./contract.js";

/** Everybody's: each has a folder of his own in it. */
const TRASH_NODE = { mode: 0o040755, uid: 0, gid: 0 };
/** Type and permission bits of a user's folder in the trash, and of all below it: what is in there is his alone. */
const OWN_MODE = 0o040700;

/** Whose trash it is. */
export interface TrashOwner {
  /** What his folder in the trash is called. */
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/**
 * The folder of the trash for what is removed by a user at some time (ms since 1970) in a folder whose names from the root are `above`. Made
 * when missing.
 */
export function trashFolder(
  meta: Metadata,
  { name, uid, gid }: TrashOwner,
  now: number,
  above: readonly Buffer[],
): Promise<AsidePlace> {
  const node = { mode: OWN_MODE, uid, gid };
  const own = [Buffer.from(name), Buffer.from(dayOf(now)), ...above].map((part): AsideFolder => ({ name: part, node }));
  return folderAside(meta, [{ name: Buffer.from(TRASH), node: TRASH_NODE }, ...own]);
}
