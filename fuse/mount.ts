import type { CairnClient } from "../client/contract.js";
import type { Clock } from "../common/clock.js";
import { CairnError, InvariantError, messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import { type Binding, type Bound, bind } from "./binding.js";
import { FileSystem } from "./core.js";
import { within } from "./deadline.js";
import type { MountFlags } from "./flags.js";
import { guard } from "./guard.js";
import { mountAt } from "./mountinfo.js";
import { prepareMountpoint } from "./mountpoint.js";
import { READ_AHEAD, raiseReadAhead } from "./readahead.js";
import { type Owner, SquashedFileSystem } from "./squash.js";
import { subtree } from "./subtree.js";
import { MountTrash } from "./trash.js";
import { type Unmounted, unmount } from "./umount.js";
import { UserNames } from "./user-names.js";

/** How long what was written may take to commit when the mount ends: the cluster may be away, ms. */
const COMMIT_MS = 20_000;
/** How long libfuse may take to notice that its mount has gone, ms. */
const ENDED_MS = 5000;

export interface MountOptions extends MountFlags, Owner {
  /** What speaks to the kernel. */
  readonly binding: Binding;
  /** Shown as the source of the mount; the file system's type is "fuse.cairn". */
  readonly source: string;
  /** Whether other users than the one who mounts may use it. The kernel checks permissions either way. */
  readonly allowOther: boolean;
  /** How long the kernel may believe names and attributes, at most, ms. */
  readonly cacheMs: number;
  /** How far the kernel reads ahead of a program that reads a file from front to back, bytes; what the binding does best with unless set. */
  readonly readAhead?: number | undefined;
  /** Mount over a directory that is not empty. */
  readonly nonempty: boolean;
  /** Whether reads change no access times of directories. */
  readonly nodiratime: boolean;
  /** Whether what programs remove goes to the cluster's trash. */
  readonly trash: boolean;
  /** The directory of the cluster that is mounted: an absolute path. */
  readonly subdir: string;
}

/** A cluster mounted on a directory of this machine. */
export interface Mounted {
  /** As the kernel lists it. */
  readonly mountpoint: string;
  /** What speaks to the kernel. */
  readonly binding: Bound["binding"];
  /** Resolves when the mount has gone, whoever undid it. */
  readonly ended: Promise<void>;
  /**
   * Commits everything written, and unmounts: when no program uses the mount any more, or lazily after timeoutMs. Does not close
   * the client. Throws what could not be committed, after having unmounted.
   */
  unmount(timeoutMs?: number): Promise<Unmounted>;
}

/**
 * Mounts a cluster, or a directory of it. One that serves requests is returned; this process must never touch it synchronously (it would wait
 * for itself). EBUSY, ENOENT, ENOTDIR, ENOTEMPTY of the mountpoint; ENOENT, EACCES of /dev/fuse or libfuse; EINVAL without a trash
 * that is asked for.
 */
export async function mount(params: {
  client: CairnClient;
  mountpoint: string;
  options: MountOptions;
  clock: Clock;
  log: Logger;
}): Promise<Mounted> {
  const { options, clock, log } = params;
  const { uid, gid } = options;
  const client = await subtree(params.client, options.subdir);
  const mountpoint = await prepareMountpoint(params.mountpoint, { clock, log, nonempty: options.nonempty });
  const files = !options.readOnly && !options.noatime;
  const accessTimes = { files, directories: files && !options.nodiratime };
  const trash = options.trash ? { trash: await trashOf(params.client, options.subdir, clock) } : {};
  const parts = { client, kernelMs: options.cacheMs, log, clock, accessTimes, ...trash };
  const squashed = uid !== undefined || gid !== undefined;
  const fs = squashed ? new SquashedFileSystem(parts, { uid, gid }) : new FileSystem(parts);
  const { binding, ended } = await bind(fs, mountpoint, options, { clock, log });
  const commit = async () => {
    const late = await within(clock, COMMIT_MS, fs.flushAll(), "late");
    if (late)
      throw new CairnError("ETIMEDOUT", `commit what was written: the cluster did not take it in ${COMMIT_MS} ms`);
  };
  await raiseReadAhead(mountpoint, options.readAhead ?? READ_AHEAD[binding], log);
  // Only this one's threads hang over what they tell the kernel; and libfuse's device would stay open in the guard.
  if (binding === "kernel") await guard(mountpoint, log);
  return {
    mountpoint,
    binding,
    ended,
    async unmount(timeoutMs) {
      // First what can be committed now, so that a kill by an impatient init costs nothing; then what came while unmounting.
      await commit().catch((err: unknown) => {
        if (err instanceof InvariantError) throw err;
        log.error({ mountpoint }, messageOf(err));
      });
      let how: Unmounted = "clean";
      if (await mountAt(mountpoint))
        how = await unmount(mountpoint, { clock, ...(timeoutMs !== undefined && { timeoutMs }) });
      if (how === "clean") await within(clock, ENDED_MS, ended, undefined);
      await commit();
      return how;
    },
  };
}

/** The trash of a mount of a directory. EINVAL when the cluster keeps none. */
async function trashOf(client: CairnClient, subdir: string, clock: Clock): Promise<MountTrash> {
  if (client.trashMs === 0) {
    throw new CairnError("EINVAL", "mount with a trash: this cluster keeps none (its namenode's --trash-ms is 0)");
  }
  const { ino: top } = await client.meta.resolve(subdir, true);
  const users = new UserNames();
  const userName = (uid: number) => users.of(uid);
  return new MountTrash({ meta: client.meta, top, trashMs: () => client.trashMs, userName, clock });
}
