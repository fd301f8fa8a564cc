import type { Clock, Timer } from "../common/clock.js";
import { CairnError, codeOf, messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import type { LinkAuth } from "../proto/auth.js";
import { type Dial, PersistentLink } from "../proto/connect.js";
import type { Dispatcher } from "../proto/dispatch.js";
import { Registry } from "../proto/gen/services.js";
import type { HeartbeatRequestInit, RegisterReply, RegisterRequestInit } from "../proto/gen/types.js";

/** Bounds of the heartbeat interval that a namenode may ask for, ms. */
const MIN_HEARTBEAT_MS = 50;
const MAX_HEARTBEAT_MS = 60_000;
/** Heartbeat intervals that a heartbeat may take. */
const HEARTBEAT_DEADLINE = 3;

export interface RegistrationOptions {
  namenode: { host: string; port: number };
  /** Takes the namenode's commands. */
  dispatcher: Dispatcher;
  auth: LinkAuth;
  clock: Clock;
  log: Logger;
  dial: Dial;
  /** 0 <= random() < 1 */
  random: () => number;
  /** What to register with, and what to say in every heartbeat. */
  describe: () => RegisterRequestInit;
  status: () => Promise<HeartbeatRequestInit>;
  /** Run when the namenode has accepted this datanode, before anything else goes over the link. */
  onRegistered: (reply: RegisterReply) => Promise<void>;
  /** The namenode wants a full report: always after a registration, and when it says so. */
  onReportWanted: () => void;
  /** The namenode will never accept this datanode. */
  onFatal: (reason: CairnError) => void;
}

/** Keeps this datanode registered with the namenode, and alive in its eyes. */
export class Registration {
  readonly link: PersistentLink;
  readonly #options: RegistrationOptions;
  #heartbeats: Timer | undefined;
  #beating = false;

  constructor(options: RegistrationOptions) {
    const { namenode, dispatcher, auth, clock, log, dial, random, describe, onRegistered, onReportWanted, onFatal } =
      options;
    this.#options = options;
    this.link = new PersistentLink({
      ...namenode,
      dispatcher,
      auth,
      clock,
      log,
      dial,
      random,
      onConnect: async (link) => {
        const reply = await link.call(Registry.register, describe());
        await onRegistered(reply);
        log.info({ datanode: reply.datanode, cluster: reply.cluster }, "registered with the namenode");
        this.#beat(reply.heartbeatMs);
        onReportWanted();
      },
      onDisconnect: (reason) => {
        this.#heartbeats?.clear();
        log.warn({ err: messageOf(reason) }, "no connection to the namenode");
      },
      fatal: (err) => {
        if (codeOf(err) !== "EPERM") return false;
        const { host, port } = namenode;
        onFatal(new CairnError("EPERM", `the namenode at ${host}:${port} does not accept this datanode`, err));
        return true;
      },
    });
  }

  /** Ends the registration: the namenode sees the link go. */
  close(): void {
    this.#heartbeats?.clear();
    this.link.close();
  }

  #beat(ms: number): void {
    const interval = Math.min(Math.max(ms, MIN_HEARTBEAT_MS), MAX_HEARTBEAT_MS);
    this.#heartbeats?.clear();
    this.#heartbeats = this.#options.clock.every(interval, () => void this.#heartbeat(interval));
  }

  async #heartbeat(interval: number): Promise<void> {
    const { status, log, onReportWanted } = this.#options;
    const { link } = this.link;
    if (this.#beating || link === undefined) return;
    this.#beating = true;
    try {
      const request = await status();
      const reply = await link.call(Registry.heartbeat, request, { deadlineMs: interval * HEARTBEAT_DEADLINE });
      if (reply.fullReport) onReportWanted();
    } catch (err) {
      log.warn({ err: messageOf(err) }, "a heartbeat failed");
      // A namenode that does not know this datanode (any more) wants it to register again.
      if (codeOf(err) === "ESTALE") link.close("registering again");
    } finally {
      this.#beating = false;
    }
  }
}
