import type { Clock } from "../../common/clock.js";
import { CairnError } from "../../common/errors.js";
import { DEFAULT_RACK } from "../../common/limits.js";
import type {
  HeartbeatReplyInit,
  HeartbeatRequest,
  RegisterReplyInit,
  RegisterRequest,
  VolumeStatus,
} from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import type { Editor } from "../contract.js";
import { readCluster } from "../namespace/records.js";
import type { Datanode } from "./datanode.js";
import type { Datanodes } from "./datanodes.js";
import type { BlockSettings } from "./settings.js";

const MAX_HOST = 255;
const MAX_RACK = 255;
const MAX_VERSION = 64;
/** Volumes of one datanode. */
const MAX_VOLUMES = 128;
/** Longest path or error of a volume. */
const MAX_VOLUME_TEXT = 4096;
/** A datanode of whose report nothing more came for this long is asked for a new one, ms. */
const RANGES_MS = 60_000;

/** Takes datanodes in and hears their heartbeats. */
export class Registry {
  readonly #editor: Editor;
  readonly #datanodes: Datanodes;
  readonly #clock: Clock;
  readonly #settings: BlockSettings;

  constructor(editor: Editor, datanodes: Datanodes, clock: Clock, settings: BlockSettings) {
    this.#editor = editor;
    this.#datanodes = datanodes;
    this.#clock = clock;
    this.#settings = settings;
  }

  /**
   * A datanode connected. It gets a number at its first registration and keeps it. EINVAL: it says something impossible.
   * EPERM: it belongs to another cluster. EBUSY: another process that is alive registered with the same uuid or address.
   */
  async register(request: RegisterRequest, link: Link): Promise<RegisterReplyInit> {
    const { uuid, host, port } = request;
    const rack = request.rack === "" ? DEFAULT_RACK : request.rack;
    check(request, rack);
    const { cluster, nextDatanode } = readCluster(this.#editor.kv);
    const who = `datanode at ${host}:${port}`;
    if (request.cluster !== "" && request.cluster !== cluster)
      throw new CairnError(
        "EPERM",
        `the ${who} belongs to cluster ${request.cluster}, this namenode serves cluster ${cluster}`,
      );
    this.#refuseSecond(request, link);
    const known = this.#datanodes.byUuid(uuid);
    const id = known?.id ?? nextDatanode;
    if (known?.host !== host || known.port !== port || known.rack !== rack) {
      const { index } = this.#editor.apply({ registerDatanode: { id, uuid, host, port, rack } });
      await this.#editor.appended(index);
      this.#refuseSecond(request, link);
    }
    const datanode = this.#datanodes.get(id)!;
    if (!link.isOpen) throw new CairnError("ENOTCONN", `the ${who} was gone before it was registered`);
    datanode.version = request.version;
    datanode.doubted = request.doubted;
    datanode.setVolumes(request.volumes);
    this.#datanodes.connected(datanode, link);
    return { datanode: id, cluster, heartbeatMs: this.#settings.heartbeatMs };
  }

  /** A datanode is alive. ESTALE: it is not registered on this link. */
  heartbeat(request: HeartbeatRequest, link: Link): HeartbeatReplyInit {
    const datanode = this.#datanodes.of(link);
    checkVolumes(request.volumes);
    datanode.setVolumes(request.volumes);
    datanode.writers = request.writers;
    datanode.blocks = request.blocks;
    datanode.doubted = request.doubted;
    datanode.lastHeartbeatMs = this.#clock.now();
    this.#datanodes.heard(datanode, "its heartbeats are back");
    return { fullReport: this.#wantsReport(datanode) };
  }

  #wantsReport({ report }: Datanode): boolean {
    const now = this.#clock.monotonic();
    if (report.step === "none") return true;
    return report.step === "done" ? now - report.at >= this.#settings.fullReportMs : now - report.heard >= RANGES_MS;
  }

  /** EBUSY when the uuid or the address is that of another process that is alive. */
  #refuseSecond({ uuid, host, port }: RegisterRequest, link: Link): void {
    for (const d of this.#datanodes.live()) {
      const sameAddress = d.host === host && d.port === port;
      // Both the same: the process itself, connecting anew before its old connection was seen to be broken.
      if (d.link === link || sameAddress === (d.uuid === uuid)) continue;
      throw new CairnError(
        "EBUSY",
        sameAddress
          ? `a datanode with uuid ${uuid} claims ${host}:${port}, where ${d.name} with uuid ${d.uuid} is alive`
          : `${d.name} with uuid ${uuid} is alive: the one at ${host}:${port} runs on a copy of its data`,
      );
    }
  }
}

function check({ uuid, host, port, version, volumes }: RegisterRequest, rack: string): void {
  const reject = (why: string) => {
    throw new CairnError("EINVAL", `a datanode cannot be registered: ${why}`);
  };
  if (!/^[A-Za-z0-9-]{8,64}$/.test(uuid)) reject("its uuid is none");
  if (host.length > MAX_HOST || !/^[A-Za-z0-9._:%-]+$/.test(host)) reject(`${JSON.stringify(host)} is no host`);
  if (port < 1 || port > 65_535) reject(`${port} is no port`);
  if (rack.length > MAX_RACK || !/^(\/[A-Za-z0-9._-]+)+$/.test(rack)) reject(`${JSON.stringify(rack)} is no rack`);
  if (version.length > MAX_VERSION) reject("its version is too long");
  checkVolumes(volumes);
}

function checkVolumes(volumes: readonly VolumeStatus[]): void {
  if (volumes.length > MAX_VOLUMES) throw new CairnError("E2BIG", `${volumes.length} volumes in one datanode`);
  for (const { path, error, capacity, used, free } of volumes) {
    if (path.length > MAX_VOLUME_TEXT || error.length > MAX_VOLUME_TEXT)
      throw new CairnError("E2BIG", "a volume's path or error is too long");
    for (const n of [capacity, used, free])
      if (!Number.isSafeInteger(n)) throw new CairnError("EINVAL", `a volume of ${n} bytes`);
  }
}
