// What the parts of the namenode are to one another: namespace/ (names and content), blocks/ (datanodes and replicas)
// and the store beneath. Each is written against these, not against the others.
import type {
  Accessed,
  Block,
  CommittedBlock,
  DatanodeAddress,
  Edit,
  EditInit,
  Inode,
  LocatedBlock,
} from "../proto/gen/types.js";
import type { KeyValue } from "./store/kv.js";

/** What applying an edit did, beyond the store: for the caller's reply and for blocks/. */
export interface Effects {
  /** The inode that the edit made or changed, as it is now. */
  inode?: Inode | undefined;
  /** Of what makes, moves or removes a name: the directory that it is in, or was, as it is now. */
  parent?: Inode | undefined;
  /** Of a move to another directory: the one that the name has left, as it is now. */
  left?: Inode | undefined;
  /** Of a rename: the inode that lost its name. */
  replaced?: Inode | undefined;
  /** Inodes that the edit changed: their attributes, content, or names in them. */
  touched?: number[] | undefined;
  /** Inodes that were read: nothing but their access time is another. */
  accessed?: Accessed[] | undefined;
  /** Names that came, went, or stand for another inode. */
  names?: { dir: number; name: Uint8Array }[] | undefined;
  /** The inode that has lost its last name, and the sessions it is kept for. */
  held?: { ino: number; sessions: number[] } | undefined;
  /** Of a clone: bytes. */
  copied?: number | undefined;
  /** Blocks that became part of the store, with the datanodes that have them. */
  committed?: { block: CommittedBlock; wanted: number }[] | undefined;
  /** Blocks whose wanted number of replicas changed. */
  wanted?: { block: Block; wanted: number }[] | undefined;
  /** Blocks that no extent refers to any more: their replicas are garbage. */
  freed?: Block[] | undefined;
  /** Whether the reclaim list has more to do. */
  reclaimable?: boolean | undefined;
  /** Whether what was kept for deleted snapshots is still to be looked for. */
  forgettable?: boolean | undefined;
}

/** An edit that has been applied. */
export interface Applied {
  index: number;
  effects: Effects;
}

/** Makes edits: assigns index and time, applies, appends to the journal with the turn's batch. */
export interface Editor {
  /** The store, with every edit so far visible. */
  readonly kv: KeyValue;
  readonly lastIndex: number;
  readonly syncedIndex: number;
  /** Applies an operation already validated. Synchronous; throws only InvariantError and ENOSPC (nothing was done). */
  apply(op: Omit<EditInit, "index" | "time"> & Partial<Pick<EditInit, "time">>): Applied;
  /** Resolves when the edit is in the journal (in the kernel's hands: safe from the death of this process). */
  appended(index: number): Promise<void>;
  /** Resolves when the edit is on the disk. Starts a sync if none is under way. */
  synced(index: number): Promise<void>;
  /** Called after every edit, live and replayed, with its effects. */
  onApplied(listener: (edit: Edit, effects: Effects) => void): void;
}

/** Names in the eyes of blocks/: which blocks are in use, which may become so. */
export interface BlockUse {
  /** The committed record of a block; undefined when no file refers to it. */
  committed(id: number): { generation: number; length: number; wanted: number } | undefined;
  /** Whether a living session holds the block: allocated, not yet committed. */
  isPending(id: number): boolean;
}

/** Datanodes and replicas in the eyes of the rest of the namenode. */
export interface BlockManager {
  /**
   * Datanodes for a new replica set, pipeline order, near the writer first. At least one. ENOSPC when no live datanode
   * has room for `size` bytes. May be fewer than asked for.
   */
  place(request: { replicas: number; size: number; host: string; exclude: readonly number[] }): DatanodeAddress[];
  /** Where a block's good replicas are: live before suspect, near before far. */
  locate(block: Block, host: string): Omit<LocatedBlock, "live">;
  /** A reader could not use a replica: it is verified and, if bad, replaced. */
  reportBad(block: Block, datanode: number, reason: string): void;
  /** Bytes over all live datanodes. */
  capacity(): { capacity: number; used: number; available: number };
  /** A block's replicas for fsck. */
  replicas(block: Block): BlockReplicas;
}

/** A block's replicas, as datanode ids. */
export interface BlockReplicas {
  /** Good, on datanodes in service that are not dead. */
  live: number[];
  corrupt: number[];
  /** Good, on datanodes that are being decommissioned and not dead. */
  leaving: number[];
  /** Good, on datanodes in maintenance; of these, on those that are away. */
  resting: number[];
  absent: number[];
}
