import { CairnError, codeOf, messageOf } from "../common/errors.js";
import { checkChunks, decodeChunks, lengthOf } from "../proto/chunks.js";
import { Datanode, Namenode } from "../proto/gen/services.js";
import type { Block, DatanodeAddress } from "../proto/gen/types.js";
import { checkInline, isInline } from "../proto/inline.js";
import type { ClientIo } from "./io.js";
import type { LocalBlocks } from "./local-blocks.js";
import type { ReadBuffers } from "./read-buffers.js";
import { nameOf } from "./write-stream.js";

/** How long one replica may take to answer before the next is asked, ms. */
const READ_TIMEOUT_MS = 5_000;
/** What says that the replica is bad, not the way to it. */
const BAD_REPLICA = new Set(["EBADMSG", "ENOENT", "EIO"]);

/** What says that the request came at the wrong moment, not that the datanode is in trouble. */
const BAD_MOMENT = new Set(["EINVAL", "EAGAIN", "EBUSY"]);

/** No replica of a block could be read this time. */
export class UnreadableError extends CairnError {}

/** A block and where it is, nearest first. */
export interface Located {
  readonly block: Block;
  readonly replicas: readonly DatanodeAddress[];
  /** Still being written here: replicas that lack it are no news to the namenode. */
  readonly uncommitted?: boolean;
}

/** Reads ranges of blocks from whichever replica has them, and checks what it gets. */
export class BlockReader {
  readonly #io: ClientIo;
  readonly #local: LocalBlocks | undefined;
  readonly #buffers: ReadBuffers;

  /** @param local undefined: no short-circuit reads */
  constructor(io: ClientIo, local: LocalBlocks | undefined, buffers: ReadBuffers) {
    this.#io = io;
    this.#local = local;
    this.#buffers = buffers;
  }

  /**
   * Bytes [from, to) of a block, at most MAX_READ of them, in memory that is the caller's: from the nearest replica, else the
   * next. A bad replica is reported. UnreadableError when every one failed.
   */
  async read({ block, replicas, uncommitted = false }: Located, from: number, to: number): Promise<Buffer> {
    if (isInline(block.id)) return this.#readInline(block, from, to);
    const { health, log } = this.#io;
    let cause: unknown;
    const near = replicas.filter(({ id }) => !health.isAvoided(id));
    const order = near.length === replicas.length ? near : [...near, ...replicas.filter((r) => !near.includes(r))];
    for (const replica of order) {
      try {
        const data = await this.#readFrom(replica, block, from, to);
        health.worked(replica.id);
        return data;
      } catch (err) {
        cause = err;
        log.warn({ block, datanode: nameOf(replica), err: messageOf(err) }, "could not read a replica");
        const code = codeOf(err);
        if (BAD_REPLICA.has(code)) {
          if (!uncommitted) this.#report(replica, block, messageOf(err));
        } else if (!BAD_MOMENT.has(code)) health.failed(replica.id, err);
      }
    }
    const which = `cannot read block ${block.id} (generation ${block.generation})`;
    throw new UnreadableError("EIO", which, cause ?? "no datanode has it");
  }

  /** Opens a block's file, if it may be on this machine, so that it can be read at once soon. */
  open(located: Located): void {
    const replica = this.#nearest(located);
    if (replica !== undefined) this.#local!.open(replica, located.block);
  }

  /** Whether readNow is likely to succeed. */
  isPrompt(located: Located): boolean {
    const replica = this.#nearest(located);
    return replica !== undefined && this.#local!.isPrompt(replica, located.block);
  }

  /** Fills target with the bytes of a block from `from` on, without waiting for anything. False where that cannot be: see read. */
  readNow(located: Located, from: number, target: Buffer): boolean {
    const replica = this.#nearest(located);
    return replica !== undefined && this.#local!.readNow(replica, located.block, from, target);
  }

  /** As readNow, into memory that is the caller's. */
  takeNow(located: Located, from: number, to: number): Buffer | undefined {
    if (!this.isPrompt(located)) return undefined;
    const target = this.#buffers.take(to - from);
    if (this.readNow(located, from, target)) return target;
    this.#buffers.give(target);
    return undefined;
  }

  /** The replica that would be read first, if it can be one of this machine. */
  #nearest({ replicas }: Located): DatanodeAddress | undefined {
    const replica = replicas.find(({ id }) => !this.#io.health.isAvoided(id));
    return replica !== undefined && this.#local?.mayHave(replica) ? replica : undefined;
  }

  async #readFrom(replica: DatanodeAddress, block: Block, from: number, to: number): Promise<Buffer> {
    if (this.#local?.mayHave(replica)) {
      const target = this.#buffers.take(to - from);
      if (await this.#local.read(replica, block, from, target)) return target;
      this.#buffers.give(target);
    }
    const link = await this.#io.pool.get(replica.host, replica.port);
    let target: Buffer | undefined;
    for (let at = from; ; ) {
      const request = { block: block.id, generation: block.generation, offset: at, length: to - at };
      const options = { deadlineMs: READ_TIMEOUT_MS };
      const { message, body } = await link.callWithBody(Datanode.readBlock, request, options);
      const { offset, chunks } = message;
      checkChunks(chunks, body);
      const end = offset + lengthOf(chunks);
      if (offset > at || end <= at) {
        throw new CairnError("EPROTO", `asked for ${to - at} bytes at ${at}, got ${end - offset} at ${offset}`);
      }
      // All of it, stored as it is: the message's own memory will do.
      if (at === from && end >= to && body.length === end - offset) return body.subarray(at - offset, to - offset);
      target ??= this.#buffers.take(to - from);
      decodeChunks(chunks, body, offset, at, Math.min(end, to), target, at - from);
      at = end;
      if (at >= to) return target;
    }
  }

  async #readInline({ id, length }: Block, from: number, to: number): Promise<Buffer> {
    try {
      const inline = await this.#io.session.call(Namenode.readInlineBlock, { block: id });
      checkInline(inline);
      if (inline.data.length !== length)
        throw new CairnError("EBADMSG", `it has ${inline.data.length} bytes, not ${length}`);
      return inline.data.subarray(from, to);
    } catch (err) {
      if (codeOf(err) !== "ESTALE" && codeOf(err) !== "EBADMSG") throw err;
      throw new UnreadableError("EIO", `cannot read inline block ${id}`, err);
    }
  }

  #report(replica: DatanodeAddress, block: Block, reason: string): void {
    this.#io.session.call(Namenode.reportBadReplica, { block, datanode: replica.id, reason }).catch((err) => {
      this.#io.log.warn({ block, datanode: replica.id, err: messageOf(err) }, "a bad replica could not be reported");
    });
  }
}
