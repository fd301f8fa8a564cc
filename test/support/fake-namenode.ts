import { type ExtentMap, ExtentMap as Extents, type Piece } from "../../client/extent-map.js";
import { CairnError } from "../../common/errors.js";
import { CHUNK_SIZE, INLINE_BLOCKS, MAX_EXTENTS_PAGE, MAX_FILE_SIZE, MIB, ROOT_INO } from "../../common/limits.js";
import { silentLogger } from "../../common/log.js";
import { LinkAuth } from "../../proto/auth.js";
import { Dispatcher, type Handler } from "../../proto/dispatch.js";
import { ClientPush, Namenode } from "../../proto/gen/services.js";
import type {
  Block,
  CallId,
  DatanodeAddress,
  ExtentInit,
  GetExtentsRequest,
  InlineBlock,
  Inode,
  LocatedBlock,
  OpenSessionRequest,
  PolicyInit,
} from "../../proto/gen/types.js";
import type { ServiceTable } from "../../proto/method.js";
import { inheritPolicy } from "../../proto/policy.js";
import { type LinkServer, listen } from "../../proto/server.js";

export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;

interface Node {
  inode: Inode;
  names: Map<string, number>;
  extents: ExtentMap<number>;
}

type Handlers = { [K in keyof typeof Namenode]: Handler<(typeof Namenode)[K]> };

/** The lease of its sessions. */
export const LEASE_MS = 3_000;

/** A namenode in memory: names, extents, blocks. It forgets nothing but what a test tells it to. */
export class FakeNamenode {
  /** How often each method was called, retries included. */
  readonly calls = new Map<string, number>();
  readonly sessions: OpenSessionRequest[] = [];
  readonly bad: { block: Block; datanode: number; reason: string }[] = [];
  readonly abandoned: number[] = [];
  readonly commits: { blocks: number[]; extents: ExtentInit[] }[] = [];
  readonly blocks = new Map<number, { block: Block; datanodes: number[] }>();
  /** Commits that put the same bytes into other blocks. */
  compactions = 0;
  readonly allocations: { exclude: number[]; count: number }[] = [];
  datanodes: DatanodeAddress[] = [];
  policy: Required<PolicyInit> = { replicas: 3, blockSize: MIB, compression: 0 };
  extentsPage = MAX_EXTENTS_PAGE;
  /** Blocks of at most so many bytes are to be committed inline. */
  inlineBytes = 0;
  /** What sessions that are opened are told: whether nothing is known of them. */
  begun = false;
  /** Which process of the namenode this is. */
  incarnation = 1;
  /** Whether inline blocks come along with extents. */
  inlineAlong = true;
  readonly inline = new Map<number, InlineBlock>();
  /** Of each GetExtents, what it asked for ahead. */
  readonly ahead: number[][] = [];
  /** Called with the id of each change. */
  onCall: (call: CallId) => void = () => {};
  /** Called before each call is handled: what it throws is the answer. */
  before: (method: string, request: unknown) => void | Promise<void> = () => {};
  /** Called when a call was handled, before its reply leaves: "lose" breaks the link instead. */
  after: (method: string) => "reply" | "lose" = () => "reply";
  #server: LinkServer | undefined;
  readonly #nodes = new Map<number, Node>();
  readonly #answers = new Map<string, unknown>();
  #nextIno = ROOT_INO + 1;
  #nextBlock = 1;
  #nextGeneration = 2;
  #turn = 0;
  index = 1;
  synced = 0;

  constructor() {
    this.#nodes.set(ROOT_INO, this.#node(ROOT_INO, S_IFDIR | 0o755));
  }

  get port(): number {
    return this.#server!.port;
  }
  get links() {
    return this.#server!.links;
  }

