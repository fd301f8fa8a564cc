import type {
  ListSnapshotsRequest,
  SnapshotReplyInit,
  SnapshotRequest,
  SnapshotsReplyInit,
} from "../../proto/gen/types.js";
import type { Context } from "../namespace/operations/context.js";
import { createSnapshot, deleteSnapshot, listSnapshots } from "../namespace/operations/snapshots.js";
import { upwards } from "../namespace/quotas.js";
import type { Delegations } from "../watches/delegations.js";

/** What snapshots are made with. */
export interface SnapshotParts extends Pick<Context, "kv" | "editor" | "clock"> {
  /** Undefined when an edit may be made now; else resolves when one may. */
  readonly room: () => Promise<void> | undefined;
  readonly delegations: Pick<Delegations, "recallAmong">;
}

/** The calls of Admin about snapshots of directories. Each is answered when its edit is in the journal. */
export class Snapshots {
  readonly #parts: SnapshotParts;

  constructor(parts: SnapshotParts) {
    this.#parts = parts;
  }

  /** Admin.CreateSnapshot. What clients have made by themselves below the directory is in it, too. */
  async create(request: SnapshotRequest): Promise<SnapshotReplyInit> {
    const { kv, editor, room, delegations } = this.#parts;
    await delegations.recallAmong((dir) => Array.from(upwards(kv, dir)).includes(request.ino));
    await room();
    const { name, index } = createSnapshot(this.#parts, request);
    await editor.appended(index);
    return { name };
  }

  /** Admin.DeleteSnapshot. */
  async delete(request: SnapshotRequest): Promise<Record<string, never>> {
    await this.#parts.room();
    const { index } = deleteSnapshot(this.#parts, request);
    await this.#parts.editor.appended(index);
    return {};
  }

  /** Admin.ListSnapshots. */
  list(request: ListSnapshotsRequest): SnapshotsReplyInit {
    return listSnapshots(this.#parts.kv, request);
  }
}
