import type { ReclaimEdit } from "../../../proto/gen/types.js";
import type { RangeOptions } from "../../store/kv.js";
import { extentsOf, inodeKey, inoOfReclaim, RECLAIM, xattrsOf } from "../keys.js";
import { extentOf } from "../records.js";
import type { Change } from "./change.js";

/**
 * Frees what deleted inodes hold, oldest first, for a bounded number of store entries: extents, extended attributes and
 * the inodes themselves. The inode's record goes first, so that nobody sees a file with a part of its content.
 */
export function reclaim(change: Change, edit: ReclaimEdit): void {
  const { kv, tally } = change;
  let left = edit.extents;
  /** Deletes a range while there is budget; false when entries remain. */
  const clear = (range: RangeOptions, each?: (key: string, value: Uint8Array) => void): boolean => {
    for (const [key, value] of kv.range(range)) {
      if (left <= 0) return false;
      each?.(key, value);
      kv.delete(key);
      left -= 1;
    }
    return true;
  };
  const uncount = (key: string, value: Uint8Array) => {
    const { block, length } = extentOf(key, value);
    tally.count(block, -1, -length);
  };
  for (const [key] of kv.range(RECLAIM)) {
    change.effects.reclaimable = true;
    if (left <= 0) return;
    const ino = inoOfReclaim(key);
    kv.delete(inodeKey(ino));
    left -= 1;
    if (!clear(xattrsOf(ino)) || !clear(extentsOf(ino), uncount)) return;
    kv.delete(key);
    change.effects.reclaimable = false;
  }
}
