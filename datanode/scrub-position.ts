import { join } from "node:path";
import { z } from "zod";
import { codeOf, wrap } from "../common/errors.js";
import type { Disk } from "./disk.js";

const schema = z.object({
  startedMs: z.number().int().nonnegative(),
  after: z.number().int().min(-1),
});

/** How far the scrubber of a volume has come: the content of its SCRUB file. */
export interface ScrubPosition {
  /** When this pass began, ms since 1970. */
  startedMs: number;
  /** The id of the block verified last; -1: none in this pass. */
  after: number;
}

const pathOf = (volume: string) => join(volume, "SCRUB");

/** Reads a volume's position; undefined when there is none, or none that makes sense: the pass begins anew. EIO. */
export async function readScrubPosition(disk: Disk, volume: string): Promise<ScrubPosition | undefined> {
  try {
    const parsed = schema.safeParse(JSON.parse(await disk.readText(pathOf(volume))));
    return parsed.success ? parsed.data : undefined;
  } catch (err) {
    if (codeOf(err) === "ENOENT" || err instanceof SyntaxError) return undefined;
    throw wrap(err, `cannot read ${pathOf(volume)}`);
  }
}

/** Writes a volume's position, durably. */
export async function writeScrubPosition(disk: Disk, volume: string, position: ScrubPosition): Promise<void> {
  try {
    await disk.replaceText(pathOf(volume), `${JSON.stringify(position)}\n`);
  } catch (err) {
    throw wrap(err, `cannot write ${pathOf(volume)}`);
  }
}
