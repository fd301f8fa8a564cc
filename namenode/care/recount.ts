import type { Clock } from "../../common/clock.js";
import type { Logger } from "../../common/log.js";
import { Inode } from "../../proto/gen/types.js";
import { isInline } from "../../proto/inline.js";
import type { Editor } from "../contract.js";
import { BLOCKS, INODES, idOfBlock } from "../namespace/keys.js";
import { readCluster } from "../namespace/records.js";
import { isDirectory } from "../namespace/types.js";
import type { Snapshot, Store } from "../store/store.js";

/** Records looked at in one turn of the event loop. */
const SLICE = 1_000;

/** What is counted with. */
export interface RecountParts {
  readonly store: Pick<Store, "snapshot">;
  readonly editor: Editor;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The cluster's counters, or how far they are from what they should be. */
export interface Counts {
  files: number;
  directories: number;
  blocks: number;
}

/**
 * Counts everything in a snapshot, and corrects the counters by what they were wrong by then: that is what they are wrong by
 * now, as every edit changes them by as much as it should. @returns the differences
 */
export async function recount({ store, editor, clock, log }: RecountParts): Promise<Counts> {
  const snapshot = await store.snapshot();
  let wrong: Counts;
  try {
    const counted = await count(snapshot, () => new Promise((resolve) => clock.after(0, resolve)));
    const { files, directories, blocks } = readCluster(snapshot);
    wrong = {
      files: counted.files - files,
      directories: counted.directories - directories,
      blocks: counted.blocks - blocks,
    };
  } finally {
    snapshot.close();
  }
  if (wrong.files === 0 && wrong.directories === 0 && wrong.blocks === 0) return wrong;
  log.warn(wrong, "the counters of files, directories and blocks were wrong, and are corrected");
  const { index } = editor.apply({ recount: wrong });
  await editor.appended(index);
  return wrong;
}

/** Counts what has a name, and blocks on datanodes that are referred to. */
async function count(snapshot: Snapshot, pause: () => Promise<void>): Promise<Counts> {
  const counts = { files: 0, directories: 0, blocks: 0 };
  let seen = 0;
  for (const [, value] of snapshot.range(INODES)) {
    if (++seen % SLICE === 0) await pause();
    const inode = Inode.decode(value);
    if (inode.nlink === 0) continue;
    if (isDirectory(inode)) counts.directories++;
    else counts.files++;
  }
  for (const [key] of snapshot.range(BLOCKS)) {
    if (++seen % SLICE === 0) await pause();
    if (!isInline(idOfBlock(key))) counts.blocks++;
  }
  return counts;
}
