import { ROOT_INO } from "../../../common/limits.js";

/** A file or directory of the model. */
export interface Node {
  readonly ino: number;
  readonly entries: Map<string, Node> | undefined;
  /** Of a file, per byte: [block, offset in block]; undefined is a hole. */
  content: ([number, number] | undefined)[];
  nlink: number;
  /** How many snapshots of it there are. */
  snapshots: number;
  parent: Node | undefined;
}

/** Whether `dir` is `above` or below it. */
function isBelow(dir: Node, above: Node): boolean {
  for (let at: Node | undefined = dir; at !== undefined; at = at.parent) if (at === above) return true;
  return false;
}

/** What a file system is, in the simplest words: a tree of maps, and files as arrays of bytes. Operations return an errno name or "ok". */
export class Model {
  readonly root: Node = { ino: ROOT_INO, entries: new Map(), content: [], nlink: 2, snapshots: 0, parent: undefined };
  /** All directories and files ever made, removed ones included. */
  readonly dirs: Node[] = [this.root];
  readonly files: Node[] = [];

  create(dir: Node, name: string, directory: boolean, ino: number): string {
    const code = this.mayCreate(dir, name);
    if (code !== "ok") return code;
    const entries = directory ? new Map<string, Node>() : undefined;
    const [nlink, parent] = directory ? [2, dir] : [1, undefined];
    const node: Node = { ino, entries, content: [], nlink, snapshots: 0, parent };
    dir.entries!.set(name, node);
    if (directory) dir.nlink += 1;
    (directory ? this.dirs : this.files).push(node);
    return "ok";
  }

  mayCreate(dir: Node, name: string): string {
    if (dir.nlink === 0) return "ENOENT";
    return dir.entries!.has(name) ? "EEXIST" : "ok";
  }

  link(node: Node, dir: Node, name: string): string {
    const code = this.mayCreate(dir, name);
    if (code !== "ok") return code;
    if (node.nlink === 0) return "ENOENT";
    dir.entries!.set(name, node);
    node.nlink += 1;
    return "ok";
  }

  unlink(dir: Node, name: string, directory: boolean): string {
    if (dir.nlink === 0) return "ENOENT";
    const node = dir.entries!.get(name);
    if (node === undefined) return "ENOENT";
    if (node.entries && !directory) return "EISDIR";
    if (!node.entries && directory) return "ENOTDIR";
    if (node.entries && (node.entries.size > 0 || node.snapshots > 0)) return "ENOTEMPTY";
    dir.entries!.delete(name);
    this.#lose(dir, node);
    return "ok";
  }

  rename(from: Node, a: string, to: Node, b: string, how: "" | "noReplace" | "exchange"): string {
    if (from.nlink === 0 || to.nlink === 0) return "ENOENT";
    const moved = from.entries!.get(a);
    if (moved === undefined) return "ENOENT";
    const target = to.entries!.get(b);
    if (target !== undefined && how === "noReplace") return "EEXIST";
    if (target === undefined && how === "exchange") return "ENOENT";
    if (moved === target) return "ok";
    if (moved.entries && isBelow(to, moved)) return "EINVAL";
    if (how === "exchange") {
      if (target!.entries && isBelow(from, target!)) return "EINVAL";
      from.entries!.set(a, target!);
      this.#adopt(to, from, target!);
    } else {
      if (target !== undefined) {
        if (moved.entries && !target.entries) return "ENOTDIR";
        if (target.entries && (target.entries.size > 0 || target.snapshots > 0) && moved.entries) return "ENOTEMPTY";
        if (target.entries && !moved.entries) return "EISDIR";
        this.#lose(to, target);
      }
      from.entries!.delete(a);
    }
    to.entries!.set(b, moved);
    this.#adopt(from, to, moved);
    return "ok";
  }

  truncate(file: Node, size: number): void {
    file.content.length = Math.min(size, file.content.length);
    while (file.content.length < size) file.content.push(undefined);
  }

  write(file: Node, extents: readonly { offset: number; length: number; block: number; blockOffset: number }[]): void {
    for (const { offset, length, block, blockOffset } of extents) {
      if (file.content.length < offset + length) this.truncate(file, offset + length);
      for (let i = 0; i < length; i++) file.content[offset + i] = [block, blockOffset + i];
    }
  }

  fallocate(file: Node, offset: number, length: number, zero: boolean, keepSize: boolean): void {
    const end = keepSize ? Math.min(offset + length, file.content.length) : offset + length;
    if (file.content.length < end) this.truncate(file, end);
    if (zero) for (let i = offset; i < end; i++) file.content[i] = undefined;
  }

  clone(source: Node, from: number, file: Node, offset: number, length: number): string {
    if (source === file && Math.abs(from - offset) < length) return "EINVAL";
    const copied = source.content.slice(from, from + length);
    if (copied.length === 0) return "ok";
    if (file.content.length < offset + copied.length) this.truncate(file, offset + copied.length);
    file.content.splice(offset, copied.length, ...copied);
    return "ok";
  }

  #adopt(from: Node, to: Node, node: Node): void {
    if (!node.entries) return;
    from.nlink -= 1;
    to.nlink += 1;
    node.parent = to;
  }

  #lose(dir: Node, node: Node): void {
    if (node.entries) {
      dir.nlink -= 1;
      node.nlink = 0;
    } else node.nlink -= 1;
  }
}
