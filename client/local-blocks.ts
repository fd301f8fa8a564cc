import { networkInterfaces } from "node:os";
import type { Clock } from "../common/clock.js";
import { CairnError, codeOf, messageOf } from "../common/errors.js";
import { MAX_CHUNKS } from "../common/limits.js";
import type { Logger } from "../common/log.js";
import { readFooter, readFully } from "../proto/block-footer.js";
import type { ChunkTable } from "../proto/chunk-table.js";
import { checkChunks, decodeChunks } from "../proto/chunks.js";
import type { LinkPool } from "../proto/connect.js";
import { Datanode } from "../proto/gen/services.js";
import type { Block, DatanodeAddress } from "../proto/gen/types.js";
import { isLoopback } from "../proto/server.js";
import type { LocalFile, LocalFiles } from "./local-files.js";

/** Block files kept open. */
const MAX_OPEN = 64;
/** How long a datanode whose files cannot be opened is not asked again, ms. */
const NOT_LOCAL_MS = 60_000;
/** How long a datanode may take to say where a block's file is, ms. */
const OPEN_TIMEOUT_MS = 5_000;
/** Refusals that are about the datanode, not about one block. */
const NOT_LOCAL = new Set(["EXDEV", "ENOSYS"]);

interface OpenBlock {
  readonly file: LocalFile;
  readonly table: ChunkTable;
  /** Reads under way. */
  uses: number;
  evicted: boolean;
}

/** Block files of datanodes on this machine, read without them: the kernel's file permissions say who may. */
export class LocalBlocks {
  readonly #pool: LinkPool;
  readonly #files: LocalFiles;
  readonly #cluster: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #hosts: Set<string>;
  /** By datanode, block and generation, the least recently used first. */
  readonly #open = new Map<string, Promise<OpenBlock | undefined>>();
  readonly #notLocal = new Map<number, number>();
  #bootId: Promise<string> | undefined;

  constructor(options: {
    pool: LinkPool;
    files: LocalFiles;
    cluster: string;
    hostName: string;
    clock: Clock;
    log: Logger;
  }) {
    this.#pool = options.pool;
    this.#files = options.files;
    this.#cluster = options.cluster;
    this.#clock = options.clock;
    this.#log = options.log;
    const addresses = Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? []);
    this.#hosts = new Set([options.hostName, ...addresses]);
  }

  /** Whether a datanode may be on this machine. */
  mayHave({ id, host }: DatanodeAddress): boolean {
    if (!this.#hosts.has(host) && !isLoopback(host)) return false;
    const until = this.#notLocal.get(id);
    if (until === undefined || until > this.#clock.monotonic()) return until === undefined;
    this.#notLocal.delete(id);
    return true;
  }

  /**
   * Fills target with the bytes of a block from `from` on. False when it has to be streamed: not the same machine, not our
   * permissions, some trouble. EBADMSG when the file is there and its bytes are wrong.
   */
  async read(replica: DatanodeAddress, block: Block, from: number, target: Buffer): Promise<boolean> {
    const open = await this.#get(replica, block);
    if (open === undefined) return false;
    open.uses++;
    try {
      await readRange(open, from, target);
      return true;
    } catch (err) {
      if (codeOf(err) === "EBADMSG") throw err;
      this.#log.info(
        { block: block.id, datanode: replica.id, err: messageOf(err) },
        "streaming what cannot be read here",
      );
      return false;
    } finally {
      open.uses--;
      this.#closeIfUnused(open);
    }
  }

  /** Closes every file. */
  async close(): Promise<void> {
    for (const key of [...this.#open.keys()]) await this.#evict(key);
  }

  #get(replica: DatanodeAddress, block: Block): Promise<OpenBlock | undefined> {
    const key = `${replica.id} ${block.id} ${block.generation}`;
    const known = this.#open.get(key);
    if (known !== undefined) {
      this.#open.delete(key);
      this.#open.set(key, known);
      return known;
    }
    const opening = this.#openBlock(replica, block).catch((err) => {
      if (this.#open.get(key) === opening) this.#open.delete(key);
      if (NOT_LOCAL.has(codeOf(err))) this.#notLocal.set(replica.id, this.#clock.monotonic() + NOT_LOCAL_MS);
      this.#log.debug({ block: block.id, datanode: replica.id, err: messageOf(err) }, "no short-circuit read");
      if (codeOf(err) === "EBADMSG") throw err;
      return undefined;
    });
    this.#open.set(key, opening);
    if (this.#open.size > MAX_OPEN) void this.#evict(this.#open.keys().next().value!);
    return opening;
  }

  async #openBlock({ host, port }: DatanodeAddress, block: Block): Promise<OpenBlock> {
    this.#bootId ??= this.#files.bootId();
    const bootId = await this.#bootId;
    const link = await this.#pool.get(host, port);
    const request = { block: block.id, generation: block.generation, bootId };
    const { path } = await link.call(Datanode.openLocal, request, { deadlineMs: OPEN_TIMEOUT_MS });
    const file = await this.#files.open(path).catch((err) => {
      throw new CairnError("EXDEV", `cannot open ${path}`, err); // another file system, or other permissions
    });
    try {
      const footer = await readFooter(file, file.size);
      const { id, generation, length } = footer.block;
      if (
        id !== block.id ||
        generation !== block.generation ||
        length !== block.length ||
        footer.cluster !== this.#cluster
      ) {
        throw new CairnError("EINVAL", `${path} holds block ${id}, generation ${generation}, ${length} bytes`);
      }
      return { file, table: footer.table, uses: 0, evicted: false };
    } catch (err) {
      await file.close();
      throw err;
    }
  }

  async #evict(key: string): Promise<void> {
    const opening = this.#open.get(key);
    this.#open.delete(key);
    const open = await opening?.catch(() => undefined);
    if (open === undefined) return;
    open.evicted = true;
    this.#closeIfUnused(open);
  }

  #closeIfUnused(open: OpenBlock): void {
    if (!open.evicted || open.uses > 0) return;
    open.file.close().catch((err) => this.#log.warn({ err: messageOf(err) }, "could not close a block file"));
  }
}

async function readRange({ file, table }: OpenBlock, from: number, target: Buffer): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const start = from + done;
    const run = table.run(start, from + target.length, MAX_CHUNKS);
    const end = run.chunks.reduce((sum, { length }) => sum + length, run.offset);
    if (end <= start) throw new CairnError("EBADMSG", `the block ends at ${table.length}`);
    const stored = run.storedTo - run.storedFrom;
    // Whole raw chunks are read where they are wanted; others beside, to be cut or decompressed.
    if (run.offset === start && end <= from + target.length && stored === end - start) {
      const into = target.subarray(done, done + stored);
      await readFully(file, into, run.storedFrom);
      checkChunks(run.chunks, into);
    } else {
      const body = Buffer.allocUnsafe(stored);
      await readFully(file, body, run.storedFrom);
      checkChunks(run.chunks, body);
      decodeChunks(run.chunks, body, run.offset, start, Math.min(end, from + target.length), target, done);
    }
    done += end - start;
  }
}
