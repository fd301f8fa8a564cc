// The numbers of inodes in snapshots: (slot, number of today), and those of the lists of snapshots. Below 2^53, so that they are
// exact everywhere.
import { SNAPSHOT_INOS } from "../../../common/snapshots.js";

/** Stands for the lists of snapshots where others have their slot. */
const LISTS = 2 ** 53 / SNAPSHOT_INOS - 1;
/** Slots are 1 to this. They are given out in turn, so that one comes again only after thousands of other snapshots. */
export const MAX_SLOT = LISTS - 1;

/** The number of an inode in the snapshot that has a slot. */
export const inoInSlot = (slot: number, ino: number): number => slot * SNAPSHOT_INOS + ino;
/** The number of the list of a directory's snapshots: of DIR/.snapshot. */
export const inoOfList = (dir: number): number => inoInSlot(LISTS, dir);
/** The slot of an inode's number; 0: it is one of today. */
export const slotOf = (ino: number): number => Math.floor(ino / SNAPSHOT_INOS);
/** What an inode of a snapshot, or the directory of a list, is today. */
export const inoToday = (ino: number): number => ino % SNAPSHOT_INOS;
/** Whether a number is that of a list of snapshots. */
export const isList = (ino: number): boolean => slotOf(ino) === LISTS;
