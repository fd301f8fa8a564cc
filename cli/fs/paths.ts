import { UsageError } from "../errors.js";

const SLASH = Buffer.from("/");

/** An absolute path in the file system, without "." , ".." , empty names or a slash at the end; one not absolute is taken from the root. */
export function normalize(path: string): string {
  if (path.includes("\0")) throw new UsageError(`a path with a NUL in it: ${JSON.stringify(path)}`);
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (name === "..") names.pop();
    else if (name !== "" && name !== ".") names.push(name);
  }
  return `/${names.join("/")}`;
}

/** The folder that holds a (normalized) path, and its name there. UsageError for the root, which no folder holds. */
export function split(path: string): { parent: string; name: Buffer } {
  const slash = path.lastIndexOf("/");
  if (path === "/") throw new UsageError("the root folder cannot be the target of this command");
  return { parent: path.slice(0, slash) || "/", name: Buffer.from(path.slice(slash + 1)) };
}

/** The path of a name in a folder, as bytes: names need not be UTF-8. */
export function join(folder: Uint8Array, name: Uint8Array): Buffer {
  return folder.at(-1) === SLASH[0] ? Buffer.concat([folder, name]) : Buffer.concat([folder, SLASH, name]);
}
