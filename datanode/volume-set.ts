import { randomUUID } from "node:crypto";
import { dirname, resolve } from "node:path";
import type { Clock } from "../common/clock.js";
import { CairnError, codeOf, messageOf, wrap } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import type { ReplicaIdentity } from "../proto/digest.js";
import type { VolumeStatus } from "../proto/gen/types.js";
import type { Disk } from "./disk.js";
import { UnfinishedReplica } from "./unfinished.js";
import { Volume } from "./volume.js";
import { scanVolume } from "./volume-scan.js";
import { readVersion, type VolumeVersion, writeVersion } from "./volume-version.js";

/** Volumes of one datanode at most: what ReplicaMap can number. */
export const MAX_VOLUMES = 255;
/** What a footer takes of an average block, at most: set aside beside the data, as a share of it. */
const FOOTER_SHARE = 1 / 1024;
/** Another one after each start of the machine. */
const BOOT_ID = "/proc/sys/kernel/random/boot_id";
/** Errors of a start that no other volume makes good: the folder is in use, or another's. */
const FATAL = new Set(["EBUSY", "EINVAL", "EPERM"]);

export interface VolumeSetOptions {
  paths: readonly string[];
  disk: Disk;
  /** Bytes of each file system to leave alone. */
  reserve: number;
  clock: Clock;
  log: Logger;
  /** 0 <= random() < 1 */
  random: () => number;
  /** Told of every finalized replica found at the start, and whether a loss of power may have torn it. */
  found: (volume: Volume, replica: ReplicaIdentity, isDoubted: boolean) => void;
  /** Told when a volume has failed and is not used any more. */
  onFailed: (volume: Volume, reason: CairnError) => void;
}

/** The volumes of a datanode. One that fails is left out; the others go on. */
export class VolumeSet {
  readonly all: readonly Volume[];
  readonly #options: VolumeSetOptions;
  readonly #locks = new Map<Volume, () => Promise<void>>();
  readonly #probes = new Map<Volume, Promise<void>>();
  #version: VolumeVersion = { datanode: "", cluster: "" };
  #bootId = "";

