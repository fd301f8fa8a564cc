import { KIB, MAX_ALLOCATE, MAX_BLOCKS_PAGE } from "../../common/limits.js";
import type {
  AbandonBlocksRequest,
  AllocateBlocksReplyInit,
  AllocateBlocksRequest,
  RecoverBlockReplyInit,
  RecoverBlockRequest,
  ReportBadReplicaRequest,
} from "../../proto/gen/types.js";
import type { BlockManager, Editor } from "../contract.js";
import { notHeld, type Sessions } from "../sessions.js";
import { checkBlockSize, checkLabel, checkReplicas, id, inRange } from "./checks.js";
import { FIRST_GENERATION } from "./edits/cluster.js";
import { Reservation } from "./reservation.js";

/** Datanodes a writer may exclude, at most. */
const MAX_EXCLUDED = KIB;
/** Longest reason given for a bad replica, characters; the rest is cut. */
const MAX_REASON = KIB;

/** The calls about blocks that are being written. */
export class BlockCalls {
  readonly #sessions: Sessions;
  readonly #manager: BlockManager;
  readonly #room: () => Promise<void> | undefined;
  readonly #ids: Reservation;
  readonly #generations: Reservation;

  /** @param room undefined when an edit may be made now; else resolves when one may */
  constructor(editor: Editor, room: () => Promise<void> | undefined, sessions: Sessions, manager: BlockManager) {
    this.#sessions = sessions;
    this.#manager = manager;
    this.#room = room;
    this.#ids = Reservation.blockIds(editor);
    this.#generations = Reservation.generations(editor);
  }

  /** Gives out block ids and a pipeline of datanodes for each. */
  async allocate(request: AllocateBlocksRequest): Promise<AllocateBlocksReplyInit> {
    const { session, count, replicas, blockSize, host, exclude } = request;
    this.#sessions.renew(session);
    inRange(count, 1, MAX_ALLOCATE, "blocks to allocate");
    checkReplicas(replicas);
    checkBlockSize(blockSize);
    checkLabel(host, "host");
    inRange(exclude.length, 0, MAX_EXCLUDED, "datanodes to exclude");
    await this.#room();
    const place = () => this.#manager.place({ replicas, size: blockSize, host, exclude });
    const pipelines = Array.from({ length: count }, place);
    const first = await this.#ids.take(count);
    const blocks = pipelines.map((pipeline, i) => ({
      block: { id: first + i, generation: FIRST_GENERATION, length: 0 },
      replicas: pipeline,
    }));
    this.#sessions.hold(
      session,
      blocks.map(({ block }) => block.id),
      FIRST_GENERATION,
    );
    return { blocks };
  }

  /** A new generation stamp for a pending block, whose pipeline has to be rebuilt. ESTALE when the session does not hold it. */
  async recover({ session, block }: RecoverBlockRequest): Promise<RecoverBlockReplyInit> {
    this.#sessions.renew(session);
    if (this.#sessions.generation(session, block.id) === undefined) throw notHeld(session, block.id);
    await this.#room();
    const generation = await this.#generations.take(1);
    this.#sessions.restamp(session, block.id, generation);
    return { generation };
  }

  /** Pending blocks that will not be committed. */
  abandon({ session, blocks }: AbandonBlocksRequest): Record<string, never> {
    inRange(blocks.length, 0, MAX_BLOCKS_PAGE, "blocks to abandon");
    this.#sessions.renew(session);
    this.#sessions.release(session, blocks);
    return {};
  }

  /** A reader could not use a replica. */
  reportBad({ block, datanode, reason }: ReportBadReplicaRequest): Record<string, never> {
    id(block.id, "block");
    this.#manager.reportBad(block, datanode, reason.slice(0, MAX_REASON));
    return {};
  }
}
