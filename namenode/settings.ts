import { z } from "zod";
import {
  CHUNK_SIZE,
  KIB,
  MAX_BLOCK_SIZE,
  MAX_INLINE,
  MAX_REPLICAS,
  MIN_BLOCK_SIZE,
  NAMENODE_PORT,
} from "../common/limits.js";
import { LOG_LEVELS } from "../common/log.js";
import { bytes, integer, type SettingsOf, setting } from "../common/settings.js";
import { Compression, type Policy } from "../proto/gen/types.js";
import { SYNC_INTERVAL_MS } from "./store/journal.js";

/**
 * Largest block kept inline unless set, bytes. (Measured with /usr/include, 7,911 files on one machine: with 64 KiB, 96 of 100 files are
 * inline, with 16 KiB 76; all daemons together then took 8.5 and 13.5 ms of processor time a file.)
 */
const DEFAULT_INLINE = 64 * KIB;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** The settings of `cairn namenode`. */
export const namenodeSettings = {
  dataDir: setting("folder of the metadata store and the journal", z.string().min(1)),
  host: setting("address to listen on; any but loopback needs a secret", z.string().min(1), "127.0.0.1"),
  port: setting("port of the status page and of all connections; 0: a free one", integer(0, 65_535), NAMENODE_PORT),
  secretFile: setting("file with the cluster's secret", z.string().min(1).optional()),
  replicas: setting("copies of every block of new files", integer(1, MAX_REPLICAS), 3),
  blockSize: setting(
    `block size of new files, a multiple of ${CHUNK_SIZE} bytes`,
    bytes(MIN_BLOCK_SIZE, MAX_BLOCK_SIZE).refine((n) => n % CHUNK_SIZE === 0, `not a multiple of ${CHUNK_SIZE}`),
    MAX_BLOCK_SIZE,
  ),
  compression: setting("compression of the chunks of new files: raw or lz4", z.enum(["raw", "lz4"]), "raw"),
  inlineBytes: setting(
    "small files: blocks of at most so many bytes are kept here, with the names; 0: all blocks go to datanodes",
    bytes(0, MAX_INLINE),
    DEFAULT_INLINE,
  ),
  journalSync: setting(
    'longest time until an edit is on the disk, ms; "always": before it is answered',
    z.union([z.literal("always"), integer(1, 60_000)], { error: 'neither "always" nor milliseconds' }),
    SYNC_INTERVAL_MS,
  ),
  leaseMs: setting("a client not heard of for this long loses its session, ms", integer(1_000, HOUR_MS), 60_000),
  heartbeatMs: setting("how often datanodes report that they are alive, ms", integer(100, 60_000), 3_000),
  deadAfterMs: setting("a datanode without contact for this long is dead, ms", integer(500, HOUR_MS), 60_000),
  fullReportMs: setting("how often datanodes report all their blocks, ms", integer(1_000, DAY_MS), HOUR_MS),
  orphanGraceMs: setting("how long replicas that nobody refers to are kept, ms", integer(0, DAY_MS), 600_000),
  trashMs: setting(
    "how long what `cairn fs rm` removes is kept in the trash after its day, ms; 0: there is no trash",
    integer(0, 366 * DAY_MS),
    0,
  ),
  restoreGraceMs: setting(
    "how long, after a restore from a backup, replicas that nobody refers to are kept, ms",
    integer(0, 366 * DAY_MS),
    7 * DAY_MS,
  ),
  maxTransfers: setting("blocks being re-replicated at a time", integer(1, 10_000), 64),
  maxTransfersPerDatanode: setting("of these, per sending or receiving datanode", integer(1, 1_000), 4),
  transferTimeoutMs: setting("a re-replication that takes longer is tried again, ms", integer(1_000, HOUR_MS), 120_000),
  logLevel: setting(`what is logged: ${LOG_LEVELS.join(", ")}`, z.enum(LOG_LEVELS), "info"),
};

/** The values of the namenode's settings. */
export type NamenodeSettings = SettingsOf<typeof namenodeSettings>;

/** What files get where no directory above them says otherwise. */
export function defaultPolicy({ replicas, blockSize, compression }: NamenodeSettings): Policy {
  return { replicas, blockSize, compression: compression === "lz4" ? Compression.LZ4 : Compression.RAW };
}