  async start(port = 0, secret?: string): Promise<void> {
    const dispatcher = new Dispatcher().serve(Namenode as ServiceTable, this.#wrapped());
    const options = { host: "127.0.0.1", port, dispatcher, auth: new LinkAuth(secret), secret, log: silentLogger };
    this.#server = await listen({ ...options, onHttp: (_req, res) => res.end() });
  }

  async stop(): Promise<void> {
    for (const link of [...this.links]) link.terminate("killed");
    await this.#server?.close();
  }

  count(method: string): number {
    return this.calls.get(`Namenode.${method}`) ?? 0;
  }

  inode(ino: number): Inode {
    return this.#get(ino).inode;
  }

  /** How many pieces a file is in. */
  pieces(ino: number): number {
    return this.#get(ino).extents.count;
  }

  pushSynced(syncedIndex: number): void {
    for (const link of this.links) link.push(ClientPush.synced, { syncedIndex });
  }

  /** A change by somebody else: another block in place of a range of a file. */
  replace(ino: number, offset: number, length: number, block: Block, datanodes: number[]): Inode {
    const node = this.#get(ino);
    this.blocks.set(block.id, { block, datanodes });
    node.extents.put(offset, length, block.id, 0);
    node.inode.size = Math.max(node.inode.size, offset + length);
    return this.#touch(node);
  }

  /** A file is gone. */
  forget(ino: number): void {
    this.#nodes.delete(ino);
  }

  newBlockId(): number {
    return this.#nextBlock++;
  }

  #wrapped() {
    const wrapped: Record<string, Handler<never>> = {};
    for (const [key, handler] of Object.entries(this.#handlers())) {
      const { name } = Namenode[key as keyof typeof Namenode];
      wrapped[key] = (async (request: { call?: CallId | null }, context: Parameters<Handler<unknown>>[1]) => {
        this.calls.set(name, (this.calls.get(name) ?? 0) + 1);
        if (request.call) this.onCall(request.call);
        await this.before(name, request);
        const id = request.call ? `${request.call.session} ${request.call.sequence}` : undefined;
        const known = id === undefined ? undefined : this.#answers.get(id);
        const answer = known ?? (await (handler as (q: unknown, c: unknown) => unknown)(request, context));
        if (id !== undefined) this.#answers.set(id, structuredClone(answer));
        if (this.after(name) === "lose") context.link.terminate("the reply is lost");
        return answer as never;
      }) as unknown as Handler<never>;
    }
    return wrapped;
  }

  #node(ino: number, mode: number): Node {
    const time = { sec: 0, nsec: 0 };
    const inode: Inode = {
      ino,
      mode,
      uid: 0,
      gid: 0,
      nlink: 1,
      size: 0,
      rdev: 0,
      atime: time,
      mtime: time,
      ctime: time,
      allocated: 0,
      inline: 0,
      version: 1,
      parent: ROOT_INO,
      target: Buffer.alloc(0),
      policy: { ...this.policy },
    } as Inode;
    return { inode, names: new Map(), extents: new Extents() };
  }

