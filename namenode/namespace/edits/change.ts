import { invariant } from "../../../common/errors.js";
import { ClusterRecord, type Edit, type Inode, type Time } from "../../../proto/gen/types.js";
import type { Effects } from "../../contract.js";
import type { KeyValue } from "../../store/kv.js";
import { CLUSTER } from "../keys.js";
import { readCluster, readInode, writeInode } from "../records.js";
import { readSnapshots } from "../snapshots/records.js";
import { VersionedStore } from "../snapshots/versions.js";
import { BlockTally } from "./tally.js";

/** The effects of an edit that has none: with all fields, so that V8 need not look for those that are not there. */
const NONE: { readonly [K in keyof Required<Effects>]: undefined } = {
  inode: undefined,
  parent: undefined,
  left: undefined,
  replaced: undefined,
  touched: undefined,
  accessed: undefined,
  names: undefined,
  held: undefined,
  copied: undefined,
  committed: undefined,
  wanted: undefined,
  freed: undefined,
  reclaimable: undefined,
  forgettable: undefined,
};

/** One edit being applied: the store, what the edit has decided, and what comes of it. */
export class Change {
  /** The store. While there are snapshots, what they show is kept before it is changed. */
  readonly kv: KeyValue;
  readonly #versioned: VersionedStore | undefined;
  readonly index: number;
  readonly time: Time;
  readonly effects: Effects = { ...NONE };
  /** The liveness of the blocks that the edit touches. */
  readonly tally: BlockTally;
  #cluster: ClusterRecord | undefined;

  constructor(edit: Edit, kv: KeyValue) {
    this.index = edit.index;
    this.time = edit.time;
    this.tally = new BlockTally(kv);
    const snapshots = readSnapshots(kv);
    this.#versioned = snapshots && new VersionedStore(kv, this.tally, snapshots.nextIno);
    this.kv = this.#versioned ?? kv;
  }

  /** The cluster's counters, to be changed in place: settle() stores them. */
  get cluster(): ClusterRecord {
    this.#cluster ??= { ...readCluster(this.kv) };
    return this.#cluster;
  }

  /** An inode that the edit's validation has seen. */
  inode(ino: number): Inode {
    const inode = readInode(this.kv, ino);
    invariant(inode !== undefined, () => `inode ${ino} of edit ${this.index} exists`);
    return inode;
  }

  /** Stores an inode as changed by this edit: its status change time and version are the edit's. */
  touch(inode: Inode): void {
    inode.ctime = this.time;
    this.rearrange(inode);
  }

  /** Stores an inode whose bytes are elsewhere after this edit, and the same: its times stay. */
  rearrange(inode: Inode): void {
    inode.version = this.index;
    this.store(inode);
    this.effects.touched ??= [];
    this.effects.touched.push(inode.ino);
  }

  /** Stores an inode that has another access time: what is known of it otherwise goes on to hold. */
  accessed(inode: Inode): void {
    this.store(inode);
    this.effects.accessed ??= [];
    this.effects.accessed.push({ ino: inode.ino, atime: inode.atime });
  }

  /** Stores an inode with a note of whose snapshots may refer to it, wherever this edit has brought it. */
  store(inode: Inode): void {
    const roots = this.#versioned?.covered(inode.ino).roots;
    inode.coverage = roots === undefined || roots.length === 0 ? null : { roots };
    writeInode(this.kv, inode);
  }

  /** Notes that a name came or went. */
  named(dir: number, name: Uint8Array): void {
    this.effects.names ??= [];
    this.effects.names.push({ dir, name });
  }

  /** As touch, for a change of content (a directory's names, a file's bytes): the modification time is the edit's, too. */
  modify(inode: Inode): void {
    inode.mtime = this.time;
    this.touch(inode);
  }

  /** Stores what was counted on the way, and notes it in the effects. */
  settle(): void {
    const { committed, freed, wanted } = this.tally.settle();
    if (committed.length > 0) this.effects.committed = committed;
    if (freed.length > 0) this.effects.freed = freed;
    if (wanted.length > 0) this.effects.wanted = wanted;
    const born = committed.length;
    const died = freed.length - this.tally.stillborn;
    if (born !== died) this.cluster.blocks += born - died;
    if (this.#cluster !== undefined) {
      const { files, directories, blocks } = this.#cluster;
      invariant(files >= 0 && directories >= 0 && blocks >= 0, "the cluster's counts are never negative");
      this.kv.put(CLUSTER, ClusterRecord.encode(this.#cluster).finish());
    }
  }
}
