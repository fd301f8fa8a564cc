import { hostname } from "node:os";
import { z } from "zod";
import { invariant } from "../common/errors.js";
import { DATANODE_PORT, DEFAULT_RACK, GIB, MIB, NAMENODE_PORT } from "../common/limits.js";
import { LOG_LEVELS } from "../common/log.js";
import { bytes, integer, type SettingsOf, setting } from "../common/settings.js";
import { MAX_VOLUMES } from "./volume-set.js";

/** Folders separated by commas, or a list of them. */
const folders = z
  .union([z.string().transform((s) => s.split(",").map((p) => p.trim())), z.array(z.string())])
  .pipe(z.array(z.string().min(1, "an empty folder name")).min(1, "no folder").max(MAX_VOLUMES))
  .refine((paths) => new Set(paths).size === paths.length, "the same folder twice");

/** The host and port in http://host:port, ws://host:port or host:port; undefined when it is none of them. */
function parseAddress(text: string): { host: string; port: number } | undefined {
  const full = text.includes("://") ? text : `http://${text}`;
  if (!URL.canParse(full)) return undefined;
  const url = new URL(full);
  if (!["http:", "ws:"].includes(url.protocol) || url.hostname === "") return undefined;
  const port = url.port === "" ? NAMENODE_PORT : Number(url.port);
  return { host: url.hostname.replace(/^\[|\]$/g, ""), port };
}

const DAY_MS = 24 * 3_600_000;

/** The settings of a datanode. */
export const datanodeSettings = {
  host: setting("address to listen on; any but loopback needs a cluster secret", z.string().min(1), "127.0.0.1"),
  port: setting("port to listen on; 0: a free one", integer(0, 65_535), DATANODE_PORT),
  advertiseHost: setting("name or address by which others reach this datanode (default: host)", z.string().optional()),
  namenode: setting(
    "the namenode's address",
    z.string().refine((text) => parseAddress(text) !== undefined, "not an address like http://127.0.0.1:9870"),
    `http://127.0.0.1:${NAMENODE_PORT}`,
  ),
  dataDirs: setting("folders to keep blocks in, one per disk, separated by commas", folders),
  reserve: setting("bytes of each disk to leave alone", bytes(0), 256 * MIB),
  rack: setting(
    "where the machine stands, for placement",
    z.string().regex(/^\/\S+$/, "not like /rack1"),
    DEFAULT_RACK,
  ),
  secretFile: setting("file with the cluster secret", z.string().optional()),
  logLevel: setting(`how much to log: ${LOG_LEVELS.join(", ")}`, z.enum(LOG_LEVELS), "info"),
  maxBufferedBytes: setting("memory for packets being written", bytes(4 * MIB, 64 * GIB), 64 * MIB),
  maxReadBytes: setting("memory for replies to readers", bytes(4 * MIB, 64 * GIB), 32 * MIB),
  parallelTransfers: setting("replicas sent to other datanodes at once", integer(1, 64), 2),
  scrubPeriodMs: setting(
    "every replica is read again and verified once in this time, ms; 0: never",
    integer(0, 366 * DAY_MS),
    21 * DAY_MS,
  ),
  scrubRate: setting("bytes per second that verifying may read of each disk; 0: no limit", bytes(0), 16 * MIB),
  transferRate: setting("bytes per second for transfers and verification; 0: no limit", bytes(0), 128 * MIB),
};

export type DatanodeSettings = SettingsOf<typeof datanodeSettings>;

/** Where the namenode of these settings is. */
export function namenodeAddress({ namenode }: DatanodeSettings): { host: string; port: number } {
  const parsed = parseAddress(namenode);
  invariant(parsed !== undefined, "the setting has been checked");
  return parsed;
}

/** By which host name or address others reach a datanode with these settings. */
export function advertisedHost({ advertiseHost, host }: DatanodeSettings): string {
  if (advertiseHost !== undefined) return advertiseHost;
  return host === "0.0.0.0" || host === "::" ? hostname() : host;
}
