import { hostname } from "node:os";
import { type Clock, RealClock } from "../common/clock.js";
import { CairnError } from "../common/errors.js";
import { MIB, NAMENODE_PORT } from "../common/limits.js";
import type { Logger } from "../common/log.js";
import { LinkAuth } from "../proto/auth.js";
import { LinkPool } from "../proto/connect.js";
import { Dispatcher } from "../proto/dispatch.js";
import { BlockAcks } from "../proto/gen/services.js";
import type { Inode, Policy } from "../proto/gen/types.js";
import { type Network, webSockets } from "../proto/network.js";
import { BlockAllocator } from "./allocator.js";
import { BlockCache } from "./block-cache.js";
import { BlockReader } from "./block-reader.js";
import { CachedBlocks } from "./cached-blocks.js";
import { Compactor } from "./compactor.js";
import { Content, type ContentContext } from "./content.js";
import type { CairnClient, Changes, FileContent, FileLocks, Metadata, Watch } from "./contract.js";
import { FilesAhead } from "./files-ahead.js";
import { DatanodeHealth } from "./health.js";
import type { ClientIo } from "./io.js";
import { LocalBlocks } from "./local-blocks.js";
import { type LocalFiles, machineFiles } from "./local-files.js";
import { SessionLocks } from "./locks.js";
import { SessionMetadata } from "./metadata.js";
import { PacketPool } from "./packet.js";
import { ReadBuffers } from "./read-buffers.js";
import { Session } from "./session.js";
import { UnsyncedBlocks } from "./unsynced.js";
import { AckRouter } from "./write-stream.js";

export interface ClientOptions {
  /** "host:port", "host", or a URL of the namenode. */
  namenode: string;
  /** The cluster secret; undefined where there is none. */
  secret?: string;
  /** Who this is, for people: "mount /data on host7 (pid 812)". */
  name: string;
  /** This machine, as its datanode calls it; the machine's host name unless set. */
  host?: string;
  /** Whether the namenode is to tell of changes by others, so that what it says may be cached: see CairnClient.watch. */
  watch?: boolean;
  /** How long calls outlast the loss of the namenode, ms. */
  patienceMs?: number;
  /** How long the first connection may take, ms. */
  startPatienceMs?: number;
  /** Called once when the namenode is not there at the start, and is waited for. */
  waiting?: (why: Error) => void;
  /** How long a read looks for a replica that can be read before it is EIO, ms. */
  readPatienceMs?: number;
  /** Whether block files of this machine may be read directly. */
  shortCircuit?: boolean;
  /** Bytes of written data in memory at most, at least 2 MiB. */
  writeMemory?: number;
  /** Bytes of read data kept. */
  readMemory?: number;
  log: Logger;
  clock?: Clock;
  files?: LocalFiles;
  network?: Network;
  /** 0 <= random() < 1 */
  random?: () => number;
  /** The session's id: random, and no other client's. Made by crypto unless set. */
  sessionId?: number;
}

const DEFAULTS = {
  patienceMs: 600_000,
  startPatienceMs: 3_000,
  readPatienceMs: 30_000,
  writeMemory: 64 * MIB,
  readMemory: 64 * MIB,
};

