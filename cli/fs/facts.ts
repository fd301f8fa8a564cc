import type { CairnClient } from "../../client/contract.js";
import { Compression, type Inode, type PolicyInit } from "../../proto/gen/types.js";
import { print } from "../output.js";
import { table } from "../table.js";
import { compressionText, fullTime, human, isDirectory, isSymlink, modeText, ownerText, typeName } from "./format.js";
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
      ...policyFacts(inode),
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
    // A field that is zero means "as it is", and so does RAW: the whole policy is handed over.
    const wanted: PolicyInit = {
      replicas: options.replicas ?? inode.policy.replicas,
      blockSize: options.blockSize ?? inode.policy.blockSize,
      compression:
        options.compression === undefined
          ? inode.policy.compression
          : options.compression === "lz4"
            ? Compression.LZ4
            : Compression.RAW,
    };
    inode = await client.meta.setAttributes(inode.ino, { policy: wanted });
  }
  const title = `${normalize(path)}${isDirectory(inode) ? " (for what is made in it from now on)" : ""}`;
  await print(
    `${title}\n${policyFacts(inode)
      .map(([name, value]) => `  ${name}: ${value}`)
      .join("\n")}\n`,
  );
}

function policyFacts(inode: Inode): [string, string][] {
  if (inode.policy.replicas === 0) return [];
  return [
    ["replicas", String(inode.policy.replicas)],
    ["block size", `${inode.policy.blockSize} (${human(inode.policy.blockSize)})`],
    ["compression", compressionText(inode)],
  ];
}