  #get(ino: number): Node {
    const node = this.#nodes.get(ino);
    if (node === undefined) throw new CairnError("ESTALE", `inode ${ino} is gone`);
    return node;
  }

  /** The extents that touch a range of a file. */
  #extents({ ino, offset, length, limit }: Omit<GetExtentsRequest, "host" | "ahead">) {
    const { inode, extents } = this.#get(ino);
    const found: ExtentInit[] = [];
    const most = Math.min(limit, this.extentsPage);
    let covered = offset + length;
    extents.visit(offset, offset + length, (p) => {
      if (found.length < most) {
        found.push({ offset: p.offset, length: p.length, block: p.source, blockOffset: p.at });
      } else covered = Math.min(covered, p.offset);
    });
    const ids = [...new Set(found.map((e) => e.block!))];
    const blocks = ids.map((id) => this.#locate(id));
    const inline = ids.flatMap((id) => (this.inlineAlong ? (this.inline.get(id) ?? []) : []));
    return { inode: { ...inode }, extents: found, blocks, covered, inline };
  }

  #child(dir: number, name: Uint8Array): Node {
    const ino = this.#get(dir).names.get(Buffer.from(name).toString("latin1"));
    if (ino === undefined) throw new CairnError("ENOENT", `no ${Buffer.from(name)}`);
    return this.#get(ino);
  }

  #touch(node: Node): Inode {
    node.inode.version = ++this.index;
    return { ...node.inode };
  }

  #place(exclude: readonly number[], replicas: number): DatanodeAddress[] {
    const able = this.datanodes.filter(({ id }) => !exclude.includes(id));
    if (able.length === 0) throw new CairnError("ENOSPC", "no datanode has room");
    const turn = this.#turn++;
    return able.map((_, i) => able[(i + turn) % able.length]!).slice(0, replicas);
  }

  #locate(id: number): LocatedBlock {
    const { block, datanodes } = this.blocks.get(id)!;
    const replicas = this.datanodes.filter((d) => datanodes.includes(d.id));
    let live = 0;
    for (const { extents } of this.#nodes.values()) {
      for (const piece of extents.pieces()) if (piece.source === id) live += piece.length;
    }
    return { block, replicas, live } as LocatedBlock;
  }

  #handlers(): Partial<Handlers> {
    const unsupported = () => {
      throw new CairnError("ENOSYS", "not in the fake");
    };
    const reply = (node: Node) => ({ inode: this.#touch(node), index: this.index });
    return {
      openSession: (request) => {
        this.sessions.push(request);
        const { policy, inlineBytes, synced: syncedIndex, begun, incarnation } = this;
        return {
          cluster: "fake",
          leaseMs: LEASE_MS,
          policy,
          syncedIndex,
          version: "0",
          inlineBytes,
          begun,
          incarnation,
        };
      },
      keepAlive: () => ({ syncedIndex: this.synced }),
      closeSession: () => ({}),
      lookup: ({ dir, name }) => ({ inode: this.#child(dir, name).inode, index: 0 }),
      walk: ({ dir, names }) => {
        const inodes: Inode[] = [];
        for (let at = dir; inodes.length < names.length; ) {
          const ino = this.#get(at).names.get(names[inodes.length]!.toString("latin1"));
          if (ino === undefined) break;
          inodes.push(this.#get(ino).inode);
          at = ino;
          if ((this.#get(ino).inode.mode & 0o170000) !== S_IFDIR) break;
        }
        return { inodes };
      },
      getInode: ({ ino }) => ({ inode: this.#get(ino).inode, index: 0 }),
      readDirectory: ({ dir, after, limit }) => {
        const names = [...this.#get(dir).names].sort(([a], [b]) => (a < b ? -1 : 1));
        const rest = names.filter(([name]) => name > after.toString("latin1"));
        const entries = rest.slice(0, limit).map(([name, ino]) => ({
          name: Buffer.from(name, "latin1"),
          inode: this.#get(ino).inode,
        }));
        return { entries, more: rest.length > limit };
      },
      create: ({ dir, name, mode, target, openExisting, policy }) => {
        const key = name.toString("latin1");
        if (this.#get(dir).names.has(key)) {
          if (!openExisting) throw new CairnError("EEXIST", `${name} exists`);
          return { inode: this.#child(dir, name).inode, index: 0, existed: true };
        }
        const node = this.#node(this.#nextIno++, mode);
        node.inode.target = Buffer.from(target);
        node.inode.policy = inheritPolicy(policy, node.inode.policy);
        this.#nodes.set(node.inode.ino, node);
        this.#get(dir).names.set(key, node.inode.ino);
        return { ...reply(node), existed: false };
      },
      setAttributes: ({ ino, size, mode, mtime }) => {
        const node = this.#get(ino);
        if (size !== null) {
          if (size < node.inode.size) node.extents.cut(size, Number.MAX_SAFE_INTEGER);
          node.inode.size = size;
          node.inode.mtime = { sec: 0, nsec: 0 };
        }
        if (mode !== null) node.inode.mode = (node.inode.mode & ~0o7777) | mode;
        if (mtime !== null) node.inode.mtime = mtime;
        return reply(node);
      },
      link: ({ ino, dir, name }) => {
        this.#get(dir).names.set(name.toString("latin1"), ino);
        return reply(this.#get(ino));
      },
      unlink: ({ dir, name }) => {
        this.#child(dir, name);
        this.#get(dir).names.delete(name.toString("latin1"));
        this.index++;
        return {};
      },
      rename: ({ fromDir, fromName, toDir, toName }) => {
        const node = this.#child(fromDir, fromName);
        const replaced = this.#get(toDir).names.get(toName.toString("latin1"));
        this.#get(fromDir).names.delete(fromName.toString("latin1"));
        this.#get(toDir).names.set(toName.toString("latin1"), node.inode.ino);
        const { inode: moved, index } = reply(node);
        return { moved, replaced: replaced === undefined ? null : this.#get(replaced).inode, index };
      },
      setXattr: unsupported,
      getXattr: unsupported,
      listXattrs: unsupported,
      removeXattr: unsupported,
      readInlineBlock: ({ block }) => {
        const inline = this.inline.get(block);
        if (inline === undefined) throw new CairnError("ESTALE", `inline block ${block} is gone`);
        return inline;
      },
      getExtents: (request) => {
        this.ahead.push([...request.ahead]);
        const whole = { offset: 0, length: MAX_FILE_SIZE, limit: MAX_EXTENTS_PAGE };
        const ahead = request.ahead
          .filter((ino) => this.#nodes.has(ino))
          .map((ino) => this.#extents({ ino, ...whole }));
        return { ...this.#extents(request), ahead };
      },
      allocateBlocks: ({ count, replicas, exclude }) => {
        this.allocations.push({ exclude: [...exclude], count });
        return {
          blocks: Array.from({ length: count }, () => ({
            block: { id: this.newBlockId(), generation: 1, length: 0 },
            replicas: this.#place(exclude, replicas),
          })),
        };
      },
      recoverBlock: () => ({ generation: this.#nextGeneration++ }),
      abandonBlocks: ({ blocks }) => {
        this.abandoned.push(...blocks);
        return {};
      },
      commit: ({ ino, blocks, inline, extents: named, size, mtime, mode, replaces }) => {
        const node = this.#get(ino);
        const ids = new Map<number, number>();
        for (const { id, data, crc } of inline) {
          const real = INLINE_BLOCKS + this.newBlockId();
          ids.set(id, real);
          this.inline.set(real, { id: real, data: Buffer.from(data), crc });
          this.blocks.set(real, { block: { id: real, generation: 1, length: data.length }, datanodes: [] });
          node.inode.inline += data.length;
        }
        const extents = named.map(({ offset, length, block, blockOffset }) => ({
          offset,
          length,
          block: ids.get(block) ?? block,
          blockOffset,
        }));
        for (const { offset, length, block, blockOffset } of replaces) {
          const there: Piece<number>[] = [];
          node.extents.visit(offset, offset + length, (piece) => there.push(piece));
          const [only, ...more] = there;
          if (more.length > 0 || only?.source !== block || only.at !== blockOffset || only.length !== length) {
            throw new CairnError("EBUSY", `inode ${ino} has changed at ${offset}`);
          }
        }
        for (const { block, datanodes } of blocks) {
          if (block.length % CHUNK_SIZE < 0 || datanodes.length === 0) throw new CairnError("EINVAL", "bad block");
          this.blocks.set(block.id, { block: { ...block }, datanodes: [...datanodes] });
        }
        for (const { offset, length, block, blockOffset } of extents) {
          const known = this.blocks.get(block);
          if (
            known === undefined ||
            blockOffset + length > known.block.length ||
            (offset + length > size && replaces.length === 0)
          ) {
            throw new CairnError("EINVAL", `bad extent at ${offset}`);
          }
          node.extents.put(offset, length, block, blockOffset);
        }
        this.commits.push({ blocks: blocks.map(({ block }) => block.id), extents });
        node.inode.size = Math.max(node.inode.size, size);
        if (replaces.length > 0) this.compactions++;
        if (mtime) node.inode.mtime = mtime;
        if (mode !== null) node.inode.mode = (node.inode.mode & ~0o7777) | mode;
        return reply(node);
      },
      fallocate: ({ ino, offset, length, zero, keepSize }) => {
        const node = this.#get(ino);
        if (zero) node.extents.cut(offset, offset + length);
        if (!keepSize) node.inode.size = Math.max(node.inode.size, offset + length);
        node.inode.mtime = { sec: 0, nsec: 0 };
        return reply(node);
      },
      clone: ({ source, sourceOffset, ino, offset, length }) => {
        const node = this.#get(ino);
        const from = this.#get(source);
        const copied = Math.max(0, Math.min(length, from.inode.size - sourceOffset));
        const pieces: Piece<number>[] = [];
        from.extents.visit(sourceOffset, sourceOffset + copied, (piece) => pieces.push(piece));
        if (copied > 0) node.extents.cut(offset, offset + copied);
        for (const p of pieces) node.extents.put(p.offset - sourceOffset + offset, p.length, p.source, p.at);
        if (copied > 0) {
          node.inode.size = Math.max(node.inode.size, offset + copied);
          node.inode.mtime = { sec: 0, nsec: 0 };
        }
        return { ...reply(node), copied };
      },
      syncJournal: () => {
        this.synced = this.index;
        return { syncedIndex: this.synced };
      },
      reportBadReplica: ({ block, datanode, reason }) => {
        this.bad.push({ block, datanode, reason });
        return {};
      },
      getCapacity: () => ({ capacity: 100, used: 10, available: 90, inodes: this.#nodes.size, replicas: 3 }),
    };
  }
}