/** Host and port of a namenode from "host:port", "host", "[::1]:9870" or a URL. EINVAL. */
export function parseNamenode(address: string): { host: string; port: number } {
  let url: URL;
  try {
    url = new URL(/^[a-z]+:\/\//i.test(address) ? address.replace(/^[a-z]+:/i, "http:") : `http://${address}`);
  } catch (err) {
    throw new CairnError("EINVAL", `"${address}" is not the address of a namenode (host:port)`, err);
  }
  const port = url.port === "" ? defaultPort(address) : Number(url.port);
  return { host: url.hostname.replace(/^\[(.*)\]$/, "$1"), port };
}

/** URL drops ":80", which is what http means anyway. */
function defaultPort(address: string): number {
  return /:80(\/|$)/.test(address) ? 80 : NAMENODE_PORT;
}

/**
 * Connects to a cluster. ECONNREFUSED and the like name the namenode's address when it cannot be reached; EACCES when the
 * secret is wrong; EINVAL for an address that is none.
 */
export async function connectClient(options: ClientOptions): Promise<CairnClient> {
  const { host, port } = parseNamenode(options.namenode);
  const { log, name, clock = new RealClock(), host: hostName = hostname(), files = machineFiles } = options;
  const { network = webSockets, random = Math.random, sessionId } = options;
  const { dial } = network;
  const auth = new LinkAuth(options.secret);
  const acks = new AckRouter();
  const dispatcher = new Dispatcher().take(BlockAcks, { ack: (ack, { link }) => acks.route(ack, link) });
  const session = await Session.connect({
    host,
    port,
    name,
    hostName,
    auth,
    dispatcher,
    log,
    clock,
    dial,
    random,
    ...(sessionId !== undefined && { id: sessionId }),
    watch: options.watch ?? false,
    ...(options.waiting && { waiting: options.waiting }),
    startPatienceMs: options.startPatienceMs ?? DEFAULTS.startPatienceMs,
    patienceMs: options.patienceMs ?? DEFAULTS.patienceMs,
  });
  const pool = new LinkPool({ dispatcher, auth, log, clock, dial });
  const health = new DatanodeHealth(clock);
  const packets = new PacketPool(options.writeMemory ?? DEFAULTS.writeMemory);
  const allocator = new BlockAllocator(session, health, clock, log, hostName);
  const io: ClientIo = { clock, log, hostName, session, pool, acks, packets, health, allocator };
  const { cluster } = session;
  const local =
    options.shortCircuit === false ? undefined : new LocalBlocks({ pool, files, cluster, hostName, clock, log });
  const buffers = new ReadBuffers();
  const cache = new BlockCache(options.readMemory ?? DEFAULTS.readMemory, buffers);
  const blocks = new CachedBlocks(new BlockReader(io, local, buffers), cache);
  const locks = new SessionLocks({ session, dispatcher, clock, log });
  return new Client(io, local, locks, { blocks, readPatienceMs: options.readPatienceMs ?? DEFAULTS.readPatienceMs });
}

class Client implements CairnClient {
  readonly meta: Metadata;
  readonly locks: FileLocks;
  readonly #io: ClientIo;
  readonly #local: LocalBlocks | undefined;
  readonly #context: ContentContext;
  readonly #contents = new Map<number, Content>();
  #closed = false;

  constructor(
    io: ClientIo,
    local: LocalBlocks | undefined,
    locks: FileLocks,
    reading: Pick<ContentContext, "blocks" | "readPatienceMs">,
  ) {
    this.#io = io;
    this.#local = local;
    this.locks = locks;
    this.meta = new SessionMetadata(io.session);
    this.#context = {
      ...reading,
      io,
      ahead: new FilesAhead(io, reading.blocks),
      unsynced: new UnsyncedBlocks(io),
      compactor: new Compactor(io, reading.blocks, (inode) => this.#contents.get(inode.ino)?.refreshed(inode)),
      released: ({ ino }) => this.#contents.delete(ino),
    };
    io.session.onLoss((after) => {
      for (const content of this.#contents.values()) content.lost(after);
    });
    io.session.watch.attach({
      changed: (changes) => this.#changed(changes),
      missed: () => {
        this.#context.ahead.forgetAll();
        for (const content of this.#contents.values()) content.changed();
      },
      openInodes: () => [],
    });
  }

  get watch(): Watch {
    return this.#io.session.watch;
  }

  get cluster(): string {
    return this.#io.session.cluster;
  }

  get trashMs(): number {
    return this.#io.session.trashMs;
  }

  get policy(): Policy {
    return this.#io.session.policy;
  }

  open(inode: Inode): FileContent {
    if (this.#closed) throw new CairnError("ENOTCONN", "the client is closed");
    let content = this.#contents.get(inode.ino);
    if (content === undefined) {
      content = new Content(this.#context, inode);
      this.#contents.set(inode.ino, content);
    }
    content.opened(inode);
    return content;
  }

  readAhead(inodes: readonly Inode[]): void {
    if (!this.#closed) this.#context.ahead.ask(inodes);
  }

  #changed({ attributes, contents }: Changes): void {
    for (const ino of attributes) this.#context.ahead.forget(ino);
    for (const ino of contents) {
      this.#context.ahead.forget(ino);
      this.#contents.get(ino)?.changed();
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const flushed = await Promise.allSettled([...this.#contents.values()].map((content) => content.flush()));
    this.#context.compactor.close();
    this.#io.allocator.close();
    await this.#io.session.close();
    await this.#io.pool.close();
    await this.#local?.close();
    for (const result of flushed) if (result.status === "rejected") throw result.reason;
  }
}
