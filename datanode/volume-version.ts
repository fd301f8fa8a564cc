import { join } from "node:path";
import { z } from "zod";
import { CairnError, codeOf, wrap } from "../common/errors.js";
import type { Disk } from "./disk.js";

/** The format of a volume's folder. */
const FORMAT = 1;

const schema = z.object({
  format: z.literal(FORMAT, { message: `a volume of another format than ${FORMAT}` }),
  datanode: z.uuid(),
  cluster: z.string().max(255),
});

/** Whose a volume is: the content of its VERSION file. */
export interface VolumeVersion {
  /** The datanode's UUID, made at its first start. */
  readonly datanode: string;
  /** The cluster's id; empty until the datanode has registered for the first time. */
  readonly cluster: string;
}

/** Reads a volume's VERSION file; undefined for a folder that has none: a new volume. EINVAL when it is not ours. */
export async function readVersion(disk: Disk, volume: string): Promise<VolumeVersion | undefined> {
  const path = join(volume, "VERSION");
  let text: string;
  try {
    text = await disk.readText(path);
  } catch (err) {
    if (codeOf(err) === "ENOENT") return undefined;
    throw wrap(err, `cannot read ${path}`);
  }
  try {
    const { datanode, cluster } = schema.parse(JSON.parse(text));
    return { datanode, cluster };
  } catch (err) {
    throw new CairnError("EINVAL", `${path} is not the VERSION file of a datanode's volume`, err);
  }
}

/** Writes a volume's VERSION file, durably. */
export async function writeVersion(disk: Disk, volume: string, version: VolumeVersion): Promise<void> {
  const path = join(volume, "VERSION");
  try {
    await disk.replaceText(path, `${JSON.stringify({ format: FORMAT, ...version }, null, 2)}\n`);
  } catch (err) {
    throw wrap(err, `cannot write ${path}`);
  }
}
