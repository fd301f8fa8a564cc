import type { CairnClient } from "../../client/contract.js";
import { ROOT_INO } from "../../common/limits.js";
import { Compression, type Inode, type Policy, type PolicyInit } from "../../proto/gen/types.js";
import { print } from "../output.js";
import { table } from "../table.js";
import {
  compressionText,
  fullTime,
  human,
  isDirectory,
  isFile,
  isSymlink,
  modeText,
  ownerText,
  typeName,
} from "./format.js";
import { normalize } from "./paths.js";

/** `cairn fs stat`: everything the namenode knows of a path. A symbolic link is not followed. */
export async function stat(client: CairnClient, paths: readonly string[]): Promise<void> {
  for (const path of paths.map(normalize)) {
    const inode = await client.meta.resolve(path, false);
    const facts: [string, string][] = [
      ["path", path],
      ["type", typeName(inode.mode)],
      ...(isSymlink(inode) ? [["target", inode.target.toString()] as [string, string]] : []),
      ["size", `${inode.size} bytes, ${inode.allocated} of them allocated`],
      ["mode", `${(inode.mode & 0o7777).toString(8).padStart(4, "0")} ${modeText(inode.mode)}`],
      ["owner", `${ownerText("passwd", inode.uid)} (${inode.uid}), ${ownerText("group", inode.gid)} (${inode.gid})`],
      ["inode", String(inode.ino)],
      ["links", String(inode.nlink)],
      ["accessed", fullTime(inode.atime)],
      ["modified", fullTime(inode.mtime)],
      ["changed", fullTime(inode.ctime)],
      ...(isFile(inode) ? policyFacts(inode.policy) : []),
    ];
    const width = Math.max(...facts.map(([name]) => name.length));
    await print(`${facts.map(([name, value]) => `${name.padStart(width)}: ${value}`).join("\n")}\n`);
  }
}

/** `cairn fs df`: the space of the cluster, all copies counted. */
export async function df(client: CairnClient, options: { human?: boolean }): Promise<void> {
  const { capacity, used, available } = await client.meta.capacity();
  const size = (bytes: number) => (options.human ? human(bytes) : String(bytes));
  const share = used + available === 0 ? 0 : Math.ceil((100 * used) / (used + available));
  const row = [client.cluster, size(capacity), size(used), size(available), `${share}%`];
  await print(`${table(["Cluster", "Size", "Used", "Available", "Use%"], [row], [1, 2, 3, 4])}\n`);
}

/** What `cairn fs policy` may set. */
export interface PolicyOptions {
  readonly replicas?: number;
  readonly blockSize?: number;
  readonly compression?: "raw" | "lz4";
}

/** `cairn fs policy`: shows, or sets, how the bytes of a file, or of what will be made in a folder, are kept. */
export async function policy(client: CairnClient, path: string, options: PolicyOptions): Promise<void> {
  let inode = await client.meta.resolve(normalize(path), true);
  const asked = Object.values(options).some((value) => value !== undefined);
  if (asked) {
    const { replicas, blockSize, compression } = options;
    const wanted: PolicyInit = {
      replicas,
      blockSize,
      compression: compression && (compression === "lz4" ? Compression.LZ4 : Compression.RAW),
    };
    inode = await client.meta.setAttributes(inode.ino, { policy: wanted });
  }
  const title = `${normalize(path)}${isDirectory(inode) ? " (for what is made in it from now on)" : ""}`;
  const facts = policyFacts(await effectivePolicy(client, inode));
  await print(`${title}\n${facts.map(([name, value]) => `  ${name}: ${value}`).join("\n")}\n`);
}

/** What holds for an inode: a folder says only what it was told, the rest is said by those above it, or the cluster. */
async function effectivePolicy(client: CairnClient, inode: Inode): Promise<Policy> {
  const { replicas, blockSize, compression } = inode.policy;
  if (isFile(inode) || (replicas && blockSize && compression)) return inode.policy;
  const above =
    inode.ino === ROOT_INO ? client.policy : await effectivePolicy(client, await client.meta.getInode(inode.parent));
  return {
    replicas: replicas || above.replicas,
    blockSize: blockSize || above.blockSize,
    compression: compression || above.compression,
  };
}

function policyFacts({ replicas, blockSize, compression }: Policy): [string, string][] {
  return [
    ["replicas", String(replicas)],
    ["block size", `${blockSize} (${human(blockSize)})`],
    ["compression", compressionText(compression)],
  ];
}
