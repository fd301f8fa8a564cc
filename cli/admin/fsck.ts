import type { CairnClient } from "../../client/contract.js";
import { CairnError } from "../../common/errors.js";
import { MAX_FSCK_PAGE, ROOT_INO } from "../../common/limits.js";
import { Admin, Namenode } from "../../proto/gen/services.js";
import type { FileRange, FsckBlock, FsckFile, RecountReply } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import { SaidFailure } from "../errors.js";
import { human } from "../fs/format.js";
import { join, normalize } from "../fs/paths.js";
import { print } from "../output.js";
import { isLostAndFound, type LostAction, putAway } from "./lost.js";

/** How long the namenode may take for one page, ms. */
const PAGE_MS = 60_000;
/** How long it may take to count everything, ms. */
const RECOUNT_MS = 3_600_000;

/**
 * Counts over all files checked. A block without any live replica is missing, and not counted as under-replicated too. Inline
 * blocks are in the namenode's store: no replicas are wanted.
 */
class Summary {
  files = 0;
  blocks = 0;
  missing = 0;
  corrupt = 0;
  underReplicated = 0;
  overReplicated = 0;
  /** Bytes of files that cannot be read. */
  lostBytes = 0;
  /** Files put away. */
  moved = 0;
  deleted = 0;

  /** Counts one file; returns whether all of it is well. */
  add(file: FsckFile): boolean {
    const before = this.#faults;
    this.files += 1;
    for (const block of file.blocks) {
      this.blocks += 1;
      if (block.corrupt.length > 0) this.corrupt += 1;
      for (const { length } of block.lost) this.lostBytes += length;
      if (isMissing(block)) this.missing += 1;
      else if (isShort(block)) this.underReplicated += 1;
      else if (block.live.length > block.wanted) this.overReplicated += 1;
    }
    return this.#faults === before;
  }

  /** Too many replicas are no fault: nothing can be lost by them. */
  get healthy(): boolean {
    return this.#faults === 0;
  }

  get #faults(): number {
    return this.missing + this.corrupt + this.underReplicated;
  }

  toJSON(): object {
    const { files, blocks, missing, corrupt, underReplicated, overReplicated, lostBytes, moved, deleted } = this;
    const found = { files, blocks, missing, corrupt, underReplicated, overReplicated, lostBytes };
    return { ...found, moved, deleted, healthy: this.healthy };
  }
}

/** What `cairn admin fsck` may be told. */
export interface FsckOptions {
  readonly json?: boolean;
  readonly files?: boolean;
  /** Have what can be repaired looked at and repaired at once. */
  readonly repair?: boolean;
  /** What to do with files that cannot be read as a whole. */
  readonly lost?: LostAction;
}

/** What of a file cannot be read, gathered over its entries. */
interface Damage {
  readonly path: Buffer;
  readonly ino: number;
  readonly ranges: FileRange[];
}

/**
 * `cairn admin fsck`: every file below a path with the state of its blocks, page by page. SaidFailure unless all was well.
 * @param client by which files are put away, where the options say so
 */
export async function fsck(link: Link, where: string, options: FsckOptions, client?: CairnClient): Promise<void> {
  const path = normalize(where);
  const ino = await inodeNumber(link, path);
  const summary = new Summary();
  if (options.json) await print('{\n"files": [');
  let first = true;
  let damage: Damage | undefined;
  const settle = async (next: Damage | undefined) => {
    if (damage !== undefined && client !== undefined && options.lost !== undefined)
      await settleDamage(client, options.lost, damage, summary, options.json !== true);
    damage = next;
  };
  for await (const file of filesBelow(link, ino, options.repair === true)) {
    const well = summary.add(file);
    const full = file.path.length === 0 ? Buffer.from(path) : join(Buffer.from(path), file.path);
    if (damage !== undefined && !damage.path.equals(full)) await settle(undefined);
    const lost = file.blocks.flatMap((block) => block.lost);
    if (lost.length > 0 && !isLostAndFound(full)) {
      damage ??= { path: full, ino: file.ino, ranges: [] };
      damage.ranges.push(...lost);
    }
    if (options.json) {
      await print(`${first ? "" : ","}\n${JSON.stringify(forPrograms(full, file))}`);
      first = false;
    } else if (options.files || !well) await print(forPeople(full, file));
  }
  await settle(undefined);
  const corrected = options.repair ? await link.call(Admin.recount, {}, { deadlineMs: RECOUNT_MS }) : undefined;
  if (options.json) await print(`\n],\n"summary": ${JSON.stringify(summary)}\n}\n`);
  else await print(conclusion(path, summary) + (corrected === undefined ? "" : recounted(corrected)));
  if (!summary.healthy) throw new SaidFailure(`${path} is not healthy`);
}

