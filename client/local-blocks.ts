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
import { DiskPace } from "./disk-pace.js";
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
  readonly pace: DiskPace;
  /** Reads under way. */
  uses: number;
  evicted: boolean;
}

/** A block file that is open, or being opened. */
interface Opening {
  /** Undefined: it has to be streamed. */
  readonly ready: Promise<OpenBlock | undefined>;
  /** Set when it is open. */
  open: OpenBlock | undefined;
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
  readonly #open = new Map<string, Opening>();
  /** By datanode. */
  readonly #paces = new Map<number, DiskPace>();
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
      open.pace.readAside();
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

  /** Begins to open a block's file, if that is not done. What is wrong with it those find out who read it. */
  open(replica: DatanodeAddress, block: Block): void {
    if (!this.#open.has(keyOf(replica.id, block))) this.#get(replica, block).catch(() => undefined);
  }

  /** Whether a block's file is open here, on a disk that answers so fast that its reads need no thread. */
  isPrompt({ id }: DatanodeAddress, block: Block): boolean {
    return this.#prompt(id, block) !== undefined;
  }

  /** As read, within this turn of the event loop. False when it has to be read the other way, which also says what is wrong. */
  readNow({ id }: DatanodeAddress, block: Block, from: number, target: Buffer): boolean {
    const open = this.#prompt(id, block);
    if (open === undefined) return false;
    const start = this.#clock.monotonic();
    try {
      for (let at = from; at < from + target.length; ) {
        const step = nextStep(open.table, from, at, target);
        if (open.file.readNow(step.into, step.position) !== step.into.length) return false;
        step.finish();
        at = step.end;
      }
      return true;
    } catch (err) {
      this.#log.debug({ block: block.id, datanode: id, err: messageOf(err) }, "a direct read failed");
      return false;
    } finally {
      open.pace.readInPlace(this.#clock.monotonic() - start, target.length);
    }
  }

  /** Closes every file. */
  async close(): Promise<void> {
    for (const key of [...this.#open.keys()]) await this.#evict(key);
  }

  #prompt(datanode: number, block: Block): OpenBlock | undefined {
    const open = this.#known(keyOf(datanode, block))?.open;
    return open?.pace.isPrompt ? open : undefined;
  }

  #known(key: string): Opening | undefined {
    const known = this.#open.get(key);
    if (known === undefined) return undefined;
    this.#open.delete(key);
    this.#open.set(key, known);
    return known;
  }

  #get(replica: DatanodeAddress, block: Block): Promise<OpenBlock | undefined> {
    const key = keyOf(replica.id, block);
    const known = this.#known(key);
    if (known !== undefined) return known.ready;
    const ready = this.#openBlock(replica, block).then(
      (open) => {
        opening.open = open;
        return open;
      },
      (err) => {
        if (this.#open.get(key) === opening) this.#open.delete(key);
        if (NOT_LOCAL.has(codeOf(err))) this.#notLocal.set(replica.id, this.#clock.monotonic() + NOT_LOCAL_MS);
        this.#log.debug({ block: block.id, datanode: replica.id, err: messageOf(err) }, "no short-circuit read");
        if (codeOf(err) === "EBADMSG") throw err;
        return undefined;
      },
    );
    const opening: Opening = { ready, open: undefined };
    this.#open.set(key, opening);
    if (this.#open.size > MAX_OPEN) void this.#evict(this.#open.keys().next().value!);
    return ready;
  }

  async #openBlock({ id: datanode, host, port }: DatanodeAddress, block: Block): Promise<OpenBlock> {
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
      return { file, table: footer.table, pace: this.#paceOf(datanode), uses: 0, evicted: false };
    } catch (err) {
      await file.close();
      throw err;
    }
  }

  #paceOf(datanode: number): DiskPace {
    const known = this.#paces.get(datanode);
    if (known !== undefined) return known;
    const pace = new DiskPace(this.#files.diskReads);
    this.#paces.set(datanode, pace);
    return pace;
  }

  async #evict(key: string): Promise<void> {
    const opening = this.#open.get(key);
    this.#open.delete(key);
    const open = await opening?.ready.catch(() => undefined);
    if (open === undefined) return;
    open.evicted = true;
    this.#closeIfUnused(open);
  }

  #closeIfUnused(open: OpenBlock): void {
    if (!open.evicted || open.uses > 0) return;
    open.file.close().catch((err) => this.#log.warn({ err: messageOf(err) }, "could not close a block file"));
  }
}

function keyOf(datanode: number, { id, generation }: Block): string {
  return `${datanode} ${id} ${generation}`;
}

async function readRange({ file, table }: OpenBlock, from: number, target: Buffer): Promise<void> {
  for (let at = from; at < from + target.length; ) {
    const step = nextStep(table, from, at, target);
    await readFully(file, step.into, step.position);
    step.finish();
    at = step.end;
  }
}

/** One read of a block's file. */
interface Step {
  /** Where in the file, and into what. */
  readonly position: number;
  readonly into: Buffer;
  /** How far in the block it gets. */
  readonly end: number;
  /** Checks what was read and puts it where it belongs. EBADMSG. */
  readonly finish: () => void;
}

/** What to read next to fill target with the bytes of a block from `from` on, when those before `at` are there. EBADMSG. */
function nextStep(table: ChunkTable, from: number, at: number, target: Buffer): Step {
  const to = from + target.length;
  const run = table.run(at, to, MAX_CHUNKS);
  const end = run.chunks.reduce((sum, { length }) => sum + length, run.offset);
  if (end <= at) throw new CairnError("EBADMSG", `the block ends at ${table.length}`);
  const stored = run.storedTo - run.storedFrom;
  const position = run.storedFrom;
  // Whole raw chunks are read where they are wanted; others beside, to be cut or decompressed.
  if (run.offset === at && end <= to && stored === end - at) {
    const into = target.subarray(at - from, end - from);
    return { position, into, end, finish: () => checkChunks(run.chunks, into) };
  }
  const into = Buffer.allocUnsafe(stored);
  const finish = (): void => {
    checkChunks(run.chunks, into);
    decodeChunks(run.chunks, into, run.offset, at, Math.min(end, to), target, at - from);
  };
  return { position, into, end, finish };
}
