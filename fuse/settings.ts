import { z } from "zod";
import { MIB } from "../common/limits.js";
import { LOG_LEVELS } from "../common/log.js";
import { bytes, flag, integer, type SettingsOf, setting } from "../common/settings.js";
import { BINDINGS } from "./binding.js";
import { UNMOUNT_TIMEOUT_MS } from "./umount.js";

const DAY_MS = 86_400_000;
/** Largest user and group id. */
const MAX_ID = 0xffff_fffe;
/** How long the kernel may believe what it is told unless a setting says otherwise, ms. */
const DEFAULT_CACHE_MS = 10_000;
/** How long a mount that is started waits for its namenode, unless a setting says otherwise, ms: machines start in any order. */
const DEFAULT_WAIT_MS = 30_000;

/** The settings of `cairn mount`. */
export const mountSettings = {
  mountpoint: setting("folder to mount on", z.string().min(1)),
  namenode: setting("the cluster's namenode, http://host:port", z.string().min(1)),
  secretFile: setting("file with the cluster's secret", z.string().min(1).optional()),
  allowOther: setting("let all users of this machine use the mount; default: when root mounts", flag.optional()),
  binding: setting(
    `how the kernel is spoken to: ${BINDINGS.join(", ")}; auto: kernel where it may be used, else fuse-native`,
    z.enum(BINDINGS),
    "auto",
  ),
  source: setting(
    "how the list of mounts names what is mounted; default: the namenode and the folder",
    z.string().min(1).optional(),
  ),
  subdir: setting("the folder of the cluster that is mounted", z.string().startsWith("/"), "/"),
  readOnly: setting("let nobody change anything", flag, false),
  suid: setting("whether setuid and setgid bits have effect; default: when root mounts", flag.optional()),
  dev: setting("whether device nodes can be opened; default: when root mounts", flag.optional()),
  exec: setting("whether programs can be executed", flag, true),
  noatime: setting("reads change no access times", flag, false),
  nodiratime: setting("reads change no access times of directories", flag, false),
  trash: setting("files that are removed go to the trash, as with `cairn fs rm`", flag, false),
  uid: setting("user whom everything appears to belong to, and is made as", integer(0, MAX_ID).optional()),
  gid: setting("group that everything appears to belong to, and is made as", integer(0, MAX_ID).optional()),
  nonempty: setting("mount over a folder that is not empty", flag, false),
  cacheMs: setting(
    "how long the kernel may believe names and attributes at most, ms (fuse-native: 1000 at most)",
    integer(0, 60_000),
    DEFAULT_CACHE_MS,
  ),
  readAhead: setting(
    "how far the kernel reads ahead in a file, bytes (needs root); default: 4 MiB, with fuse-native 1 MiB",
    bytes(0, 64 * MIB).optional(),
  ),
  waitMs: setting("how long a start waits for a namenode that is away, ms", integer(0, 7 * DAY_MS), DEFAULT_WAIT_MS),
  patienceMs: setting("how long programs wait for a namenode that is away, ms", integer(1000, 7 * DAY_MS), DAY_MS),
  unmountTimeoutMs: setting(
    "how long a stop waits for programs that use the mount, ms",
    integer(0, 3_600_000),
    UNMOUNT_TIMEOUT_MS,
  ),
  logFile: setting(
    "log of a mount in the background; default: a file in /var/log/cairn, or ~/.cairn/log",
    z.string().min(1).optional(),
  ),
  logLevel: setting(`what is logged: ${LOG_LEVELS.join(", ")}`, z.enum(LOG_LEVELS), "info"),
};

/** The values of the mount's settings. */
export type MountSettings = SettingsOf<typeof mountSettings>;
