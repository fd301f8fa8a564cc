import { userInfo } from "node:os";
import { moveAside } from "../../client/aside.js";
import type { CairnClient } from "../../client/contract.js";
import { trashFolder } from "../../client/trash.js";
import { TRASH } from "../../common/trash.js";
import { split } from "./paths.js";

/** Whether a (normalized) path is that of the trash, or below it. */
export function isInTrash(path: string): boolean {
  return path === `/${TRASH}` || path.startsWith(`/${TRASH}/`);
}

/** Moves a name, given by its (normalized) path too, to the trash of this user. @returns where it is now */
export async function toTrash(client: CairnClient, path: string, dir: number, name: Buffer): Promise<Buffer> {
  const { parent } = split(path);
  const above = parent.split("/").filter((part) => part !== "");
  const owner = { name: userName(), uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const folder = await trashFolder(
    client.meta,
    owner,
    Date.now(),
    above.map((part) => Buffer.from(part)),
  );
  return (await moveAside(client.meta, { dir, name }, folder)).path;
}

/** Where the trash of this user is. */
export const ownTrash = (): string => `/${TRASH}/${userName()}`;

/** This user, as a name of a folder. */
export function userName(): string {
  const { username, uid } = userInfo();
  return username === "" || username.includes("/") ? String(uid) : username;
}
