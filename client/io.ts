import type { Clock } from "../common/clock.js";
import type { Logger } from "../common/log.js";
import type { LinkPool } from "../proto/connect.js";
import type { BlockAllocator } from "./allocator.js";
import type { DatanodeHealth } from "./health.js";
import type { PacketPool } from "./packet.js";
import type { Session } from "./session.js";
import type { AckRouter } from "./write-stream.js";

/** What the parts of one client share. */
export interface ClientIo {
  readonly clock: Clock;
  readonly log: Logger;
  /** This machine, as the namenode knows it. */
  readonly hostName: string;
  readonly session: Session;
  /** Links to datanodes. */
  readonly pool: LinkPool;
  readonly acks: AckRouter;
  readonly packets: PacketPool;
  readonly health: DatanodeHealth;
  readonly allocator: BlockAllocator;
}
