import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { CairnError } from "../../common/errors.js";
import { Layout } from "./layout.js";

/** Most datanodes of a cluster on one machine. */
export const MAX_DATANODES = 64;

const port = z.number().int().min(1).max(65_535);
const schema = z.strictObject({
  format: z.literal("cairn-cluster-1"),
  /** The namenode's port. */
  httpPort: port,
  /** The ports of datanode-1, datanode-2, …: as many as there are datanodes. */
  datanodePorts: z.array(port).min(1).max(MAX_DATANODES),
  /** The mountpoint. */
  mount: z.string().startsWith("/"),
});

/** What a cluster on this machine was started with, kept for later starts: cluster.json in its root. */
export type ClusterConfig = Omit<z.output<typeof schema>, "format">;

/** Reads a root's cluster.json. ENOENT when there is none, EINVAL when it is damaged. */
export function readConfig(root: string): ClusterConfig {
  const config = readConfigIfAny(root);
  if (config !== undefined) return config;
  throw new CairnError("ENOENT", `no cluster was started in ${new Layout(root).root} (try: cairn cluster start)`);
}

/** As readConfig; undefined when there is none. */
export function readConfigIfAny(root: string): ClusterConfig | undefined {
  const path = new Layout(root).config;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new CairnError(code ?? "EIO", `cannot read ${path}`, err);
  }
  try {
    const { format: _format, ...config } = schema.parse(JSON.parse(text));
    return config;
  } catch (err) {
    throw new CairnError("EINVAL", `${path} is damaged`, err);
  }
}

/** Writes a root's cluster.json, replacing it in one step. */
export function writeConfig(root: string, config: ClusterConfig): void {
  const layout = new Layout(root);
  mkdirSync(layout.root, { recursive: true });
  const temporary = `${layout.config}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify({ format: "cairn-cluster-1", ...config }, null, 2)}\n`);
  renameSync(temporary, layout.config);
}
