import { CairnError, codeOf, messageOf } from "../common/errors.js";
import { MAX_BLOCK_SIZE } from "../common/limits.js";
import type { Logger } from "../common/log.js";
import type { ReplicaIdentity } from "../proto/digest.js";
import { type ReplicaChange, ReplicaChangeState } from "../proto/gen/types.js";
import type { BackgroundSync } from "./background-sync.js";
import { BlockFile } from "./block-file.js";
import { Doubts } from "./doubts.js";
import { OpenFiles } from "./open-files.js";
import { type PlacedReplica, ReplicaMap } from "./replica-map.js";
import { UnfinishedReplica } from "./unfinished.js";
import type { Volume } from "./volume.js";
import { VolumeSet, type VolumeSetOptions, withFooter } from "./volume-set.js";

const { FINALIZED, DELETED } = ReplicaChangeState;

export interface StoreOptions extends Omit<VolumeSetOptions, "found" | "onFailed"> {
  background: BackgroundSync;
  /** Told of every replica that came or went. */
  report: (change: ReplicaChange) => void;
  /** Told when the last volume has failed. */
  onNoVolume: (reason: CairnError) => void;
}

/** The replicas of this datanode and the volumes they are on. */
export class ReplicaStore {
  readonly map = new ReplicaMap();
  /** Replicas that a loss of power may have torn. */
  readonly doubts = new Doubts();
  readonly volumes: VolumeSet;
  readonly #options: StoreOptions;
  readonly #log: Logger;
  readonly #files: OpenFiles;
  #isOpen = false;
  /** Replicas found at the start beside a newer one of the same block. */
  readonly #stale: PlacedReplica[] = [];

  /** @param options nothing is touched before open() */
  constructor(options: StoreOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#files = new OpenFiles((r) => BlockFile.open(this.volumeOf(r), r, this.volumes.version.cluster), this.#log);
    this.volumes = new VolumeSet({
      ...options,
      found: (volume, replica, isDoubted) => this.#found(volume, replica, isDoubted),
      onFailed: (volume, reason) => this.#drop(volume, reason),
    });
  }

