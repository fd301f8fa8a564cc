import { CairnError } from "../../common/errors.js";
import { silentLogger } from "../../common/log.js";
import { LinkAuth } from "../../proto/auth.js";
import { Dispatcher } from "../../proto/dispatch.js";
import { DatanodeCommands, Registry } from "../../proto/gen/services.js";
import type {
  Block,
  DatanodeAddress,
  HeartbeatRequest,
  RegisterRequest,
  ReplicaChange,
  ReplicaChangeState,
} from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import type { RequestOf } from "../../proto/method.js";
import { type LinkServer, listen } from "../../proto/server.js";

interface Registered {
  readonly address: DatanodeAddress;
  link: Link;
  request: RegisterRequest;
  registrations: number;
  heartbeat: HeartbeatRequest | undefined;
}

/** What of the namenode a datanode sees: it registers everybody of its cluster and remembers what it is told. */
export class FakeNamenode {
  cluster = "4e6e1d8a-0000-4000-8000-00000000c1c1";
  heartbeatMs = 100;
  /** Every change reported, in order. */
  readonly changes: (ReplicaChange & { datanode: number })[] = [];
  /** What was in the last full report of each datanode. */
  readonly full = new Map<number, Block[]>();
  readonly #byUuid = new Map<string, Registered>();
  #server!: LinkServer;

  static async start(port = 0): Promise<FakeNamenode> {
    const namenode = new FakeNamenode();
    const dispatcher = new Dispatcher().serve(Registry, {
      register: (request, { link }) => namenode.#register(request, link),
      heartbeat: (request, { link }) => {
        namenode.#of(link).heartbeat = request;
        return {};
      },
      reportChanges: ({ changes }, { link }) => {
        const datanode = namenode.#of(link).address.id;
        for (const { block, state } of changes) namenode.changes.push({ block, state, datanode });
        return {};
      },
      reportRegions: ({ regions, from }, { link }) => {
        if (from === 0) namenode.full.set(namenode.#of(link).address.id, []);
        return { ranges: regions.map((r) => r.range) };
      },
      reportDigests: ({ ranges }) => ({ ranges: ranges.map((r) => r.range) }),
      reportRange: ({ replicas }, { link }) => {
        namenode.full.get(namenode.#of(link).address.id)!.push(...replicas);
        return {};
      },
    });
    namenode.#server = await listen({
      host: "127.0.0.1",
      port,
      dispatcher,
      auth: new LinkAuth(),
      secret: undefined,
      log: silentLogger,
      onHttp: (_req, res) => res.end(),
    });
    return namenode;
  }

  get port(): number {
    return this.#server.port;
  }

  /** The datanodes that registered, in the order of their first registrations. */
  get datanodes(): Registered[] {
    return [...this.#byUuid.values()];
  }

  /** A datanode by its number. */
  datanode(id: number): Registered {
    return this.datanodes.find((d) => d.address.id === id)!;
  }

  /** Whether a datanode has said this of a block. */
  wasTold(datanode: number, id: number, state: ReplicaChangeState): boolean {
    return this.changes.some((c) => c.datanode === datanode && c.block.id === id && c.state === state);
  }

  /** Pushes a command to a datanode. */
  command<K extends keyof typeof DatanodeCommands>(
    datanode: number,
    name: K,
    message: RequestOf<(typeof DatanodeCommands)[K]>,
  ): void {
    this.datanode(datanode).link.push(DatanodeCommands[name], message);
  }

  close(): Promise<void> {
    return this.#server.close();
  }

  #of(link: Link): Registered {
    const found = this.datanodes.find((d) => d.link === link);
    if (found === undefined) throw new CairnError("ESTALE", "not registered");
    return found;
  }

  #register(request: RegisterRequest, link: Link) {
    if (request.cluster !== "" && request.cluster !== this.cluster) throw new CairnError("EPERM", "of another cluster");
    const known = this.#byUuid.get(request.uuid);
    const id = known?.address.id ?? this.#byUuid.size + 1;
    const { host, port, rack } = request;
    this.#byUuid.set(request.uuid, {
      address: { id, host, port, rack },
      link,
      request,
      registrations: (known?.registrations ?? 0) + 1,
      heartbeat: undefined,
    });
    return { datanode: id, cluster: this.cluster, heartbeatMs: this.heartbeatMs };
  }
}
