import { writeFile } from "node:fs/promises";
import { messageOf } from "../common/errors.js";
import { KIB, MIB } from "../common/limits.js";
import type { Logger } from "../common/log.js";
import { mountAt } from "./mountinfo.js";

/**
 * How far the kernel reads ahead by binding, bytes. (Measured: one cold reader is a third faster with 4 MiB than with 1 MiB through the kernel
 * binding, and slower by as much through fuse-native, whose requests have 128 KiB.)
 */
export const READ_AHEAD = { kernel: 4 * MIB, "fuse-native": MIB } as const;

/**
 * Lets the kernel read ahead further than the 128 KiB it starts with, so that several requests are under way while a program
 * reads a file from front to back. Only root may; without it reading is slower, not wrong.
 */
export async function raiseReadAhead(mountpoint: string, bytes: number, log: Logger): Promise<void> {
  const entry = await mountAt(mountpoint);
  if (!entry) return;
  try {
    await writeFile(`/sys/class/bdi/${entry.device}/read_ahead_kb`, String(Math.floor(bytes / KIB)));
  } catch (err) {
    log.info({ mountpoint }, `the kernel's read-ahead stays as it is: ${messageOf(err)}`);
  }
}
