import { CairnError } from "../../common/errors.js";
import { MAX_FSCK_PAGE, ROOT_INO } from "../../common/limits.js";
import { Admin, Namenode } from "../../proto/gen/services.js";
import type { FsckBlock, FsckFile } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import { SaidFailure } from "../errors.js";
import { human } from "../fs/format.js";
import { join, normalize } from "../fs/paths.js";
import { print } from "../output.js";

/** How long the namenode may take for one page, ms. */
const PAGE_MS = 60_000;

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

  /** Counts one file; returns whether all of it is well. */
  add(file: FsckFile): boolean {
    const before = this.#faults;
    this.files += 1;
    for (const block of file.blocks) {
      this.blocks += 1;
      if (block.corrupt.length > 0) this.corrupt += 1;
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
    const { files, blocks, missing, corrupt, underReplicated, overReplicated, healthy } = this;
    return { files, blocks, missing, corrupt, underReplicated, overReplicated, healthy };
  }
}

/** `cairn admin fsck`: every file below a path with the state of its blocks, page by page. SaidFailure unless all is well. */
export async function fsck(link: Link, where: string, options: { json?: boolean; files?: boolean }): Promise<void> {
  const path = normalize(where);
  const ino = await inodeNumber(link, path);
  const summary = new Summary();
  if (options.json) await print('{\n"files": [');
  let first = true;
  for await (const file of filesBelow(link, ino)) {
    const well = summary.add(file);
    const full = file.path.length === 0 ? Buffer.from(path) : join(Buffer.from(path), file.path);
    if (options.json) {
      await print(`${first ? "" : ","}\n${JSON.stringify(forPrograms(full, file))}`);
      first = false;
    } else if (options.files || !well) await print(forPeople(full, file));
  }
  if (options.json) await print(`\n],\n"summary": ${JSON.stringify(summary)}\n}\n`);
  else await print(conclusion(path, summary));
  if (!summary.healthy) throw new SaidFailure(`${path} is not healthy`);
}

async function inodeNumber(link: Link, path: string): Promise<number> {
  const names = path.split("/").filter((name) => name !== "");
  if (names.length === 0) return ROOT_INO;
  const { inodes } = await link.call(Namenode.walk, { dir: ROOT_INO, names: names.map((name) => Buffer.from(name)) });
  const last = inodes.at(-1);
  if (inodes.length === names.length && last !== undefined) return last.ino;
  throw new CairnError("ENOENT", `cannot check ${path}: there is no /${names.slice(0, inodes.length + 1).join("/")}`);
}

async function* filesBelow(link: Link, ino: number): AsyncGenerator<FsckFile> {
  let cursor: Uint8Array = Buffer.alloc(0);
  do {
    const page = await link.call(Admin.fsck, { ino, cursor, limit: MAX_FSCK_PAGE }, { deadlineMs: PAGE_MS });
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
  return `block ${block.id}: ${block.length} bytes, ${live.length} of ${wanted} replicas${on}${moving}${rest}${bad}: ${state}`;
}

function conclusion(path: string, summary: Summary): string {
  return [
    `${path}: ${summary.files} files, ${summary.blocks} blocks\n`,
    `  missing blocks:          ${summary.missing}\n`,
    `  with corrupt replicas:   ${summary.corrupt}\n`,
    `  under-replicated blocks: ${summary.underReplicated}\n`,
    `  over-replicated blocks:  ${summary.overReplicated}\n`,
    `${path} is ${summary.healthy ? "HEALTHY" : "NOT HEALTHY"}\n`,
  ].join("");
}
