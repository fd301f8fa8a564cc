import type {
  ListSnapshotsRequest,
  SnapshotReplyInit,
  SnapshotRequest,
  SnapshotsReplyInit,
} from "../../proto/gen/types.js";
import type { Context } from "../namespace/operations/context.js";
import { createSnapshot, deleteSnapshot, listSnapshots } from "../namespace/operations/snapshots.js";

/** The calls of Admin about snapshots of directories. Each is answered when its edit is in the journal. */
export class Snapshots {
  readonly #context: Pick<Context, "kv" | "editor" | "clock">;
  readonly #room: () => Promise<void> | undefined;

  /** @param room undefined when an edit may be made now; else resolves when one may */
  constructor(context: Pick<Context, "kv" | "editor" | "clock">, room: () => Promise<void> | undefined) {
    this.#context = context;
    this.#room = room;
  }

  /** Admin.CreateSnapshot. */
  async create(request: SnapshotRequest): Promise<SnapshotReplyInit> {
    await this.#room();
    const { name, index } = createSnapshot(this.#context, request);
    await this.#context.editor.appended(index);
    return { name };
  }

  /** Admin.DeleteSnapshot. */
  async delete(request: SnapshotRequest): Promise<Record<string, never>> {
    await this.#room();
    const { index } = deleteSnapshot(this.#context, request);
    await this.#context.editor.appended(index);
    return {};
  }

  /** Admin.ListSnapshots. */
  list(request: ListSnapshotsRequest): SnapshotsReplyInit {
    return listSnapshots(this.#context.kv, request);
  }
}
