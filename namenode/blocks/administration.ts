import type { Clock } from "../../common/clock.js";
import { CairnError, messageOf } from "../../common/errors.js";
import type { Logger } from "../../common/log.js";
import { type AdministerReplyInit, type AdministerRequest, Duty } from "../../proto/gen/types.js";
import type { Editor } from "../contract.js";
import type { Datanodes } from "./datanodes.js";

/** Longest maintenance that ends by itself, ms. */
const MAX_MAINTENANCE_MS = 366 * 24 * 3_600_000;

/** Takes datanodes out of service and back, as operators want it; the store remembers. */
export class Administration {
  readonly #editor: Editor;
  readonly #datanodes: Datanodes;
  readonly #clock: Clock;
  readonly #log: Logger;

  constructor(editor: Editor, datanodes: Datanodes, clock: Clock, log: Logger) {
    this.#editor = editor;
    this.#datanodes = datanodes;
    this.#clock = clock;
    this.#log = log;
  }

  /** Admin.Administer. ENOENT, EINVAL. */
  async administer({ datanode, duty, forMs }: AdministerRequest): Promise<AdministerReplyInit> {
    if (this.#datanodes.get(datanode) === undefined)
      throw new CairnError("ENOENT", `there is no datanode ${datanode} to be put in or out of service`);
    if (!Object.values(Duty).includes(duty)) throw new CairnError("EINVAL", `no datanode can have the duty ${duty}`);
    if (forMs > 0 && (duty !== Duty.MAINTENANCE || forMs > MAX_MAINTENANCE_MS))
      throw new CairnError("EINVAL", "only a maintenance, of a year at most, ends by itself");
    const untilMs = forMs === 0 ? 0 : this.#clock.now() + forMs;
    const { index } = this.#editor.apply({ administerDatanode: { id: datanode, duty, untilMs } });
    await this.#editor.appended(index);
    return {};
  }

  /** Puts those back in service whose maintenance is over. Called often. */
  expire(): void {
    const now = this.#clock.now();
    for (const { id, name, duty, untilMs } of this.#datanodes.all()) {
      if (duty !== Duty.MAINTENANCE || untilMs === 0 || untilMs > now) continue;
      try {
        this.#editor.apply({ administerDatanode: { id, duty: Duty.IN_SERVICE, untilMs: 0 } });
      } catch (err) {
        this.#log.warn({ err: messageOf(err) }, `could not end the maintenance of ${name}: trying again`);
        return;
      }
    }
  }
}
