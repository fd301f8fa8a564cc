import { randomBytes } from "node:crypto";
import { dirname, join } from "node:path";
import type { Clock } from "../common/clock.js";
import { CairnError, codeOf, wrap } from "../common/errors.js";
import { KIB } from "../common/limits.js";
import { readFully } from "../proto/block-footer.js";
import type { ReplicaIdentity } from "../proto/digest.js";
import type { VolumeStatus } from "../proto/gen/types.js";
import { BootMark } from "./boot-mark.js";
import { DirectorySyncs } from "./directory-syncs.js";
import type { Disk, DiskFile } from "./disk.js";
import { replicaDirectory, replicaName } from "./replica-name.js";
import { Space } from "./space.js";

/** Errors that a sound disk gives too: they say nothing against the volume. */
const ORDINARY = new Set(["ENOSPC", "EDQUOT", "EBADMSG", "EEXIST", "EMFILE", "ENFILE", "EINVAL", "ECANCELED"]);
/** What a probe writes and reads back, bytes. */
const PROBE_SIZE = 4 * KIB;

export interface VolumeOptions {
  /** Its number, as ReplicaMap has it. */
  index: number;
  path: string;
  disk: Disk;
  /** Bytes of the file system to leave alone. */
  reserve: number;
  clock: Clock;
  /** Told of an error that a sound disk does not give. */
  onTrouble: (volume: Volume, err: CairnError) => void;
}

/** One folder of block files, on one disk. */
export class Volume {
  readonly index: number;
  readonly path: string;
  readonly disk: Disk;
  readonly space: Space;
  /** Since when what was written to it may not be on the platter. */
  readonly mark: BootMark;
  /** Where unfinished replicas are. */
  readonly openPath: string;
  /** Where finalized ones are. */
  readonly blocksPath: string;
  /** Bytes of blocks (uncompressed) on this volume. */
  used = 0;
  readonly #onTrouble: VolumeOptions["onTrouble"];
  readonly #syncs: DirectorySyncs;
  /** Directories of replicas whose own names are known to be on the platter. */
  readonly #durable = new Set<string>();
  #failure: CairnError | undefined;
  #made = 0;

  constructor(options: VolumeOptions) {
    this.index = options.index;
    this.path = options.path;
    this.disk = options.disk;
    this.space = new Space(options.path, options.reserve);
    this.mark = new BootMark(
      options.disk,
      options.path,
      options.clock,
      (err) => void this.failed(`cannot move the mark of ${this.path} on`, err),
    );
    this.openPath = join(options.path, "open");
    this.blocksPath = join(options.path, "blocks");
    this.#onTrouble = options.onTrouble;
    this.#syncs = new DirectorySyncs((path) => this.disk.syncDirectory(path));
  }

  /** Why the volume is not used any more; undefined while it is. */
  get failure(): CairnError | undefined {
    return this.#failure;
  }

  /** Gives the volume up: nothing is written to it or read from it any more. */
  fail(reason: CairnError): void {
    this.#failure ??= reason;
  }

  /** Its state, as the namenode is told. */
  status(): VolumeStatus {
    const failed = this.#failure !== undefined;
    return {
      path: this.path,
      capacity: failed ? 0 : this.space.capacity,
      used: this.used,
      free: failed ? 0 : this.space.available,
      failed,
      error: this.#failure?.message ?? "",
    };
  }

  /** The file of a finalized replica. */
  pathOf(replica: ReplicaIdentity): string {
    return join(replicaDirectory(this.blocksPath, replica.id), replicaName(replica));
  }

  /** Runs something on this volume's disk; its error says what was attempted, and is looked into if it is the disk's. */
  async attempt<T>(attempted: string, run: () => Promise<T>): Promise<T> {
    if (this.#failure !== undefined) throw new CairnError("EIO", attempted, this.#failure);
    try {
      return await run();
    } catch (err) {
      throw this.failed(attempted, err);
    }
  }

  /** Says what was attempted when an error came, and has the volume looked into if a sound disk would not give it. */
  failed(attempted: string, err: unknown): CairnError {
    const wrapped = wrap(err, attempted);
    if (!ORDINARY.has(wrapped.code) && this.#failure === undefined) this.#onTrouble(this, wrapped);
    return wrapped;
  }

  /** Makes the file of an unfinished replica. */
  async create(id: number, generation: number): Promise<{ path: string; file: DiskFile }> {
    const path = this.#unfinishedPath(id, generation);
    return { path, file: await this.attempt(`cannot make ${path}`, () => this.disk.open(path, "create")) };
  }

  /** Moves an unfinished replica's file to where the finalized ones are. */
  place(from: string, replica: ReplicaIdentity): Promise<void> {
    const to = this.pathOf(replica);
    return this.attempt(`cannot finalize block ${replica.id} on ${this.path}`, async () => {
      try {
        await this.disk.rename(from, to);
      } catch (err) {
        if (codeOf(err) !== "ENOENT") throw err;
        await this.disk.makeDirectory(dirname(to)); // the first block in it
        await this.disk.rename(from, to);
      }
    });
  }

  /** Moves a finalized replica's file back to the unfinished ones; returns where it is then. */
  async unplace(replica: ReplicaIdentity): Promise<string> {
    const path = this.#unfinishedPath(replica.id, replica.generation);
    await this.attempt(`cannot reopen block ${replica.id} on ${this.path}`, () =>
      this.disk.rename(this.pathOf(replica), path),
    );
    return path;
  }

  /** Removes a file; fine when there is none. */
  remove(path: string): Promise<void> {
    return this.attempt(`cannot remove ${path}`, async () => {
      try {
        await this.disk.unlink(path);
      } catch (err) {
        if (codeOf(err) !== "ENOENT") throw err;
      }
    });
  }

  /** Brings the name of a finalized replica to the platter, with the names of the directories that lead to it. */
  syncName(id: number): Promise<void> {
    const directory = replicaDirectory(this.blocksPath, id);
    return this.attempt(`cannot sync ${directory}`, async () => {
      await this.#syncs.sync(directory);
      if (this.#durable.has(directory)) return;
      await this.#syncs.sync(dirname(directory));
      await this.#syncs.sync(this.blocksPath);
      this.#durable.add(directory);
    });
  }

  /** Asks the file system how much is free. */
  async refreshSpace(): Promise<void> {
    this.space.update(await this.attempt(`cannot stat ${this.path}`, () => this.disk.space(this.path)));
  }

  /** Whether the disk can be written and read: rejects when it cannot. */
  async probe(): Promise<void> {
    const path = join(this.openPath, `probe-${this.#made++}`);
    const file = await this.disk.open(path, "create");
    try {
      const wanted = randomBytes(PROBE_SIZE);
      const found = Buffer.alloc(PROBE_SIZE);
      await file.write([wanted], 0);
      await file.sync();
      await readFully(file, found, 0);
      if (!found.equals(wanted)) throw new CairnError("EIO", `${this.path} gives back other bytes than were written`);
    } catch (err) {
      // A full disk is not a broken one.
      if (codeOf(err) !== "ENOSPC") throw err;
    } finally {
      await file.close();
      await this.disk.unlink(path);
    }
  }

  #unfinishedPath(id: number, generation: number): string {
    return join(this.openPath, `${id.toString(16)}-${generation.toString(16)}.${this.#made++}`);
  }
}