  /** @param options nothing is touched before open() */
  constructor(options: VolumeSetOptions) {
    this.#options = options;
    const { disk, reserve, clock } = options;
    this.all = options.paths.map(
      (path, index) =>
        new Volume({ index, path: resolve(path), disk, reserve, clock, onTrouble: (v) => this.#look(v) }),
    );
  }

  /**
   * Opens the volumes: locks them, makes new ones, lists their replicas. One that cannot be read is reported and left
   * out. EBUSY: in use by another process. EINVAL, EPERM: not a volume of this datanode. EIO: none can be used.
   */
  async open(): Promise<void> {
    const { disk, log, found } = this.#options;
    this.#bootId = (await disk.readText(BOOT_ID)).trim();
    try {
      const versions = new Map<Volume, VolumeVersion | undefined>();
      for (const volume of this.all) {
        await this.#orFail(volume, async () => versions.set(volume, await this.#lock(volume)));
      }
      this.#version = agreed(versions);
      for (const volume of this.live) {
        await this.#orFail(volume, async () => {
          await volume.refreshSpace();
          const { sinceMs, bad } = await volume.mark.open(this.#bootId);
          const isBad = new Set(bad);
          const note = (replica: ReplicaIdentity, isYoung: boolean) =>
            found(volume, replica, isYoung || isBad.has(replica.id));
          await scanVolume(volume, log, sinceMs, note);
          if (versions.get(volume) === undefined) await writeVersion(disk, volume.path, this.#version);
        });
      }
      if (this.live.length === 0) throw new CairnError("EIO", "no volume can be used", this.all[0]?.failure);
    } catch (err) {
      await this.close();
      throw err;
    }
  }

  /** The disks they are on. */
  get disk(): Disk {
    return this.#options.disk;
  }

  /** The volumes in use. */
  get live(): Volume[] {
    return this.all.filter((v) => v.failure === undefined);
  }

  /** This boot of the machine, as the kernel names it. */
  get bootId(): string {
    return this.#bootId;
  }

  /** Whose the volumes are. */
  get version(): VolumeVersion {
    return this.#version;
  }

  /** Their states, as the namenode is told. */
  statuses(): VolumeStatus[] {
    return this.all.map((v) => v.status());
  }

  /** Writes down which cluster the volumes belong to: once, at the first registration. */
  async joinCluster(cluster: string): Promise<void> {
    const version = { ...this.#version, cluster };
    for (const { path } of this.live) await writeVersion(this.#options.disk, path, version);
    this.#version = version;
  }

  /** Makes a new unfinished replica where there is room for `size` bytes of data. ENOSPC. */
  async create(id: number, generation: number, size: number): Promise<UnfinishedReplica> {
    const bytes = withFooter(size);
    const volume = this.#choose(bytes);
    const reservation = volume.space.reserve(bytes);
    try {
      const { path, file } = await volume.create(id, generation);
      return new UnfinishedReplica({ id, volume, path, file, reservation });
    } catch (err) {
      reservation.release();
      throw err;
    }
  }

  /** Asks the file systems how much is free; looks into those that do not answer. */
  async refreshSpace(): Promise<void> {
    await Promise.all(this.live.map((v) => v.refreshSpace().catch(() => undefined))); // attempt() has told #look
  }

  /** Gives up the locks. Nothing may be under way. */
  async close(): Promise<void> {
    await Promise.all(this.#probes.values());
    await Promise.all(this.all.map((volume) => volume.mark.close()));
    for (const unlock of this.#locks.values()) await unlock();
    this.#locks.clear();
  }

  /** A volume with room, by chance, those with more of it more likely: so that volumes fill evenly and share the load. */
  #choose(bytes: number): Volume {
    const candidates = this.live.filter((v) => v.space.available >= bytes);
    const total = candidates.reduce((sum, v) => sum + v.space.available, 0);
    let point = this.#options.random() * total;
    for (const volume of candidates) {
      point -= volume.space.available;
      if (point < 0) return volume;
    }
    const [any] = candidates;
    if (any !== undefined) return any;
    throw new CairnError("ENOSPC", `no volume of this datanode has room for ${bytes} bytes besides its reserve`);
  }

  async #lock(volume: Volume): Promise<VolumeVersion | undefined> {
    const { disk } = this.#options;
    if (await disk.makeDirectory(volume.path)) await syncAncestors(disk, volume.path);
    this.#locks.set(volume, await disk.lock(volume.path));
    return readVersion(disk, volume.path);
  }

  async #orFail(volume: Volume, open: () => Promise<unknown>): Promise<void> {
    try {
      await open();
    } catch (err) {
      const reason = wrap(err, `cannot use the volume ${volume.path}`);
      if (FATAL.has(reason.code)) throw reason;
      await this.#fail(volume, reason);
    }
  }

  /** Finds out whether a disk that gave an error still works. */
  #look(volume: Volume): void {
    if (this.#probes.has(volume)) return;
    const probe = volume
      .probe()
      .catch((err) => this.#fail(volume, wrap(err, `the volume ${volume.path} has failed`)))
      .finally(() => this.#probes.delete(volume));
    this.#probes.set(volume, probe);
  }

  async #fail(volume: Volume, reason: CairnError): Promise<void> {
    this.#options.log.error({ volume: volume.path, err: messageOf(reason) }, "a volume is not used any more");
    volume.fail(reason);
    this.#options.onFailed(volume, reason);
    await this.#locks.get(volume)?.();
    this.#locks.delete(volume);
  }
}

/** The bytes to set aside for a replica with this much data. */
export function withFooter(size: number): number {
  return size + Math.ceil(size * FOOTER_SHARE) + 512;
}

/** Brings the names of a new directory, and of those above it that may be new with it, to the platter. */
async function syncAncestors(disk: Disk, path: string): Promise<void> {
  const above = dirname(path);
  try {
    await disk.syncDirectory(above);
  } catch (err) {
    if (codeOf(err) !== "EACCES") throw err; // we have not made what we may not read
  }
  if (above !== path && above !== dirname(above)) await syncAncestors(disk, above);
}

/** The one version that the volumes have, or a new one. EPERM when they are of different datanodes or clusters. */
function agreed(versions: ReadonlyMap<Volume, VolumeVersion | undefined>): VolumeVersion {
  let first: { path: string; version: VolumeVersion } | undefined;
  for (const [{ path }, version] of versions) {
    if (version === undefined) continue;
    first ??= { path, version };
    if (version.datanode !== first.version.datanode || version.cluster !== first.version.cluster) {
      throw new CairnError("EPERM", `the volumes ${first.path} and ${path} belong to different datanodes`);
    }
  }
  return first?.version ?? { datanode: randomUUID(), cluster: "" };
}