/** Puts a damaged file away and says so. */
async function settleDamage(
  client: CairnClient,
  action: LostAction,
  { path, ino }: Damage,
  summary: Summary,
  tell: boolean,
): Promise<void> {
  const now = await putAway(client, action, path, ino);
  if (now === undefined) summary.deleted += 1;
  else summary.moved += 1;
  if (tell) await print(now === undefined ? `${path}: deleted\n` : `${path}: moved to ${now}\n`);
}

function recounted({ files, directories, blocks }: RecountReply): string {
  if (files === 0 && directories === 0 && blocks === 0) return "the counters of files, folders and blocks are right\n";
  return `the counters were corrected: ${files} files, ${directories} folders, ${blocks} blocks\n`;
}

/** The inode of a (normalized) path. ENOENT. */
export async function inodeNumber(link: Link, path: string): Promise<number> {
  const names = path.split("/").filter((name) => name !== "");
  if (names.length === 0) return ROOT_INO;
  const { inodes } = await link.call(Namenode.walk, { dir: ROOT_INO, names: names.map((name) => Buffer.from(name)) });
  const last = inodes.at(-1);
  if (inodes.length === names.length && last !== undefined) return last.ino;
  throw new CairnError("ENOENT", `cannot check ${path}: there is no /${names.slice(0, inodes.length + 1).join("/")}`);
}

async function* filesBelow(link: Link, ino: number, repair: boolean): AsyncGenerator<FsckFile> {
  let cursor: Uint8Array = Buffer.alloc(0);
  do {
    const page = await link.call(Admin.fsck, { ino, cursor, limit: MAX_FSCK_PAGE, repair }, { deadlineMs: PAGE_MS });
    yield* page.files;
    cursor = Buffer.from(page.cursor);
  } while (cursor.length > 0);
}

function forPrograms(path: Buffer, file: FsckFile): object {
  return {
    path: path.toString(),
    size: file.size,
    blockSize: file.policy.blockSize,
    wantedReplicas: file.policy.replicas,
    lostRanges: file.blocks.flatMap((b) => b.lost.map(({ offset, length }) => ({ offset, length }))),
    blocks: file.blocks.map(({ block, live, corrupt, leaving, resting }) => ({
      id: block.id,
      length: block.length,
      liveReplicas: live,
      corruptReplicas: corrupt,
      leavingReplicas: leaving,
      restingReplicas: resting,
    })),
  };
}

function forPeople(path: Buffer, file: FsckFile): Buffer {
  const { blocks, policy, size } = file;
  const head = `: ${human(size)}, ${blocks.length} blocks of up to ${human(policy.blockSize)}, ${policy.replicas} replicas wanted\n`;
  return Buffer.concat([path, Buffer.from(head + blocks.map((b) => `  ${blockLine(b)}\n`).join(""))]);
}

/** No replica can be read now. (The bytes of inline blocks, of which none is wanted, are in the namenode.) */
function isMissing({ live, leaving, resting, absent, wanted }: FsckBlock): boolean {
  return wanted > 0 && live.length + leaving.length + resting.length === absent.length;
}

/** Too few replicas, with those on datanodes that are to leave or in maintenance. */
function isShort({ live, leaving, resting, wanted }: FsckBlock): boolean {
  return live.length + leaving.length + resting.length < wanted;
}

function blockLine(described: FsckBlock): string {
  const { block, live, corrupt, wanted, leaving, resting } = described;
  if (wanted === 0) return `block ${block.id}: ${block.length} bytes, inline: ok`;
  const state = isMissing(described)
    ? "MISSING"
    : isShort(described)
      ? "UNDER-REPLICATED"
      : live.length > wanted
        ? "over-replicated"
        : "ok";
  const bad = corrupt.length > 0 ? `, CORRUPT on datanode ${corrupt.join(", ")}` : "";
  const on = live.length > 0 ? ` on datanode ${live.join(", ")}` : "";
  const moving = leaving.length > 0 ? `, leaving datanode ${leaving.join(", ")}` : "";
  const rest = resting.length > 0 ? `, in maintenance on datanode ${resting.join(", ")}` : "";
  const gone = described.lost.map(({ offset, length }) => ` ${offset}-${offset + length - 1}`);
  const lost = gone.length === 0 ? "" : `, bytes of the file:${gone.join(",")}`;
  return `block ${block.id}: ${block.length} bytes, ${live.length} of ${wanted} replicas${on}${moving}${rest}${bad}: ${state}${lost}`;
}

function conclusion(path: string, summary: Summary): string {
  return [
    `${path}: ${summary.files} files, ${summary.blocks} blocks\n`,
    `  missing blocks:          ${summary.missing}`,
    summary.missing > 0 ? ` (${human(summary.lostBytes)} of files cannot be read)\n` : "\n",
    `  with corrupt replicas:   ${summary.corrupt}\n`,
    `  under-replicated blocks: ${summary.underReplicated}\n`,
    `  over-replicated blocks:  ${summary.overReplicated}\n`,
    `${path} is ${summary.healthy ? "HEALTHY" : "NOT HEALTHY"}\n`,
  ].join("");
}
