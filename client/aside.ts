import { constants } from "node:fs";
import { CairnError, codeOf } from "../common/errors.js";
import { MAX_NAME, ROOT_INO } from "../common/limits.js";
import type { Inode } from "../proto/gen/types.js";
import type { Metadata, NewInode } from "./contract.js";

/** Names tried one after the other where one is taken, at most. */
const MAX_TWINS = 1_000;
/** The same, where there is something unique to tell them apart by. */
const MAX_PLAIN_TWINS = 9;

/** A folder that something is put away in: made like this when missing. */
export interface AsideFolder {
  readonly name: Buffer;
  readonly node: NewInode;
}

/** A name in a directory. */
export interface Place {
  readonly dir: number;
  readonly name: Buffer;
}

/** A folder that is there now. */
export interface AsidePlace {
  readonly ino: number;
  /** From the root; that of the root is empty. */
  readonly path: Buffer;
  /** The folder and those above it, as far down from the root as they were asked for. */
  readonly places: readonly Place[];
}

/**
 * Finds a folder, given by its names from the root; what is missing of it is made. Where a file has the name of a folder, the next of
 * name.1, name.2, … is used.
 */
export async function folderAside(meta: Metadata, folders: readonly AsideFolder[]): Promise<AsidePlace> {
  let dir = ROOT_INO;
  const places: Place[] = [];
  for (const { name, node } of folders) {
    const into = dir;
    const made = await firstFree(name, undefined, (candidate) => folderOf(meta, { dir: into, name: candidate }, node));
    places.push({ dir, name: made.name });
    dir = made.result;
  }
  return { ino: dir, path: pathOf(places), places };
}

/**
 * Moves a name into a folder. Where the same name is taken there, the next of name.1, name.2, … is used.
 * @param unique tells what is moved from all else: given, name.<unique> is used before too many names have been tried
 */
export async function moveAside(
  meta: Metadata,
  from: Place,
  folder: AsidePlace,
  unique?: string,
): Promise<{ place: Place; path: Buffer }> {
  const { name } = await firstFree(from.name, unique, (target) =>
    meta.rename(from.dir, from.name, folder.ino, target, { noReplace: true }),
  );
  return { place: { dir: folder.ino, name }, path: Buffer.concat([folder.path, Buffer.from("/"), name]) };
}

/** Tries a name, and others that are like it, for as long as one is taken (EEXIST). */
async function firstFree<T>(
  name: Buffer,
  unique: string | undefined,
  attempt: (name: Buffer) => Promise<T>,
): Promise<{ name: Buffer; result: T }> {
  const plain = unique === undefined ? MAX_TWINS : MAX_PLAIN_TWINS;
  for (let twin = 0; ; twin++) {
    const suffix = twin === 0 ? "" : twin <= plain ? `.${twin}` : `.${unique}.${twin - plain}`;
    const candidate = Buffer.concat([name.subarray(0, MAX_NAME - suffix.length), Buffer.from(suffix)]);
    try {
      return { name: candidate, result: await attempt(candidate) };
    } catch (err) {
      if (codeOf(err) !== "EEXIST" || twin >= MAX_TWINS) throw err;
    }
  }
}

/** A folder's inode, made when missing. EEXIST when something else has the name. */
async function folderOf(meta: Metadata, { dir, name }: Place, node: NewInode): Promise<number> {
  try {
    return (await meta.lookup(dir, name).then(folderOnly)).ino;
  } catch (err) {
    if (codeOf(err) !== "ENOENT") throw err;
  }
  try {
    return (await meta.create(dir, name, node)).inode.ino;
  } catch (err) {
    if (codeOf(err) !== "EEXIST") throw err;
    return (await meta.lookup(dir, name).then(folderOnly)).ino; // somebody was faster
  }
}

function folderOnly(inode: Inode): Inode {
  if ((inode.mode & constants.S_IFMT) === constants.S_IFDIR) return inode;
  throw new CairnError("EEXIST", `inode ${inode.ino}, which has the name of a folder, is none`);
}

/** The path of the last of these places. */
function pathOf(places: readonly Place[]): Buffer {
  return Buffer.concat(places.flatMap(({ name }) => [Buffer.from("/"), name]));
}