  /** Opens the volumes and takes in what is on them. Rejects as VolumeSet.open. */
  async open(): Promise<void> {
    await this.volumes.open();
    this.#isOpen = true;
    for (const replica of this.#stale.splice(0)) await this.#removeFile(replica);
  }

  /** The finalized replica of a block of just this generation. ENOENT. */
  get(id: number, generation: number): PlacedReplica {
    const replica = this.map.get(id);
    if (replica === undefined || replica.generation !== generation) {
      throw new CairnError("ENOENT", `no replica of block ${id}, generation ${generation}, here`);
    }
    return replica;
  }

  /** The volume that a replica is on. */
  volumeOf(replica: PlacedReplica): Volume {
    return this.volumes.all[replica.volume]!;
  }

  /** Runs something on a finalized replica's open file. ENOENT, EBADMSG, EIO. */
  use<T>(replica: PlacedReplica, run: (file: BlockFile) => Promise<T>): Promise<T> {
    return this.#files.use(replica, run);
  }

  /** Makes a new unfinished replica. ENOSPC. */
  create(id: number, generation: number, size: number): Promise<UnfinishedReplica> {
    return this.volumes.create(id, generation, size);
  }

  /** Finalizes a replica and reports it; an older one of the block is removed. Durable when that was asked for. */
  async finalize(unfinished: UnfinishedReplica, generation: number, sync: boolean): Promise<void> {
    const replica = { id: unfinished.id, generation, length: unfinished.table.length };
    const { volume } = unfinished;
    const file = await unfinished.finalize(replica, this.volumes.version.cluster, sync);
    if (sync) this.#options.background.close(file);
    else this.#options.background.add(volume, replica.id, file);
    const older = this.map.get(replica.id);
    if (older !== undefined) this.#forget(older);
    this.#put(volume, replica);
    this.#options.report({ block: replica, state: FINALIZED });
    if (older !== undefined) await this.#removeFile(older);
  }

  /** Makes a finalized replica an unfinished one again, for a writer that did not learn that it was finalized. */
  async reopen(replica: PlacedReplica): Promise<UnfinishedReplica> {
    const volume = this.volumeOf(replica);
    const { id } = replica;
    const table = await this.use(replica, async (file) => file.table);
    const reservation = volume.space.reserve(withFooter(MAX_BLOCK_SIZE - replica.length));
    try {
      this.#forget(replica);
      const path = await volume.unplace(replica);
      const file = await volume.attempt(`cannot open ${path}`, () => volume.disk.open(path, "write"));
      return new UnfinishedReplica({ id, volume, path, file, reservation, table });
    } catch (err) {
      reservation.release();
      throw err;
    }
  }

  /** Removes a replica. It is not served from now on, and reported when its file is gone. Nothing happens if it is not here. */
  async remove(id: number, generation: number): Promise<void> {
    const replica = this.map.get(id);
    if (replica?.generation === generation) {
      this.#take(replica);
      await this.#removeFile(replica);
      this.#report(replica, DELETED);
    } else if (replica === undefined) {
      // The namenode believes that it is here: say again that it is not.
      this.#options.report({ block: { id, generation, length: 0 }, state: DELETED });
    }
  }

  /** Says that a replica's file is not there any more, though it was not removed here. */
  lost(replica: PlacedReplica): void {
    if (this.map.get(replica.id)?.generation === replica.generation) this.#forget(replica);
  }

  /** Brings a finalized replica and its name to the platter, whatever is in it. ENOENT. */
  async sync(id: number, generation: number): Promise<void> {
    const replica = this.get(id, generation);
    await this.use(replica, (file) => file.sync());
    await this.volumeOf(replica).syncName(id);
  }

  /** Closes files and gives up the volumes. */
  async close(): Promise<void> {
    this.#files.close();
    await this.volumes.close();
  }

  /** A crash between finalizing a newer replica and removing the older one that it replaces leaves both. */
  #found(volume: Volume, replica: ReplicaIdentity, isDoubted: boolean): void {
    const known = this.map.get(replica.id);
    if (known !== undefined && known.generation >= replica.generation) {
      this.#stale.push({ ...replica, volume: volume.index });
      return;
    }
    if (known !== undefined) {
      this.#take(known);
      this.#stale.push(known);
    }
    this.#put(volume, replica);
    if (isDoubted) this.doubts.add(replica.id);
  }

  #put(volume: Volume, replica: ReplicaIdentity): void {
    const { id, generation, length } = replica;
    this.map.add({ id, generation, length, volume: volume.index });
    volume.used += length;
  }

  /** Takes a replica out of the map; its file stays. */
  #take(replica: PlacedReplica): void {
    this.map.remove(replica.id);
    this.doubts.remove(replica.id);
    this.#files.evict(replica.id);
    this.volumeOf(replica).used -= replica.length;
  }

  #forget(replica: PlacedReplica): void {
    this.#take(replica);
    this.#report(replica, DELETED);
  }

  async #removeFile(replica: PlacedReplica): Promise<void> {
    const volume = this.volumeOf(replica);
    if (volume.failure !== undefined) return;
    try {
      await volume.remove(volume.pathOf(replica));
    } catch (err) {
      this.#log.warn({ block: replica.id, code: codeOf(err), err: messageOf(err) }, "a replica could not be removed");
    }
  }

  #report({ id, generation, length }: PlacedReplica, state: ReplicaChangeState): void {
    this.#options.report({ block: { id, generation, length }, state });
  }

  #drop(volume: Volume, reason: CairnError): void {
    for (const id of [...this.map.onVolume(volume.index)]) this.#forget(this.map.get(id)!);
    if (this.#isOpen && this.volumes.live.length === 0) this.#options.onNoVolume(reason);
  }
}
